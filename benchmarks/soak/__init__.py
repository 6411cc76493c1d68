"""Minutes of mixed load while processes die, every answer checked: `python -m benchmarks soak`."""
