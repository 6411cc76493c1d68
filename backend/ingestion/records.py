"""What every claim reader yields and every loader takes: a staged claim line, an issue, the options of a read."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NamedTuple, TypeAlias

AUTH_CARCS = frozenset({"15", "197", "198", "210"})
"""Claim adjustment reason codes that say "no authorization"; domain definition of an auth failure."""

NOT_DENIAL_CARCS = frozenset({"1", "2", "3", "23", "45", "253"})
"""Reason codes that reduce a payment without denying it: patient share, other payer, fee schedule, sequestration."""

WHOLE_CLAIM_CODE = "CLAIM"
"""Stands for the procedure when an 835 decides a claim as a whole, without service lines (institutional claims)."""


class Severity(StrEnum):
    """How bad an issue is; a row with an ERROR is not loaded."""

    ERROR = "ERROR"
    WARNING = "WARNING"
    INFO = "INFO"


class DateFormat(StrEnum):
    """The one order of day, month and year that a file declares; a date of another form is an error, never a guess."""

    ISO = "ISO"  # 2025-01-31
    MDY = "MDY"  # 01/31/2025
    DMY = "DMY"  # 31/01/2025
    YMD_COMPACT = "YMD_COMPACT"  # 20250131


class StagedClaim(NamedTuple):
    """One claim line with typed, canonical values, ready for the staging table; the field order is the column order.

    Money is whole cents (USD), dates are payer-local calendar dates, keys are 16 bytes, `row_sha256` is 32 bytes.
    `modifiers` and `rarc` are tuples of text (empty when there are none).
    """

    row_no: int  # CSV: record number with the header as 1; 835: running number of the line in the file, from 1
    claim_key: bytes
    line_no: int  # 1..999
    payer_raw: str  # case-folded, blanks collapsed: the key of payer_alias
    payer_name: str  # as written, trimmed: for display when a payer is created
    payer_code: str | None  # X12 payer id (case-folded), None for CSV
    procedure_code: str  # upper case; WHOLE_CLAIM_CODE for an 835 claim without usable service lines
    procedure_group: str | None
    modifiers: tuple[str, ...]
    submitted_on: date | None  # None for an 835
    decided_on: date | None  # None <=> outcome PENDING
    paid_on: date | None
    outcome: str  # PENDING | PAID | PARTIAL | DENIED | REVERSED | OTHER
    billed_cents: int | None
    allowed_cents: int | None
    paid_cents: int | None
    auth_required: bool | None
    auth_present: bool | None
    denial_carc: str | None
    denial_group: str | None  # CO | PR | OA | PI | CR
    rarc: tuple[str, ...]
    auth_denial: bool  # DENIED and denial_carc in the auth set
    patient_ref: bytes | None
    provider_ref: bytes | None
    place_of_service: str | None
    row_sha256: bytes  # over the canonical values without row_no and the payer's names
    is_reversal: bool  # CLP02 = 22: reverses the earlier version, never a decision of its own


class Issue(NamedTuple):
    """One finding about a row; `message` is the rule's static text and never holds a cell's value."""

    row_no: int
    rule_code: str
    column: str | None  # canonical column name, or None for the row as a whole
    severity: Severity
    message: str


StagedRow: TypeAlias = tuple[StagedClaim | None, tuple[Issue, ...]]
"""What readers yield per row: the claim, or None when an issue is an ERROR, and the row's issues (mostly empty)."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a reader needs to know beyond the file: the calendar day of the import and the organization's choices."""

    today: date
    date_format: DateFormat = DateFormat.ISO
    auth_carcs: frozenset[str] = AUTH_CARCS
    not_denial_carcs: frozenset[str] = NOT_DENIAL_CARCS
    keep_patient_ref: bool = False  # domain 1.3: optional, off by default
    outcome_synonyms: Mapping[str, str] | None = None  # further words -> outcome, case-insensitive
