"""What identifies a person in a text, and the text without it. Whether such a text is taken is decided elsewhere."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from backend.phi import names
from backend.phi.patterns import E_MAIL, PATTERNS, Identifier, names_a_provider

REMEMBERED = 2_000  # texts; payers, rules and tools repeat from row to row
# Typographic dashes, blanks and apostrophes, each by one plain character, so that places in the text stay.
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
        **dict.fromkeys("\xa0\u2007\u2009\u202f", " "),
        **dict.fromkeys("\u2018\u2019", "'"),
    }
)
_MONTH_OR_DAY = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])?")


class Hit(NamedTuple):
    """An identifier and its place, text[start:end]."""

    kind: Identifier
    start: int
    end: int


def scan(text: str, *, with_names: bool = True) -> tuple[Hit, ...]:
    """The identifiers in a text in order; none overlap. An underscore parts words, as a blank does.

    Without `with_names` names of persons are not looked for, as in the name of a payer.
    """
    return _scan(text, with_names)


@lru_cache(REMEMBERED)
def _scan(text: str, with_names: bool) -> tuple[Hit, ...]:
    plain = text.translate(_PLAIN)
    found = list(_finds(plain, with_names))
    if "_" in plain:  # joins words in names of files, keys and programs; in an address of e-mail it is a letter
        words = plain.replace("_", " ")
        found += (hit for hit in _finds(words, with_names) if not _is_of_a_program(plain, hit))
    return _apart(found)


def _finds(plain: str, with_names: bool) -> Iterator[Hit]:
    """What the expressions find; finds may overlap."""
    small = plain.lower()
    for kind, expression, words in (*E_MAIL, *PATTERNS) if any(map(str.isdigit, plain)) else E_MAIL:
        if words and not any(word in small for word in words):
            continue
        for match in expression.finditer(plain):
            start, end = match.span("it" if "it" in expression.groupindex else 0)
            if not names_a_provider(plain, start, end):
                yield Hit(kind, start, end)
    if with_names:
        yield from (Hit(Identifier.NAME, start, end) for start, end in names.spans(plain))


def _is_of_a_program(text: str, hit: Hit) -> bool:
    """Whether what underscores join is a constant, or the month or day of a table or file: MS_PER_DAY, claim_202601."""
    it = text[hit.start : hit.end]
    if "_" not in it and not text[: hit.start].endswith("_"):
        return False
    if hit.kind is Identifier.NAME:
        return it.isupper() and names.GIVEN.isdisjoint(re.split(r"[\W_]+", it.casefold()))
    return hit.kind is Identifier.RECORD_NUMBER and _MONTH_OR_DAY.fullmatch(it) is not None


def _apart(found: Sequence[Hit]) -> tuple[Hit, ...]:
    """One hit for those that overlap: the kind of the first, the place of all."""
    apart: list[Hit] = []
    for hit in sorted(found, key=lambda hit: (hit.start, -hit.end)):
        if apart and hit.start < apart[-1].end:
            apart[-1] = apart[-1]._replace(end=max(apart[-1].end, hit.end))
        else:
            apart.append(hit)
    return tuple(apart)


def redacted(text: str, hits: Sequence[Hit]) -> str:
    """The text with the kind of each identifier in its place, such as [SSN]."""
    for hit in reversed(hits):
        text = f"{text[: hit.start]}[{hit.kind}]{text[hit.end :]}"
    return text
