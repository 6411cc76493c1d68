"""Settings and the address table of the Django side."""
