"""How operations are executed: documents, what they select, and the two ways to an answer."""
