"""Driftgraph beside other GraphQL servers over the same tables in one interleaved run: `python -m benchmarks peers`."""
