"""Rules that turn drift events into alerts."""
