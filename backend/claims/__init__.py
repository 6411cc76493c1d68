"""Claim outcomes, the batches that brought them, and published outcome counts."""
