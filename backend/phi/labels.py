"""Names that programs give themselves and what they ask, which go into tables as they are: kept, or no name at all."""

import re
from functools import lru_cache

from backend.phi.scanner import scan

OTHER = "other"
_REMEMBERED = 2_000
_SIGNS = re.compile(r"[._-]+")
# Where a word ends in PatientJaneSmith, SSN219 and HTTPClient.
_WORD_ENDS = re.compile(
    r"(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])"
)
_LONG_NUMBER = re.compile(r"[0-9]{9}")  # as a social security number is; no version and no date has so many digits


@lru_cache(_REMEMBERED)
def label_of(text: str, longest: int) -> str:
    """The text if it is a name of letters, digits and `._-`, of at most so many characters; "other" if it is not.

    "other" too where it could identify a person. It cannot hold a blank, so it is looked at as the words it is joined
    of, and where numbers are told by their dashes, with those.
    """
    if not text or len(text) > longest or not re.fullmatch(r"[A-Za-z0-9._-]+", text):
        return OTHER
    words = _SIGNS.sub(" ", text)
    each = _WORD_ENDS.sub(" ", words)
    readings = (text, words, each, words.replace(" ", "-"), each.replace(" ", "-"))
    return OTHER if _LONG_NUMBER.search(text) or any(map(scan, readings)) else text
