"""Demo data: one made-up organization, taken in by the real ingestion, detection and SARIF import."""
