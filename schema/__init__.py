"""The GraphQL API. It imports the backend, never the reverse."""
