"""Drift detection as pure computation: arrays of counts in, tests, episodes and figures out; no Django, SQL or I/O."""
