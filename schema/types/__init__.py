"""The object types, one file per noun: declarations and descriptions."""
