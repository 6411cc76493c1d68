"""How well the scanner of free text tells identifiers of persons: a labelled corpus of made-up lines."""
