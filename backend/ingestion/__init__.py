"""The pure half of ingestion: files, rows and rules of every kind of import. No model, no SQL and no Django lives here."""
