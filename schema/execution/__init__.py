"""How operations are executed: documents, what they select, and the three ways to an answer."""
