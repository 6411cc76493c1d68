"""Payers, the names they are known by, and procedure codes with their groups."""
