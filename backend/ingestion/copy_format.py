"""Staged claims as lines of PostgreSQL's COPY text format, in the order of the StagedClaim fields; no connection."""

from backend.ingestion.records import StagedClaim

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def copy_line(claim: StagedClaim) -> str:
    r"""One line, ended by a line feed, for `COPY ... FROM STDIN`: NULL is \N, bytea is \x and hex, arrays are {a,b}.

    Source: PostgreSQL manual, COPY, "Text Format".
    """
    cells = []
    for value in claim:
        if value is None:
            cells.append("\\N")
        elif isinstance(value, str):
            cells.append(value.translate(_ESCAPES) if "\\" in value or not value.isprintable() else value)
        elif isinstance(value, bytes):
            cells.append("\\\\x" + value.hex())
        elif isinstance(value, bool):
            cells.append("t" if value else "f")
        elif isinstance(value, tuple):
            cells.append("{" + ",".join(value) + "}")  # letters and digits only: nothing to quote
        else:
            cells.append(str(value))
    return "\t".join(cells) + "\n"
