"""Automated auditors, their runs, findings and metrics."""
