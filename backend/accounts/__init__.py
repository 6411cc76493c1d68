"""People, organizations, memberships and API tokens."""
