"""Identifiers that have a form: numbers, addresses and dates. Names of persons are in names.py.

Sources: 45 CFR 164.514(b)(2); SSA, areas and groups never assigned (POMS RM 10201.035); CMS, understanding the MBI
format; NANP, area and exchange codes begin with 2 to 9; 45 CFR 162.406, NPI with the Luhn digit over 80840.
"""

import re
from enum import StrEnum
from typing import NamedTuple


class Identifier(StrEnum):
    """What kind of identifier a text holds; the value is what a redacted text shows."""

    SSN = "SSN"
    MBI = "MBI"
    PHONE = "PHONE"
    EMAIL = "EMAIL"
    DATE = "DATE"
    RECORD_NUMBER = "RECORD NUMBER"
    ADDRESS = "ADDRESS"
    NAME = "NAME"


_LINK = r"[\s:#=.,\-]{0,4}(?:(?:is|was|at|on|of|for|to)\s+){0,2}[#:]?\s?"
_QUALIFIER = r"(?:(?:identification|record|number|numbers|no|num|nbr|id|ids|#)\b\.?|#)"
# Four digits at least; neither a date nor a procedure with its modifier.
_NUMBER = (
    r"(?=(?:[A-Z-]*\d){4})(?!\d{4}-\d\d-\d\d\b)(?!\d{1,2}-\d{1,2}-\d{2,4}\b)(?!\d{5}-\d\d\b)"
    r"[A-Z0-9](?:[A-Z0-9-]{2,}[A-Z0-9])"
)
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_DATE = (
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})|(?:19|20)\d{6}|[01]\d[0-3]\d(?:19|20)\d\d"
    rf"|{_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s+\d{{4}}|(?!\d))|\d{{1,2}}(?:st|nd|rd|th)?(?:\s+of)?[\s-]+{_MONTH}(?:,?[\s-]+\d{{4}})?)"
    r"(?![\d])"
)
_OF_A_LIFE = (
    r"(?:\bd\.?\s?o\.?\s?b\b\.?|date of birth|birth\s?-?dates?|birth\s?days?|\bborn\b|date of death|\bdied\b"
    r"|\bdeceased\b|\badmitted\b|\bdischarged\b|admission date|admit date|discharge date|date of service|\bdos\b)"
)
_LOCAL = r"[2-9]\d{2}[-. ]?\d{4}"
_STREET = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Court|Ct|Boulevard|Blvd|Way|Place|Pl|Terrace|Ter|Circle|Cir"
    r"|Highway|Hwy|Parkway|Pkwy|Trail|Square|Sq)"
)
_CALLS = (
    r"\b(?:phone|telephone|tel|ph|cell|mobile|fax|callback|call(?:ed|ing)?(?:\s+back)?|reach(?:ed|able)?|voicemail|dial(?:ed)?"
    r"|contact(?:ed)?)\b"
)

_RECORD_OWNER = r"(?:member|mbr|subscriber|beneficiary|enrollee|insured|patient|pt|account|acct|claim|encounter)"
_OWNERS = (
    "member",
    "mbr",
    "subscriber",
    "beneficiary",
    "enrollee",
    "insured",
    "patient",
    "pt",
    "account",
    "acct",
    "claim",
    "encounter",
)
_LIVES = ("birth", "born", "dob", "d.o", "d. o", "d o", "dos", "died", "deceased", "admi", "discharge", "service")
# A number with hyphens may stand beside letters (x219-09-9999, 219-09-9999-retry), but is no part of a longer one.
_APART, _ENDS = r"(?<!\d)(?<!\d[.-])", r"(?!\d|[.-]\d)"


class Pattern(NamedTuple):
    """How one form is found: the group "it" of the expression where it has one, else all of it.

    `words`: texts in small letters of which one must be there; looking for them is far cheaper than the expression.
    """

    kind: Identifier
    expression: re.Pattern[str]
    words: tuple[str, ...] = ()


def _of(kind: Identifier, text: str, *words: str, flags: int = re.IGNORECASE) -> Pattern:
    return Pattern(kind, re.compile(text, flags), words)


PATTERNS: tuple[Pattern, ...] = (
    _of(
        Identifier.SSN,
        r"(?<![\w.-])(?!000|666|9)\d{3}(?P<gap>\s?[-.]\s?| )(?!00)\d{2}(?P=gap)(?!0000)\d{4}(?![\w-]|\.\d)",
    ),
    _of(Identifier.SSN, rf"{_APART}(?!000|666|9)\d{{3}}-(?!00)\d{{2}}-(?!0000)\d{{4}}{_ENDS}"),
    _of(
        Identifier.SSN,
        r"\b(?:ssn|ss\s?#|social\s?security|social)\b[^\d\n]{0,25}"
        r"(?P<it>(?!000|666|9)\d{3}[-. ]?(?!00)\d{2}[-. ]?(?!0000)\d{4}|(?:[x*]{3}-?[x*]{2}-?)?\d{4})(?![\w-])",
        *("ssn", "ss#", "ss #", "social"),
    ),
    _of(
        Identifier.MBI,
        r"(?<![\w-])[1-9](?![sloibz])[a-z](?![sloibz])[a-z0-9]\d-?(?![sloibz])[a-z](?![sloibz])[a-z0-9]\d-?"
        r"(?:(?![sloibz])[a-z]){2}\d\d(?![\w-])",
    ),
    _of(
        Identifier.MBI,
        rf"{_APART}[1-9](?![sloibz])[a-z](?![sloibz])[a-z0-9]\d-(?![sloibz])[a-z](?![sloibz])[a-z0-9]\d-"
        rf"(?:(?![sloibz])[a-z]){{2}}\d\d{_ENDS}",
    ),
    _of(Identifier.PHONE, rf"{_APART}[2-9]\d{{2}}-[2-9]\d{{2}}-\d{{4}}{_ENDS}"),
    _of(
        Identifier.PHONE,
        r"(?<![\w.-])(?:\+?1[-. ]?)?(?:\([2-9]\d{2}\)\s?-?|[2-9]\d{2}[-./ ])[2-9]\d{2}[-. ]\d{4}(?![\w-]|\.\d)",
    ),
    _of(
        Identifier.PHONE,
        rf"{_CALLS}[^\d\n]{{0,20}}(?P<it>(?:\+?1[-. ]?)?[2-9]\d{{2}}[-. ]?{_LOCAL}|{_LOCAL})(?![\w-])",
        *("phone", "tel", "ph", "cell", "mobile", "fax", "call", "reach", "voicemail", "dial", "contact"),
    ),
    _of(Identifier.DATE, rf"{_OF_A_LIFE}[^\d\n]{{0,20}}?(?P<it>{_DATE})", *_LIVES),
    _of(
        Identifier.DATE,
        rf"(?<![\d.-])(?P<it>{_DATE})[\s()\[\],;:=-]{{0,4}}(?:(?:is|was|as|the|her|his|their|patient's)\s+){{0,3}}{_OF_A_LIFE}",
        *_LIVES,
    ),
    _of(
        Identifier.RECORD_NUMBER,
        r"\b(?:mrn|medical record|med\.? rec\.?|chart|hicn|medicare id|medicaid id|driver'?s?'? licen[cs]e)"
        rf"(?:[\s-]*{_QUALIFIER}){{0,2}}{_LINK}(?P<it>{_NUMBER})(?!\w)",
        *("mrn", "med", "chart", "hicn", "driver"),
    ),
    _of(
        Identifier.RECORD_NUMBER,
        rf"(?<![a-z]){_RECORD_OWNER}s?\.?(?:'s)?(?:[\s_-]*{_QUALIFIER}){{1,2}}{_LINK}(?P<it>{_NUMBER})(?!\w)",
        *_OWNERS,
    ),
    _of(
        Identifier.RECORD_NUMBER,
        rf"(?<![a-z]){_RECORD_OWNER}\.?[\s:=(-]{{1,3}}(?P<it>(?=[A-Z0-9-]{{6}}){_NUMBER})(?!\w)",
        *_OWNERS,
    ),
    _of(
        Identifier.RECORD_NUMBER,
        r"\b(?:policy|group|certificate|case|visit|invoice|auth|authorization|referral|confirmation|reference|ref)\s*"
        rf"{_QUALIFIER}{_LINK}(?P<it>(?=[A-Z0-9-]{{6}}){_NUMBER})(?!\w)",
        *("policy", "group", "certificate", "case", "visit", "invoice", "auth", "ref", "confirmation"),
    ),
    _of(
        Identifier.ADDRESS,
        r"\b\d{1,6}[A-Z]?\s+(?:(?:N|S|E|W|NE|NW|SE|SW|North|South|East|West)\.?\s+)?"
        rf"(?:[A-Z][\w']+\.?\s+|\d+(?:st|nd|rd|th)\s+){{1,3}}{_STREET}\b\.?(?!\s*\w*=)",
        flags=0,
    ),
    _of(Identifier.ADDRESS, r"\bP\.?\s?O\.?\s+Box\s+\d+", "box"),
)
"""Forms that hold a digit."""

E_MAIL: tuple[Pattern, ...] = (
    _of(Identifier.EMAIL, r"(?<![\w.])(?!git@)[a-z0-9][a-z0-9._%+'-]{0,63}@(?:[a-z0-9-]+\.)+[a-z]{2,}", "@"),
    _of(
        Identifier.EMAIL,
        r"\b[a-z0-9._-]+\s?[\[( ]at[\]) ]\s?[a-z0-9-]+\s?[\[( ]dot[\]) ]\s?(?:com|org|net|edu|gov)\b",
        "dot",
    ),
)
"""Forms without a digit."""

_NPI_DIGITS = 10
_NPI_REACH = 16  # characters before the number in which the word may stand


def is_npi(digits: str) -> bool:
    """Whether the check digit is that of a national provider identifier: Luhn over 80840 and the number."""
    if len(digits) != _NPI_DIGITS or not (digits.isascii() and digits.isdigit()):
        return False
    total = 24  # what 80840 contributes
    for position, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (1 + position % 2)
        total += doubled - 9 * (doubled > 9)  # noqa: PLR2004 - the sum of its two digits
    return total % 10 == 0


def names_a_provider(text: str, start: int, end: int) -> bool:
    """Whether a number is called an NPI and is one: it names a provider, not a patient."""
    return "npi" in text[max(0, start - _NPI_REACH) : end].casefold() and is_npi(re.sub(r"\D", "", text[start:end]))
