"""The pure half of ingestion: files, rows and rules of every kind of import. No model, SQL or Django lives here."""
