"""What every app stands on: errors, identity, tenancy, ids and the declarations of tenant tables."""
