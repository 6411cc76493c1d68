"""Typed comparators and their translation to conditions; one file per noun lists what can be filtered."""
