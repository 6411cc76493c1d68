"""The compiled executor: looks once at what an operation selects, then completes all rows of a level together."""
