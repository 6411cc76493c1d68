"""How long rows are kept, and how an organization is deleted."""
