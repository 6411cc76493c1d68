"""Finds identifiers of persons in free text. Pure text: it knows neither Django nor the tables."""
