"""What identifies a person in a text, and the text without it. Whether such a text is taken is decided elsewhere."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import ClassVar, NamedTuple

from backend.phi import names
from backend.phi.patterns import E_MAIL, PATTERNS, Identifier, names_a_provider

REMEMBERED = 2_000  # texts; payers, rules and tools repeat from row to row
_LONGEST_REMEMBERED = 500  # characters of one, for it is kept in memory
_MONTH_OR_DAY = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])?")
_UNSEEN = "\u200b"


class _Plain(dict[int, str]):
    """Each character as the expressions know it: typographic dashes, blanks and apostrophes, digits and letters of any
    width or script. What cannot be seen, which texts carry along from pages and messengers, is one character.
    """

    _KNOWN: ClassVar[dict[str, str]] = {"\u2212": "-", "\u2043": "-", "\u2018": "'", "\u2019": "'"}
    _BY_CATEGORY: ClassVar[dict[str, str]] = {
        "Pd": "-",
        "Zs": " ",
        "Zl": "\n",
        "Zp": "\n",
        **dict.fromkeys(("Cf", "Mn"), _UNSEEN),
    }

    def __missing__(self, code: int) -> str:
        one = chr(code)
        plain = self._KNOWN.get(one) or self._BY_CATEGORY.get(unicodedata.category(one))
        if plain is None:
            same = unicodedata.normalize("NFKC", one)
            plain = str(unicodedata.decimal(one, "")) or (same if len(same) == 1 else one)
        self[code] = plain
        return plain


_PLAIN = _Plain()


class Hit(NamedTuple):
    """An identifier and its place, text[start:end]."""

    kind: Identifier
    start: int
    end: int


def scan(text: str, *, with_names: bool = True) -> tuple[Hit, ...]:
    """The identifiers in a text in order; none overlap. An underscore parts words, as a blank does.

    Without `with_names` names of persons are not looked for, as in the name of a payer.
    """
    return (_scan if len(text) > _LONGEST_REMEMBERED else _remembered)(text, with_names)


def _scan(text: str, with_names: bool) -> tuple[Hit, ...]:
    plain = text if text.isascii() else text.translate(_PLAIN)
    found = list(_reads(plain.replace(_UNSEEN, " "), with_names))
    if _UNSEEN in plain:  # parts words, or stands in the middle of one
        places = [place for place, one in enumerate(plain) if one != _UNSEEN]
        within = _reads(plain.replace(_UNSEEN, ""), with_names)
        found += (hit._replace(start=places[hit.start], end=places[hit.end - 1] + 1) for hit in within)
    return _apart(found)


_remembered = lru_cache(REMEMBERED)(_scan)


def _reads(plain: str, with_names: bool) -> Iterator[Hit]:
    """What is found in plain characters; finds may overlap."""
    yield from _finds(plain, with_names)
    if "_" in plain:  # joins words in names of files, keys and programs; in an address of e-mail it is a letter
        words = plain.replace("_", " ")
        yield from (hit for hit in _finds(words, with_names) if not _is_of_a_program(plain, hit))


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
