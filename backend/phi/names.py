"""Names of persons, told by the words around them and by a list of given names. Names of payers are no persons."""

import re
from collections.abc import Iterator
from pathlib import Path

_TOKEN = r"[A-ZÀ-ÖØ-Þ](?:'[A-ZÀ-ÖØ-Þ])?[\wà-öø-ÿ']*(?:-[A-ZÀ-ÖØ-Þ][\wà-öø-ÿ']*)?"  # noqa: S105 - the pattern of a word, no secret
_INITIAL = r"[A-Z]\.?"
_FULL = rf"{_TOKEN}(?:\s+{_INITIAL}(?!\w))?(?:\s+(?:(?:de|la|van|von|der|del|bin|al)\s+){{0,2}}{_TOKEN}){{0,2}}"

_PERSON = (
    r"patient|pt|member|insured|subscriber|beneficiary|enrollee|guarantor|dependent|policyholder|spouse|mother|father|daughter"
    r"|son|wife|husband|caregiver|parent"
)
_TITLES = frozenset({"mr", "mrs", "ms", "miss", "mx"})
_PERSONS = frozenset(_PERSON.split("|"))
_HONORIFIC = re.compile(rf"\b(?:Mr|Mrs|Ms|Miss|Mx|MR|MRS|MS)\b\.?\s+(?P<it>{_FULL})")
_NAMED = re.compile(
    rf"\b(?:(?:{_PERSON})(?:'s)?\s+name|name\s+of\s+(?:the\s+)?(?:{_PERSON})|(?:{_PERSON})\s+(?:named|called))(?:\s+(?:is|was))?\s*[:=,-]?\s*"
    rf"(?P<it>(?-i:{_FULL}))",
    re.IGNORECASE,
)
_CUED = re.compile(rf"\b(?P<cue>(?i:{_PERSON}))\b\.?(?:\s+is|,|:|\s+-)?\s+\(?(?P<it>{_FULL})")
_LAST_FIRST = re.compile(rf"\b(?P<last>{_TOKEN}),\s*(?P<first>{_TOKEN})(?:\s+{_INITIAL}(?!\w))?")
# Looked for at every word: the word before a name can begin with a capital, too.
_FIRST_LAST = re.compile(
    rf"\b(?=(?P<it>(?P<first>{_TOKEN})(?:\s+{_INITIAL}(?!\w))?\s+(?P<last>{_TOKEN}))(?:\s+(?P<next>{_TOKEN}))?)"
)


def _words(name: str) -> frozenset[str]:
    return frozenset((Path(__file__).parent / name).read_text(encoding="utf-8").split())


GIVEN = _words("given_names.txt")
"""Given names that are hardly ever another word, case-folded; U.S. births of the last ninety years."""
OTHER_WORDS = _words("other_words.txt")
"""Capitalised words of claims, payers, places and programs that follow words for persons, or given names."""


def _is_other(word: str) -> bool:
    return word.casefold().removesuffix("'s") in OTHER_WORDS


def _is_given(word: str) -> bool:
    return word.casefold() in GIVEN


def _cued(found: re.Match[str]) -> bool:
    """Whether what follows a word for a person is a name: begins with a given one, or has no word that is another."""
    words = re.findall(_TOKEN, found["it"])
    if _is_given(words[0]):
        return True
    if any(map(_is_other, words)):
        return False
    return len(words) > 1 or (found["cue"] in ("patient", "pt") and not words[0].isupper())


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Where names of persons stand, as (start, end); spans may overlap."""
    # Words of the text are looked up first: that is far cheaper than the expressions.
    words = frozenset(re.findall(r"[a-z]+", text.lower()))
    if not words.isdisjoint(_TITLES):
        yield from _begun(_HONORIFIC, text)
    if not words.isdisjoint(_PERSONS):
        yield from _begun(_NAMED, text)
        yield from (found.span("it") for found in _CUED.finditer(text) if _cued(found))
    if not words.isdisjoint(GIVEN):
        yield from _common(text)


def _begun(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    """What the words before it say is a name, unless its first word is another."""
    for found in pattern.finditer(text):
        first = re.match(_TOKEN, found["it"])
        if first is not None and not _is_other(first[0]):
            yield found.span("it")


def _common(text: str) -> Iterator[tuple[int, int]]:
    """Common given names with the family name after or before them."""
    for found in _LAST_FIRST.finditer(text):
        if _is_given(found["first"]) and not _is_other(found["last"]):
            yield found.span()
    for found in _FIRST_LAST.finditer(text):
        follows = found["next"] and _is_other(found["next"])
        if _is_given(found["first"]) and not _is_other(found["last"]) and not follows:
            yield found.span("it")
