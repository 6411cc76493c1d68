"""Batches on aiodataloader: one row, many rows, one page per parent, one aggregate per parent."""
