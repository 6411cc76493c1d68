"""Driftgraph's Django side: tables, reads, writes, ingestion and detection. It never imports the schema."""
