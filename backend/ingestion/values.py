"""What a single cell means: dates, money, codes, outcomes and flags. Rules that join several cells are not here."""

import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Generic, NamedTuple, TypeVar

from backend.ingestion.records import DateFormat
from backend.phi.scanner import scan

T = TypeVar("T")

MEMO_ENTRIES = 20_000
MAX_CENTS = 1_000_000_000
MAX_MODIFIERS = 4
MAX_GROUP_CHARACTERS = 50
MAX_PAYER_CHARACTERS = 200
MAX_CLAIM_ID_CHARACTERS = 50


class Memo(dict[str, T], Generic[T]):
    """Remembers what a cell text means; dates, payers and codes repeat so often that a look-up replaces the parsing."""

    def __init__(self, parse: Callable[[str], T]) -> None:
        super().__init__()
        self._parse = parse

    def __missing__(self, text: str) -> T:
        value = self._parse(text)
        if len(self) < MEMO_ENTRIES and len(text) <= MAX_PAYER_CHARACTERS:
            self[text] = value
        return value


_DATE_PATTERNS: dict[DateFormat, re.Pattern[str]] = {
    DateFormat.ISO: re.compile(r"(?P<y>[0-9]{4})-(?P<m>[0-9]{2})-(?P<d>[0-9]{2})(?:[T ]00:00(?::00(?:\.0+)?)?)?"),
    DateFormat.MDY: re.compile(r"(?P<m>[0-9]{1,2})[/.-](?P<d>[0-9]{1,2})[/.-](?P<y>[0-9]{4})"),
    DateFormat.DMY: re.compile(r"(?P<d>[0-9]{1,2})[/.-](?P<m>[0-9]{1,2})[/.-](?P<y>[0-9]{4})"),
    DateFormat.YMD_COMPACT: re.compile(r"(?P<y>[0-9]{4})(?P<m>[0-9]{2})(?P<d>[0-9]{2})"),
}


def date_parser(date_format: DateFormat) -> Callable[[str], date | None]:
    """A function from text to date, or None when the text is not a date in exactly this format.

    Years have four digits in every format: two-digit years and a mix of orders are ambiguous, and nothing is guessed.
    """
    pattern = _DATE_PATTERNS[date_format].fullmatch

    def parse(text: str) -> date | None:
        match = pattern(text.strip())
        if match is None:
            return None
        try:
            return date(int(match["y"]), int(match["m"]), int(match["d"]))
        except ValueError:
            return None

    return parse


_PLAIN_AMOUNT = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,2}))?").fullmatch
_GROUPED_AMOUNT = re.compile(
    r"\$? ?([0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,9})\.([0-9]{2})|\$? ?([0-9]{0,9}\.[0-9]{1,2})"
).fullmatch
_LONG_AMOUNT = re.compile(r"[0-9]{0,9}\.[0-9]{4,30}").fullmatch


def parse_cents(text: str) -> int | None:
    """Whole cents, or None when the text is not an amount from 0 to 10 million.

    Three places are refused, since "1.234" means 1234 to half the world; four and more are what databases and floats
    print, and are rounded half to even. Signs, decimal commas and exponents are refused.
    """
    match = _PLAIN_AMOUNT(text)
    if match is not None:
        whole, fraction = match.groups()
        cents = int(whole) * 100 + (int(fraction) * (1 if len(fraction) == 2 else 10) if fraction else 0)  # noqa: PLR2004 - cents
    elif (match := _GROUPED_AMOUNT(text)) is not None:
        plain = f"{match[1].replace(',', '')}.{match[2]}" if match[1] else match[3]
        cents = int(Decimal(plain).scaleb(2))
    elif _LONG_AMOUNT(text) is not None:
        cents = int(Decimal(text).scaleb(2).to_integral_value(ROUND_HALF_EVEN))
    else:
        return None
    return cents if cents <= MAX_CENTS else None


_PROCEDURE = re.compile(r"[A-Z0-9]{4,6}").fullmatch
_MODIFIER = re.compile(r"[A-Z0-9]{2}").fullmatch
_DENIAL = re.compile(r"(?:(CO|PR|OA|PI|CR)[- ]?)?-?([A-Z]?)0*([0-9]{1,3})").fullmatch


def parse_procedure(text: str) -> str | None:
    """The code in upper case (CPT I, II, III, HCPCS II, CDT, revenue), or None."""
    code = _ascii_upper(text)
    return code if _PROCEDURE(code) else None


def _ascii_upper(text: str) -> str:
    """Upper case without outer blanks, or "" when there are other letters: some of them have an ASCII upper case."""
    code = text.strip()
    return code.upper() if code.isascii() else ""


class Modifiers(NamedTuple):
    """The usable modifiers, in the order given, and whether all of them were usable."""

    codes: tuple[str, ...]
    complete: bool


def parse_modifiers(text: str) -> Modifiers:
    """Up to four two-character modifiers, joined by semicolons."""
    given = [piece for piece in text.split(";") if piece.strip()]
    usable = tuple(code for code in map(_ascii_upper, given) if _MODIFIER(code))[:MAX_MODIFIERS]
    return Modifiers(usable, len(usable) == len(given))


class DenialCode(NamedTuple):
    """A claim adjustment reason code and, when given, its group."""

    group: str | None
    carc: str


def parse_denial(text: str) -> DenialCode | None:
    """The denial code without leading zeros ("CO-045" and "co45" are the same), or None."""
    match = _DENIAL(_ascii_upper(text))
    if match is None:
        return None
    digits = match[3]
    return DenialCode(match[1], match[2] + digits) if digits != "0" else None


_TRUE = frozenset({"true", "t", "yes", "y", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "0"})


def parse_flag(text: str) -> bool | None:
    """True or False, or None when the text is neither."""
    word = text.strip().casefold()
    if word in _TRUE:
        return True
    return False if word in _FALSE else None


OUTCOME_SYNONYMS: dict[str, str] = {
    "PENDING": "PENDING",
    "PENDED": "PENDING",
    "OPEN": "PENDING",
    "SUBMITTED": "PENDING",
    "IN PROCESS": "PENDING",
    "IN PROGRESS": "PENDING",
    "IN REVIEW": "PENDING",
    "UNDER REVIEW": "PENDING",
    "SUSPENDED": "PENDING",
    "PAID": "PAID",
    "APPROVED": "PAID",
    "ACCEPTED": "PAID",
    "ALLOWED": "PAID",
    "PAID IN FULL": "PAID",
    "FULLY PAID": "PAID",
    "PARTIAL": "PARTIAL",
    "PARTIALLY PAID": "PARTIAL",
    "PARTIALLY APPROVED": "PARTIAL",
    "PARTIAL PAYMENT": "PARTIAL",
    "SHORT PAID": "PARTIAL",
    "UNDERPAID": "PARTIAL",
    "DOWNCODED": "PARTIAL",
    "DENIED": "DENIED",
    "DENY": "DENIED",
    "DENIAL": "DENIED",
    "DECLINED": "DENIED",
    "NOT APPROVED": "DENIED",
    "REVERSED": "REVERSED",
    "REVERSAL": "REVERSED",
    "VOID": "REVERSED",
    "VOIDED": "REVERSED",
    "RECOUPED": "REVERSED",
    "OTHER": "OTHER",
}
"""Words for outcomes. REJECTED is left out on purpose: a rejection comes before any decision, so it is no denial."""

OUTCOMES = frozenset({"PENDING", "PAID", "PARTIAL", "DENIED", "REVERSED", "OTHER"})


def outcome_parser(synonyms: Mapping[str, str] | None) -> Callable[[str], str | None]:
    """A function from text to outcome, or None for an unknown word; `synonyms` come before the built-in ones."""
    words = dict(OUTCOME_SYNONYMS)
    words.update({_word(word): outcome for word, outcome in (synonyms or {}).items() if outcome in OUTCOMES})

    def parse(text: str) -> str | None:
        return words.get(_word(text))

    return parse


def _word(text: str) -> str:
    return " ".join(text.replace("_", " ").replace("-", " ").split()).upper()


class PayerName(NamedTuple):
    """A payer's name as the key of its alias, and for display."""

    folded: str
    display: str


def parse_payer(text: str) -> PayerName | None:
    """The name with single blanks, or None when it is empty, too long, not printable or holds a number of a person."""
    name = " ".join(text.split())
    if not name or len(name) > MAX_PAYER_CHARACTERS or not name.isprintable() or scan(name, with_names=False):
        return None
    return PayerName(name.casefold(), name)


def parse_group(text: str) -> str | None:
    """The procedure group with single blanks, or None when it is empty, too long, not printable or a person's."""
    name = " ".join(text.split())
    is_group = name and len(name) <= MAX_GROUP_CHARACTERS and name.isprintable() and not scan(name)
    return name if is_group else None


def parse_claim_id(text: str) -> str | None:
    """The claim number without outer blanks, or None when it is empty, over 50 characters or not printable."""
    number = text.strip()
    return number if number and len(number) <= MAX_CLAIM_ID_CHARACTERS and number.isprintable() else None


def parse_line_no(text: str) -> int | None:
    """A whole number from 1 to 999, or None."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 3):  # noqa: PLR2004 - a CARC
        return None
    return int(digits) or None
