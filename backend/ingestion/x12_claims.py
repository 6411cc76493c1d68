"""Remitted claims of an 835 as staged claim lines: outcome, amounts, denial reason and keyed references."""

import os
import re
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from backend.ingestion.claims_csv import with_row_hash
from backend.ingestion.errors import EmptyFile
from backend.ingestion.files import FileProfile
from backend.ingestion.keys import ClaimHasher
from backend.ingestion.records import (
    WHOLE_CLAIM_CODE,
    DateFormat,
    Issue,
    ReadOptions,
    Severity,
    StagedClaim,
    StagedRow,
)
from backend.ingestion.rules import issue
from backend.ingestion.values import (
    MAX_CENTS,
    MAX_MODIFIERS,
    PayerName,
    date_parser,
    parse_claim_id,
    parse_payer,
    parse_procedure,
)
from backend.ingestion.x12_835 import Adjustment, Remittances, RemittedClaim, RemittedLine, parse_835

MAX_LINES = 999
REVERSAL = "22"
PROCESSED = frozenset({"1", "2", "3", "19", "20", "21"})  # 19 to 21: processed and forwarded
DENIED = "4"
UNDECIDED = frozenset({"5", "10", "13", "15", "16", "17"})  # pended, suspended: 4010 payers still send them
NOT_DECIDED_HERE = frozenset({"23", "25"})  # not our claim; predetermination without payment
STATUSES = PROCESSED | UNDECIDED | NOT_DECIDED_HERE | {REVERSAL, DENIED}

CONTRACTUAL = frozenset({"45", "42", "A2"})
"""Reasons that bring the charge down to the allowed amount; 42 and A2 are what payers sent before 45."""

_AMOUNT = re.compile(r"-?(?:[0-9]{1,12}(?:\.[0-9]{0,8})?|\.[0-9]{1,8})").fullmatch
_FOREIGN_COMPONENTS = re.compile(r"([A-Z][A-Z0-9])([>:^|<])(.+)").fullmatch
_REMARK = re.compile(r"[A-Z0-9]{1,5}").fullmatch
_REASON = re.compile(r"[A-Z]?[0-9]{1,3}").fullmatch
_MODIFIER = re.compile(r"[A-Z0-9]{2}").fullmatch
_to_date = date_parser(DateFormat.YMD_COMPACT)


def read_remittances(
    path: str | os.PathLike[str], *, profile: FileProfile, hasher: ClaimHasher, options: ReadOptions
) -> "RemittanceReader":
    """The staged claim lines of an 835 file; the same shape and attributes as the reader of claims CSV."""
    return RemittanceReader(path, profile, hasher, options)


class RemittanceReader:
    """Iterates (claim line or None, issues), one service line at a time; None when an issue is an ERROR.

    Iteration raises what `parse_835` raises, and EmptyFile when there is no claim in the file.
    """

    def __init__(
        self, path: str | os.PathLike[str], profile: FileProfile, hasher: ClaimHasher, options: ReadOptions
    ) -> None:
        self._path = path
        self._size = profile.size
        self._mapper = LineMapper(hasher, options)
        self._seen = Remittances()
        self.columns: tuple[str, ...] = ()
        self.dropped_columns: dict[str, int] = {}
        self.rows_read = 0
        self.file_issues: list[Issue] = []

    @property
    def bytes_read(self) -> int:
        """Bytes of the file so far, interchange by interchange."""
        return self._seen.bytes_read

    def __iter__(self) -> Iterator[StagedRow]:
        for claim in parse_835(self._path, self._seen):
            for row in self._mapper.rows(claim, self.rows_read + 1):
                self.rows_read += 1
                yield row
        if not self.rows_read:
            raise EmptyFile
        if self._seen.provider_adjustments:
            self.file_issues.append(issue("I160", 1))


class _Head(NamedTuple):
    """What the lines of a claim share."""

    status: str
    key: bytes
    payer: PayerName
    payer_code: str | None
    decided: date | None
    paid: date | None
    patient: bytes | None
    provider: bytes | None
    place: str | None


class _Line(NamedTuple):
    number: int  # within the claim, from 1
    procedure: str
    modifiers: tuple[str, ...]
    recoded: bool
    billed: str
    paid: str
    allowed: str
    adjustments: list[Adjustment]  # reasons of the line, and of the claim as a whole
    priced: list[Adjustment]  # those whose amounts are about this line alone
    remarks: list[str]
    foreign_separator: bool


class LineMapper:
    """Maps remitted claims to staged lines by the derived definitions of domain 1.2."""

    def __init__(self, hasher: ClaimHasher, options: ReadOptions) -> None:
        self._hasher = hasher
        self._options = options
        self._last_decided = options.today
        self._last_paid = options.today + timedelta(days=7)

    def rows(self, claim: RemittedClaim, row_no: int) -> Iterator[StagedRow]:
        """One row per service line, or one for the whole claim when it has no usable lines."""
        found: list[Issue] = []
        head = self._head(claim, row_no, found)
        for line in _lines(claim, row_no, found):
            at = row_no + line.number - 1
            # An error of the claim refuses all of its lines; other remarks on the claim are made once, at the first.
            issues = [item._replace(row_no=at) for item in found if line.number == 1 or item.severity is Severity.ERROR]
            staged = self._staged(at, head, line, issues)
            yield staged, tuple(issues)

    def _head(self, claim: RemittedClaim, row_no: int, found: list[Issue]) -> _Head:
        number = parse_claim_id(claim.number)
        if number is None:
            found.append(issue("E001", row_no, "CLP01"))
        payer = parse_payer(claim.payer_name or claim.payer_id)
        if payer is None:
            found.append(issue("E930", row_no, "N1*PR"))
        decided, paid = self._dates(claim, row_no, found)
        if claim.status not in STATUSES:
            found.append(issue("W152", row_no, "CLP02"))
        payer_id = parse_payer(claim.payer_id)
        hasher = self._hasher
        keep_patient = self._options.keep_patient_ref and claim.patient_id
        # Without service lines the claim is institutional, and CLP08 is a type of bill.
        place = claim.place_of_service.upper() if claim.lines else ""
        return _Head(
            status=claim.status,
            key=hasher.claim_key(number or ""),
            payer=payer or PayerName("", ""),
            payer_code=payer_id.folded if payer_id else None,
            decided=decided,
            paid=paid,
            patient=hasher.patient_ref(claim.patient_id) if keep_patient else None,
            provider=hasher.provider_ref(claim.provider_id) if claim.provider_id else None,
            place=place if re.fullmatch("[0-9A-Z]{2}", place) else None,
        )

    def _dates(self, claim: RemittedClaim, row_no: int, found: list[Issue]) -> tuple[date | None, date | None]:
        """Decision and payment: the remittance's production date and the money's effective date.

        Either stands in for the other. Money cannot move before the decision, so a production date after the effective
        date (a re-issued file) is replaced by it.
        """
        produced, effective = _to_date(claim.produced), _to_date(claim.effective)
        paid = effective or produced
        decided = min((day for day in (produced, effective) if day is not None), default=None)
        if decided is None or paid is None:
            found.append(issue("E931", row_no, "DTM*405"))
            return None, None
        if decided > self._last_decided:
            found.append(issue("E011", row_no, "DTM*405"))
        if paid > self._last_paid:
            found.append(issue("E013", row_no, "BPR16"))
        return decided, paid

    def _staged(self, row_no: int, head: _Head, line: _Line, found: list[Issue]) -> StagedClaim | None:
        if line.foreign_separator:
            found.append(issue("W150", row_no, "SVC01"))
        amounts = _Amounts.of(line, reversal=head.status == REVERSAL)
        if amounts is None:
            found.append(issue("E932", row_no, "CLP03" if line.procedure == WHOLE_CLAIM_CODE else "SVC02"))
        if amounts is None or any(item.severity is Severity.ERROR for item in found):
            return None
        reasons = self._denial_reasons(line)
        outcome = _outcome(head.status, line, amounts, reasons)
        denial = max(reasons, key=_size, default=None) if outcome == "DENIED" else None
        if outcome == "DENIED" and denial is None:
            denial = self._patient_side_reason(line)
            if denial is None:
                found.append(issue("W131", row_no, "CAS"))
        decided = None if outcome == "PENDING" else head.decided
        claim_line = StagedClaim(
            row_no=row_no,
            claim_key=head.key,
            line_no=line.number,
            payer_raw=head.payer.folded,
            payer_name=head.payer.display,
            payer_code=head.payer_code,
            procedure_code=line.procedure,
            procedure_group=None,
            modifiers=line.modifiers,
            submitted_on=None,
            decided_on=decided,
            paid_on=head.paid if decided is not None and amounts.paid else None,
            outcome=outcome,
            billed_cents=amounts.billed,
            allowed_cents=amounts.allowed_of(line, denied=outcome == "DENIED"),
            paid_cents=amounts.paid,
            auth_required=None,
            auth_present=None,
            denial_carc=denial.reason if denial else None,
            denial_group=denial.group or None if denial else None,
            rarc=tuple(dict.fromkeys(code for code in map(str.upper, line.remarks) if _REMARK(code))),
            auth_denial=denial is not None and denial.reason in self._options.auth_carcs,
            patient_ref=head.patient,
            provider_ref=head.provider,
            place_of_service=head.place,
            row_sha256=b"",
            is_reversal=head.status == REVERSAL,
        )
        return with_row_hash(claim_line)

    def _denial_reasons(self, line: _Line) -> list[Adjustment]:
        """Adjustments that deny: groups CO, PI and OA, an amount above 0, a reason outside the "not a denial" set."""
        return [item for item in self._reasons(line) if item.group in {"CO", "PI", "OA"}]

    def _patient_side_reason(self, line: _Line) -> Adjustment | None:
        """The largest reason of any group, for a claim that only its status calls denied (PR-96 and the like)."""
        return max(self._reasons(line), key=_size, default=None)

    def _reasons(self, line: _Line) -> list[Adjustment]:
        harmless = self._options.not_denial_carcs | CONTRACTUAL
        return [
            item
            for item in line.adjustments
            if item.reason not in harmless and _REASON(item.reason) and _size(item) > 0
        ]


def _outcome(status: str, line: _Line, amounts: "_Amounts", reasons: list[Adjustment]) -> str:
    decided = {REVERSAL: "REVERSED", DENIED: "DENIED"}
    if status in decided:
        return decided[status]
    if status in UNDECIDED:
        return "PENDING"
    if status in NOT_DECIDED_HERE:
        return "OTHER"
    if amounts.paid == 0 and reasons:
        return "DENIED"
    return "PARTIAL" if reasons or line.recoded else "PAID"


class _Amounts(NamedTuple):
    billed: int
    paid: int
    allowed: int | None

    @classmethod
    def of(cls, line: _Line, *, reversal: bool) -> "_Amounts | None":
        """Cents of a line, or None when one is no amount; those of a reversal are negative and taken without sign."""
        billed, paid = _cents(line.billed), _cents(line.paid or "0")
        allowed = _cents(line.allowed) if line.allowed else None
        if billed is None or paid is None or (line.allowed and allowed is None):
            return None
        if reversal:
            return cls(abs(billed), abs(paid), abs(allowed) if allowed is not None else None)
        if billed < 0 or paid < 0 or (allowed is not None and allowed < 0):
            return None
        return cls(billed, paid, allowed)

    def allowed_of(self, line: _Line, *, denied: bool) -> int:
        """The allowed amount in cents: AMT*B6, else 0 for a denial, else billed less contractual adjustments."""
        if self.allowed is not None:
            return self.allowed
        if denied:
            return 0
        written_off = sum(
            abs(_cents(item.amount) or 0) for item in line.priced if item.group == "CO" and item.reason in CONTRACTUAL
        )
        return max(self.billed - written_off, 0)


def _lines(claim: RemittedClaim, row_no: int, found: list[Issue]) -> list[_Line]:
    """The service lines; the whole claim as one when there are none or one of them has no usable code."""
    lines = []
    for number, given in enumerate(claim.lines[:MAX_LINES], start=1):
        line = _service_line(claim, given, number)
        if line is None:
            found.append(issue("W151", row_no, "SVC01"))
            return [_whole_claim(claim)]
        lines.append(line)
    if len(claim.lines) > MAX_LINES:
        found.append(issue("W153", row_no, "SVC"))
    return lines or [_whole_claim(claim)]


def _whole_claim(claim: RemittedClaim) -> _Line:
    adjustments = [*claim.adjustments, *(item for line in claim.lines for item in line.adjustments)]
    return _Line(
        number=1,
        procedure=WHOLE_CLAIM_CODE,
        modifiers=(),
        recoded=False,
        billed=claim.billed,
        paid=claim.paid,
        allowed=claim.allowed,
        adjustments=adjustments,
        priced=adjustments,
        remarks=[*claim.remarks, *(code for line in claim.lines for code in line.remarks)],
        foreign_separator=False,
    )


def _service_line(claim: RemittedClaim, given: RemittedLine, number: int) -> _Line | None:
    """The line under the code that was billed, or None when neither SVC06 nor SVC01 holds a usable code."""
    decided_on, foreign = _components(given.procedure)
    billed_as, foreign_original = _components(given.original)
    decided_code, billed_code = _code(decided_on), _code(billed_as)
    procedure = billed_code or decided_code
    if procedure is None:
        return None
    modifiers = [code.upper() for code in (billed_as if billed_code else decided_on)[2:]]
    # A reason given for the whole claim is a reason for each line; its amount is a line's only if there is one line.
    adjustments = [*given.adjustments, *claim.adjustments]
    return _Line(
        number=number,
        procedure=procedure,
        modifiers=tuple(code for code in modifiers if _MODIFIER(code))[:MAX_MODIFIERS],
        recoded=billed_code is not None and decided_code != billed_code,
        billed=given.billed,
        paid=given.paid,
        allowed=given.allowed,
        adjustments=adjustments,
        priced=adjustments if len(claim.lines) == 1 else given.adjustments,
        remarks=[*given.remarks, *claim.remarks],
        foreign_separator=foreign or foreign_original,
    )


def _code(components: tuple[str, ...]) -> str | None:
    return parse_procedure(components[1]) if len(components) > 1 else None


def _components(composite: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """Qualifier, code, modifiers; and whether they were split at a separator that the envelope does not declare."""
    if len(composite) == 1 and (match := _FOREIGN_COMPONENTS(composite[0].upper())) is not None:
        return (match[1], *match[3].split(match[2])), True
    return composite, False


def _size(adjustment: Adjustment) -> int:
    return _cents(adjustment.amount) or 0


def _cents(text: str) -> int | None:
    """Signed cents of an X12 decimal, or None when it is not one or beyond 10 million."""
    if not _AMOUNT(text):
        return None
    cents = int(Decimal(text).scaleb(2).to_integral_value(ROUND_HALF_EVEN))
    return cents if abs(cents) <= MAX_CENTS else None
