"""Outcome counts: published or aggregated figures per payer, code and period, under a mapping of fields to headers."""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from backend.core.errors import LimitExceeded
from backend.ingestion.csv_records import CsvReader, CsvRecords, canonical_header, check_duplicates, printable_name
from backend.ingestion.errors import MissingColumn, UnknownField, UnknownMeasure, UnmappedHeader
from backend.ingestion.files import FileProfile
from backend.ingestion.records import DateFormat, Issue, Severity
from backend.ingestion.rules import issue
from backend.ingestion.values import Memo, date_parser, parse_group, parse_payer

MEASURES = ("AUTHORIZATION_APPROVAL", "CLAIM_DENIAL")
MAX_ROWS = 1_000_000
"""Repeats and overlaps are found in memory, row by row of the whole file; published figures are far smaller."""

FIELDS = (
    "payer",
    "procedure_code",
    "procedure_group",
    "year",
    "period_start",
    "period_end",
    "measure",
    "total",
    "favourable",
    "rate",
)
MAX_TOTAL = 2_147_483_647

_CODE = re.compile(r"[A-Z0-9]{3,7}").fullmatch
_COUNT = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,10}").fullmatch
_RATE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{0,20})?|\.[0-9]{1,20}) ?(%?)").fullmatch
_YEAR = re.compile(r"(?:19|20)[0-9]{2}").fullmatch


@dataclass(frozen=True, slots=True)
class CountsOptions:
    """How to read the file.

    `columns` maps fields to headers; a field without an entry is looked for under its own name. `measure` holds for the
    whole file and takes the place of a measure column. `skip` maps headers to a text: rows whose cell contains it
    (whatever the case) are left out and counted, for reports that list one figure under several headings.
    """

    today: date
    columns: Mapping[str, str] = field(default_factory=dict)
    measure: str | None = None
    date_format: DateFormat = DateFormat.ISO
    skip: Mapping[str, str] = field(default_factory=dict)


class StagedCount(NamedTuple):
    """One figure with typed, canonical values; `favourable` is a count of `total`, rounded half up from a rate."""

    row_no: int
    payer_raw: str
    payer_name: str
    procedure_code: str
    procedure_group: str | None
    measure: str
    period_start: date
    period_end: date
    total: int
    favourable: int
    row_sha256: bytes


def read_outcome_counts(
    path: str | os.PathLike[str], *, profile: FileProfile, options: CountsOptions
) -> "OutcomeCountsReader":
    """The figures of a file, each period once.

    Raises:
        UnknownField: The mapping names a field that does not exist.
        UnmappedHeader: The mapping names a header that the file does not have.
        UnknownMeasure: The measure of the file is none of MEASURES.
        MissingColumn: A required field has no column.
        DuplicateHeader: The header names a column twice.
    """
    return OutcomeCountsReader(path, profile, options)


class OutcomeCountsReader(CsvReader):
    """Iterates (figure or None, issues) in file order, after the whole file was read; None where the row is not loaded.

    Rows that repeat a figure (C102) collapse into the first. Of figures that conflict the one with the largest total is
    kept, and among equal totals the one with most favourable outcomes, since reports print 0 where they leave a rate
    out; the others are dropped with C101. A period that overlaps another of the same payer, code and measure is an
    error (C006) at the row that comes later in the file.
    """

    def __init__(self, path: str | os.PathLike[str], profile: FileProfile, options: CountsOptions) -> None:
        names = [canonical_header(name) for name in profile.header]
        check_duplicates(names, frozenset(FIELDS))
        self._positions = _positions(names, options)
        self._skip = [(_position_of(names, header, "skip"), text.casefold()) for header, text in options.skip.items()]
        used = {*self._positions.values(), *(position for position, _ in self._skip)}
        self.columns = tuple(name for name in FIELDS if name in self._positions)
        self.dropped_columns = tuple(
            printable_name(name, position + 1) for position, name in enumerate(profile.header) if position not in used
        )
        super().__init__(CsvRecords(path, profile))
        self._parser = _CountParser(self._positions, options)
        self.rows_skipped = 0

    def __iter__(self) -> Iterator[tuple[StagedCount | None, tuple[Issue, ...]]]:
        rows: list[tuple[StagedCount | None, tuple[Issue, ...]]] = []
        for row_no, cells, broken in self._records:
            if len(rows) >= MAX_ROWS:
                raise LimitExceeded(what="The number of rows", actual=len(rows) + 1, limit=MAX_ROWS, setting="one file")
            if cells is None:
                rows.append((None, (broken,) if broken else ()))
            elif any(text in cells[position].casefold() for position, text in self._skip):
                self.rows_skipped += 1
            else:
                rows.append(self._parser.parse(row_no, cells))
        dropped = _repeats_and_overlaps(count for count, _ in rows if count is not None)
        for count, issues in rows:
            code = dropped.get(count.row_no) if count is not None else None
            if count is not None and code is not None:
                yield None, (*issues, issue(code, count.row_no))
            else:
                yield count, issues


def _positions(names: list[str], options: CountsOptions) -> dict[str, int]:
    """Field -> position of its column, for the fields that the file has."""
    if any(name not in FIELDS for name in options.columns):
        raise UnknownField(allowed=", ".join(FIELDS))
    if options.measure is not None and options.measure not in MEASURES:
        raise UnknownMeasure(allowed=", ".join(MEASURES))
    found = {name: names.index(name) for name in FIELDS if name in names}
    found.update({name: _position_of(names, header, name) for name, header in options.columns.items()})
    missing = [name for name in ("payer", "procedure_code", "total") if name not in found]
    if "year" not in found and not {"period_start", "period_end"} <= found.keys():
        missing.append("year (or period_start and period_end)")
    if "favourable" not in found and "rate" not in found:
        missing.append("favourable (or rate)")
    if "measure" not in found and options.measure is None:
        missing.append("measure (or one measure for the file)")
    if missing:
        raise MissingColumn(columns=", ".join(missing))
    return found


def _position_of(names: list[str], header: str, name: str) -> int:
    wanted = canonical_header(header)
    if wanted not in names:
        raise UnmappedHeader(field=name)
    return names.index(wanted)


class _CountParser:
    """Turns the cells of one record into a figure by the rules C001 to C005."""

    def __init__(self, positions: Mapping[str, int], options: CountsOptions) -> None:
        self._positions = positions
        self._measure = options.measure
        self._today = options.today
        self._date = date_parser(options.date_format)
        self._payer = Memo(parse_payer)

    def parse(self, row_no: int, cells: list[str]) -> tuple[StagedCount | None, tuple[Issue, ...]]:
        found: list[Issue] = []
        row = {name: cells[position].strip() for name, position in self._positions.items()}
        payer = self._payer[row["payer"]]
        if payer is None:
            found.append(issue("E004", row_no, "payer"))
        code = row["procedure_code"].upper()
        if not code.isascii() or not _CODE(code):
            found.append(issue("C005", row_no, "procedure_code"))
        period = self._period(row, row_no, found)
        measure = self._measure or re.sub(r"[\s-]+", "_", row.get("measure", "")).upper()
        if measure not in MEASURES:
            found.append(issue("C003", row_no, "measure"))
        total = _total(row["total"], row_no, found)
        favourable = _favourable(row, total, row_no, found) if total else None
        group = parse_group(row.get("procedure_group", ""))
        if group is None and row.get("procedure_group"):
            found.append(issue("W102", row_no, "procedure_group"))
        refused = any(item.severity is Severity.ERROR for item in found)
        if refused or payer is None or period is None or total is None or favourable is None:
            return None, tuple(found)
        figure = StagedCount(
            row_no=row_no,
            payer_raw=payer.folded,
            payer_name=payer.display,
            procedure_code=code,
            procedure_group=group,
            measure=measure,
            period_start=period[0],
            period_end=period[1],
            total=total,
            favourable=favourable,
            row_sha256=b"",
        )
        return _with_hash(figure), tuple(found)

    def _period(self, row: Mapping[str, str], row_no: int, found: list[Issue]) -> tuple[date, date] | None:
        start: date | None
        end: date | None
        if row.get("period_start") or row.get("period_end"):
            column = "period_start"
            start, end = self._date(row.get("period_start", "")), self._date(row.get("period_end", ""))
        else:
            column = "year"
            year = int(row["year"]) if _YEAR(row.get("year", "")) else None
            start, end = (date(year, 1, 1), date(year, 12, 31)) if year else (None, None)
        if start is None or end is None or end < start or start > self._today:
            found.append(issue("C004", row_no, column))
            return None
        return start, end


def _total(cell: str, row_no: int, found: list[Issue]) -> int | None:
    total = int(cell.replace(",", "")) if _COUNT(cell) else 0
    if not 0 < total <= MAX_TOTAL:
        found.append(issue("C001", row_no, "total"))
        return None
    return total


def _favourable(row: Mapping[str, str], total: int, row_no: int, found: list[Issue]) -> int | None:
    """The favourable count as given, else round(total x rate), halves away from zero."""
    given, rate = row.get("favourable", ""), row.get("rate", "")
    if given:
        count = int(given.replace(",", "")) if _COUNT(given) else -1
        if 0 <= count <= total:
            return count
        found.append(issue("C002", row_no, "favourable"))
        return None
    if not rate:
        found.append(issue("C103", row_no, "rate"))
        return None
    match = _RATE(rate)
    share = Decimal(match[1]) / (100 if match[2] else 1) if match else Decimal(-1)
    if not 0 <= share <= 1:
        found.append(issue("C002", row_no, "rate"))
        return None
    return int((total * share).to_integral_value(ROUND_HALF_UP))


def _with_hash(count: StagedCount) -> StagedCount:
    """The figure with SHA-256 over its canonical values, without the row number and the payer's spelling."""
    canonical = "\x1f".join(map(str, count[3:-1]))
    return count._replace(row_sha256=hashlib.sha256(canonical.encode()).digest())


def _repeats_and_overlaps(counts: Iterable[StagedCount]) -> dict[int, str]:
    """Row number -> rule code of the rows that must not be loaded."""
    strata: defaultdict[tuple[str, str, str], defaultdict[tuple[date, date], list[StagedCount]]]
    strata = defaultdict(lambda: defaultdict(list))
    for count in counts:
        strata[count.payer_raw, count.procedure_code, count.measure][count.period_start, count.period_end].append(count)
    dropped: dict[int, str] = {}
    for periods in strata.values():
        kept: list[StagedCount] = []
        for same_period in periods.values():
            best = max(same_period, key=lambda count: (count.total, count.favourable, -count.row_no))
            kept.append(best)
            for other in same_period:
                if other is not best:
                    equal = (other.total, other.favourable) == (best.total, best.favourable)
                    dropped[other.row_no] = "C102" if equal else "C101"
        _drop_overlaps(kept, dropped)
    return dropped


def _drop_overlaps(counts: list[StagedCount], dropped: dict[int, str]) -> None:
    taken: list[StagedCount] = []
    for count in sorted(counts, key=lambda count: count.row_no):
        if any(count.period_start <= other.period_end and other.period_start <= count.period_end for other in taken):
            dropped[count.row_no] = "C006"
        else:
            taken.append(count)
