"""Claims CSV version 1: header to columns, records to staged claims by the row rules. Payers, duplicates and versions
are relational and are decided where the rows are loaded, not here."""

import hashlib
import os
from collections.abc import Iterator
from datetime import date, timedelta
from operator import itemgetter
from typing import NamedTuple

from backend.ingestion.csv_records import CsvReader, CsvRecords, canonical_header, check_duplicates, printable_name
from backend.ingestion.errors import MissingColumn
from backend.ingestion.files import FileProfile
from backend.ingestion.keys import ClaimHasher
from backend.ingestion.records import Issue, ReadOptions, Severity, StagedClaim, StagedRow
from backend.ingestion.rules import issue
from backend.ingestion.values import (
    Memo,
    PayerName,
    date_parser,
    outcome_parser,
    parse_cents,
    parse_claim_id,
    parse_denial,
    parse_flag,
    parse_group,
    parse_line_no,
    parse_modifiers,
    parse_payer,
    parse_procedure,
)

EARLIEST = date(2000, 1, 1)
PAID_OVER_ALLOWED = 101  # percent: rounding of line amounts


class Cells(NamedTuple):
    """The cells of a record in the order of the format's columns; absent columns are empty."""

    claim_id: str
    line_no: str
    payer: str
    procedure_code: str
    procedure_group: str
    modifiers: str
    submitted_date: str
    decided_date: str
    payment_date: str
    outcome: str
    billed_amount: str
    allowed_amount: str
    paid_amount: str
    denial_code: str
    authorization_required: str
    authorization_present: str
    patient_id: str


COLUMNS = Cells._fields
REQUIRED_COLUMNS = ("claim_id", "payer", "procedure_code", "submitted_date", "decided_date", "outcome")


def read_claims(
    path: str | os.PathLike[str], *, profile: FileProfile, hasher: ClaimHasher, options: ReadOptions
) -> "ClaimsReader":
    """The staged claims of a CSV file, one pair of claim and issues per record; reads nothing before iteration.

    Raises:
        DuplicateHeader: The header names a column twice.
        MissingColumn: The header lacks a required column.
    """
    return ClaimsReader(path, profile, hasher, options)


class ClaimsReader(CsvReader):
    """Iterates (claim or None, issues); the claim is None when an issue is an ERROR.

    `columns` are the known columns found. `dropped_columns` maps unknown columns to their number of filled cells; it is
    complete, like `file_issues`, after the last row. `rows_read` and `bytes_read` say how far the reading has come.
    Iteration raises EmptyFile when no record follows the header.
    """

    def __init__(
        self, path: str | os.PathLike[str], profile: FileProfile, hasher: ClaimHasher, options: ReadOptions
    ) -> None:
        names = [canonical_header(name) for name in profile.header]
        check_duplicates(names, frozenset(COLUMNS))
        missing = [name for name in REQUIRED_COLUMNS if name not in names]
        if missing:
            raise MissingColumn(columns=", ".join(missing))
        self.columns = tuple(name for name in COLUMNS if name in names)
        unknown = [position for position, name in enumerate(names) if name not in COLUMNS]
        self._unknown = [(position, printable_name(profile.header[position], position + 1)) for position in unknown]
        self.dropped_columns = {name: 0 for _, name in self._unknown}
        super().__init__(CsvRecords(path, profile))
        # An absent column points at a blank cell that is appended to every record.
        self._row = RowParser([names.index(name) if name in names else len(names) for name in COLUMNS], hasher, options)

    def __iter__(self) -> Iterator[StagedRow]:
        parse, unknown = self._row.parse, self._unknown
        for row_no, cells, broken in self._records:
            if cells is None:
                yield None, (broken,) if broken else ()
                continue
            for position, name in unknown:
                if cells[position].strip():
                    self.dropped_columns[name] += 1
            yield parse(row_no, cells)


class _Dates(NamedTuple):
    submitted: date | None
    decided: date | None
    paid: date | None


class RowParser:
    """Turns the cells of one record into a staged claim by the row rules E001 to W140."""

    def __init__(self, positions: list[int], hasher: ClaimHasher, options: ReadOptions) -> None:
        self._pick = itemgetter(*positions)
        self._claim_key = hasher.claim_key
        self._patient_ref = hasher.patient_ref if options.keep_patient_ref else None
        self._auth_carcs = options.auth_carcs
        self._date = Memo(date_parser(options.date_format))
        self._payer = Memo(parse_payer)
        self._procedure = Memo(parse_procedure)
        self._group = Memo(parse_group)
        self._modifiers = Memo(parse_modifiers)
        self._outcome = Memo(outcome_parser(options.outcome_synonyms))
        self._denial = Memo(parse_denial)
        self._flag = Memo(parse_flag)
        self._last_submitted = options.today + timedelta(days=1)
        self._last_decided = options.today
        self._last_paid = options.today + timedelta(days=7)

    def parse(self, row_no: int, cells: list[str]) -> StagedRow:
        """The claim of one record (None when a rule of severity ERROR is broken) and the record's issues.

        Args:
            row_no: The record's line in the file.
            cells: As many cells as the header has; a blank one is appended.
        """
        cells.append("")
        row = Cells._make(self._pick(cells))
        found: list[Issue] = []
        number, line_no, payer, procedure = self._identity(row_no, row, found)
        outcome = self._outcome_of(row_no, row, found)
        dates = self._dates(row_no, row, outcome, found)
        billed, allowed, paid = self._amounts(row_no, row, found)
        group, modifiers = self._details(row_no, row, found)
        denial_group, carc = self._denial_of(row_no, row, outcome, found)
        required = self._flag_of(row_no, "authorization_required", row.authorization_required, found)
        present = self._flag_of(row_no, "authorization_present", row.authorization_present, found)
        if found and any(item.severity is Severity.ERROR for item in found):
            return None, tuple(found)
        patient = self._patient_ref(row.patient_id) if self._patient_ref and row.patient_id.strip() else None
        key = self._claim_key(number)
        claim = StagedClaim(
            row_no=row_no,
            claim_key=key,
            line_no=line_no,
            payer_raw=payer.folded,
            payer_name=payer.display,
            payer_code=None,
            procedure_code=procedure,
            procedure_group=group,
            modifiers=modifiers,
            submitted_on=dates.submitted,
            decided_on=dates.decided,
            paid_on=dates.paid,
            outcome=outcome,
            billed_cents=billed,
            allowed_cents=allowed,
            paid_cents=paid,
            auth_required=required,
            auth_present=present,
            denial_carc=carc,
            denial_group=denial_group,
            rarc=(),
            auth_denial=outcome == "DENIED" and carc in self._auth_carcs,
            patient_ref=patient,
            provider_ref=None,
            place_of_service=None,
            row_sha256=b"",
            is_reversal=outcome == "REVERSED",
        )
        return with_row_hash(claim), tuple(found)

    def _identity(self, row_no: int, row: Cells, found: list[Issue]) -> tuple[str, int, PayerName, str]:
        number = parse_claim_id(row.claim_id)
        if number is None:
            found.append(issue("E001", row_no, "claim_id"))
        line_no: int | None = 1
        if row.line_no and row.line_no.strip():
            line_no = parse_line_no(row.line_no)
            if line_no is None:
                found.append(issue("E002", row_no, "line_no"))
        payer = self._payer[row.payer]
        if payer is None:
            found.append(issue("E004", row_no, "payer"))
        procedure = self._procedure[row.procedure_code]
        if procedure is None:
            found.append(issue("E003", row_no, "procedure_code"))
        return number or "", line_no or 1, payer or PayerName("", ""), procedure or ""

    def _outcome_of(self, row_no: int, row: Cells, found: list[Issue]) -> str:
        outcome = self._outcome[row.outcome]
        if outcome is None:
            found.append(issue("W104", row_no, "outcome"))
            return "OTHER"
        return outcome

    def _dates(self, row_no: int, row: Cells, outcome: str, found: list[Issue]) -> _Dates:
        submitted = self._date[row.submitted_date]
        if submitted is None or not EARLIEST <= submitted <= self._last_submitted:
            found.append(issue("E010", row_no, "submitted_date"))
        decided = self._decided(row_no, row, outcome, submitted, found)
        if not row.payment_date or not row.payment_date.strip():
            return _Dates(submitted, decided, None)
        paid = self._date[row.payment_date]
        if paid is None or paid > self._last_paid or decided is None or paid < decided:
            found.append(issue("E013", row_no, "payment_date"))
        return _Dates(submitted, decided, paid)

    def _decided(
        self, row_no: int, row: Cells, outcome: str, submitted: date | None, found: list[Issue]
    ) -> date | None:
        blank = not row.decided_date or not row.decided_date.strip()
        if blank != (outcome == "PENDING"):
            found.append(issue("E012", row_no, "decided_date"))
        if blank:
            return None
        decided = self._date[row.decided_date]
        too_early = decided is not None and submitted is not None and decided < submitted
        if decided is None or decided > self._last_decided or decided < EARLIEST or too_early:
            found.append(issue("E011", row_no, "decided_date"))
        return decided

    def _amounts(self, row_no: int, row: Cells, found: list[Issue]) -> tuple[int | None, int | None, int | None]:
        billed = self._cents(row_no, "billed_amount", row.billed_amount, found)
        allowed = self._cents(row_no, "allowed_amount", row.allowed_amount, found)
        paid = self._cents(row_no, "paid_amount", row.paid_amount, found)
        if paid and allowed is not None and paid * 100 > allowed * PAID_OVER_ALLOWED:
            found.append(issue("W121", row_no, "paid_amount"))
        return billed, allowed, paid

    @staticmethod
    def _cents(row_no: int, column: str, cell: str, found: list[Issue]) -> int | None:
        text = cell.strip()
        if not text:
            return None
        cents = parse_cents(text)
        if cents is None:
            found.append(issue("E020", row_no, column))
        return cents

    def _details(self, row_no: int, row: Cells, found: list[Issue]) -> tuple[str | None, tuple[str, ...]]:
        group = self._group[row.procedure_group]
        if group is None and row.procedure_group.strip():
            found.append(issue("W102", row_no, "procedure_group"))
        if not row.modifiers:
            return group, ()
        modifiers = self._modifiers[row.modifiers]
        if not modifiers.complete:
            found.append(issue("W103", row_no, "modifiers"))
        return group, modifiers.codes

    def _denial_of(self, row_no: int, row: Cells, outcome: str, found: list[Issue]) -> tuple[str | None, str | None]:
        if not row.denial_code or not row.denial_code.strip():
            if outcome == "DENIED":
                found.append(issue("W131", row_no, "denial_code"))
            return None, None
        denial = self._denial[row.denial_code]
        if denial is None:
            found.append(issue("W130", row_no, "denial_code"))
            return None, None
        return denial

    def _flag_of(self, row_no: int, column: str, cell: str, found: list[Issue]) -> bool | None:
        if not cell:
            return None
        flag = self._flag[cell]
        if flag is None and cell.strip():
            found.append(issue("W140", row_no, column))
        return flag


_HASHED = itemgetter(
    *(
        StagedClaim._fields.index(name)
        for name in StagedClaim._fields
        if name not in {"row_no", "payer_raw", "payer_name", "payer_code", "row_sha256"}
    )
)


def with_row_hash(claim: StagedClaim) -> StagedClaim:
    """The claim with SHA-256 over its canonical values, so that equal rows of any dialect have equal hashes.

    The payer's spelling is left out: payer is part of the key that rows are compared under, after aliases are resolved.
    """
    canonical = "\x1f".join(map(str, _HASHED(claim)))
    # Slicing is three times faster than _replace, and this runs for every row.
    return StagedClaim(*claim[:-2], hashlib.sha256(canonical.encode()).digest(), claim.is_reversal)
