"""What the Django peers share: Driftgraph's tables as plain Django models, settings, and the tenant's middleware.

It runs in the virtual environments of the peers and imports nothing of Driftgraph.
"""
