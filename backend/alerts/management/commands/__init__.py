"""Commands of detection and alerts."""
