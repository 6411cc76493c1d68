"""PostgreSQL itself: the embedded server, the read snapshot and cached SQL text."""
