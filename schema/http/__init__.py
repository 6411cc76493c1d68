"""How requests come in: the ASGI application, GraphiQL, health."""
