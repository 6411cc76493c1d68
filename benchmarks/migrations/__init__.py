"""Everyday changes of tables, as one writes them first and as they are safe, with what a rehearsal must say of each."""
