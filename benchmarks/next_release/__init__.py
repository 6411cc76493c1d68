"""A release after this one, made up: what it does to the tables while servers of both releases are asked."""
