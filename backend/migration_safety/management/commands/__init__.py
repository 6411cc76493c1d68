"""Commands that look at migrations and apply them."""
