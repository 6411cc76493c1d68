"""Which client uses what of the schema: found out per document, counted in memory, written now and then."""
