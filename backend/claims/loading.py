"""Loads one file of claim lines: staging, names, versions. The batch around it and the SQL are elsewhere."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from django.db import connection

from backend.claims import loading_sql as sql
from backend.claims.issues import IssueLog
from backend.claims.key_chain import KeyChain
from backend.claims.rekeying import staged_rekey
from backend.claims.staging import Progress, dimensions_ensure, staging_analyze, staging_copy, staging_open
from backend.core.ids import uuid7
from backend.ingestion.copy_format import copy_line
from backend.ingestion.keys import KeyOver, References
from backend.ingestion.records import Issue, StagedClaim, StagedRow
from backend.ingestion.rules import CUT_OFF
from backend.payers.services import organization_lock

MAX_TURNS = 20  # versions of one claim line that one file can hold: originals, reversals, corrections
ROWS_PER_PROGRESS = 2_000
TOO_MANY_ERRORS, TRUNCATED = "TOO_MANY_ERRORS", "TRUNCATED"  # why nothing of a file is taken

_VERDICT_RULES = {"STALE": "W201", "SURPLUS": "W202", "IMPOSSIBLE": "E201"}


class ClaimReader(Protocol):
    """What the readers of backend.ingestion have in common."""

    @property
    def rows_read(self) -> int:
        """Data rows so far."""

    @property
    def file_issues(self) -> Sequence[Issue]:
        """What was found about the file as a whole, after the last row."""

    @property
    def dropped_columns(self) -> Mapping[str, int]:
        """Unknown columns with their number of filled cells, after the last row."""

    @property
    def bytes_read(self) -> int:
        """Position in the file so far."""

    def __iter__(self) -> Iterator[StagedRow]:
        """The rows, once."""


@dataclass(slots=True)
class LoadResult:
    """What became of the rows of one file; `total` = accepted + updated + duplicate + rejected."""

    total: int = 0
    staged: int = 0
    accepted: int = 0  # new lines
    updated: int = 0  # new versions of known lines
    duplicate: int = 0
    warned: int = 0  # accepted or updated, with a warning
    date_min: date | None = None
    date_max: date | None = None
    refused: str = ""  # why nothing was loaded, as a code
    log: IssueLog = field(default_factory=lambda: IssueLog(0))
    chain: KeyChain | None = None  # whose finished keys the staged references are under

    @property
    def rejected(self) -> int:
        """Rows that are neither loaded nor known."""
        return max(self.total - self.accepted - self.updated - self.duplicate, 0)

    def refuse(self, code: str) -> None:
        """Forgets what was loaded, for it is taken back; the issues stay."""
        self.refused = code
        self.accepted = self.updated = self.duplicate = self.warned = 0
        self.date_min = self.date_max = None


def refusal(result: LoadResult, max_error_share: float) -> str:
    """Why nothing of a file is taken, as a code: it is cut off, or too many rows are wrong; empty: it is taken."""
    if result.log.counts[CUT_OFF]:
        return TRUNCATED
    return TOO_MANY_ERRORS if result.log.rows_with_errors > max_error_share * max(result.total, 1) else ""


def stage_claims(reader: ClaimReader, result: LoadResult, progress: Progress | None, size: int) -> None:
    """Copies the good rows of a file to staging and collects the issues of all.

    SQL: 3.
    """

    chain = result.chain
    keys: list[KeyOver] = [] if chain is None else [chain.key_over(n) for n in range(2, chain.finished + 1)]

    def lines() -> Iterator[str]:
        for position, (claim, issues) in enumerate(reader):
            if issues:
                result.log.add_row(issues, staged_as=None if claim is None else claim.row_no)
            if claim is not None:
                yield copy_line(under_keys(claim, keys))
            if progress is not None and position % ROWS_PER_PROGRESS == 0:
                progress(reader.bytes_read, size)

    staging_open()
    result.staged = staging_copy("claim_stage", lines())
    result.total = max(reader.rows_read, result.staged)
    for found in reader.file_issues:
        result.log.add_row([found])
    staging_analyze("claim_stage")
    if progress is not None:
        progress(size, size)


def under_keys(claim: StagedClaim, keys: Sequence[KeyOver]) -> StagedClaim:
    """The line with its references hashed under further keys."""
    if not keys:
        return claim
    references = References(claim.claim_key, claim.patient_ref, claim.provider_ref, claim.row_sha256)
    for key in keys:
        references = key.laid_over(references)
    return claim._replace(**references._asdict())


def load_claims(organization_id: uuid.UUID, batch_id: uuid.UUID, result: LoadResult, keep: int) -> None:
    """Writes the versions that the staged rows make, in an order that concurrent writers share.

    SQL: 13 to 19, and 4 more for every further version that the file holds of one line (at most 20); more while keys
    are rotated.
    """
    organization_lock(organization_id)
    key_no = 1 if result.chain is None else staged_rekey(result.chain)
    dimensions_ensure("claim_stage", organization_id, result.log)
    with connection.cursor() as cursor:
        cursor.execute(sql.RESOLVE)
        staging_analyze("claim_row")
        cursor.execute(sql.TURNS)
        turns, result.duplicate = cursor.fetchone()
        for turn in range(1, min(turns, MAX_TURNS) + 1):
            cursor.execute(sql.JUDGE, [turn])
            staging_analyze("claim_verdict")
            cursor.execute(sql.SUPERSEDE, [turn])
            cursor.execute(sql.INSERT_VERSIONS, [organization_id, batch_id, key_no, turn])
        if turns > MAX_TURNS:
            cursor.execute(sql.SURPLUS, [MAX_TURNS])
        _date_sibling_lines(batch_id)
        cursor.execute(sql.TALLY, [keep, result.log.doubts])
        for verdict, number, doubted, rows in cursor.fetchall():
            if rule := _VERDICT_RULES.get(verdict):
                result.log.add_rows(rule, rows, total=number, doubted=doubted)
                continue
            result.warned += doubted
            if verdict == "NEW":
                result.accepted = number
            else:
                result.updated += number
        cursor.execute(sql.DATE_SPAN)
        result.date_min, result.date_max = cursor.fetchone()


def _date_sibling_lines(batch_id: uuid.UUID) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql.UNDATED_LINES)
        if found := cursor.fetchall():
            previous, dates, rows = (list(column) for column in zip(*found, strict=True))
            cursor.execute(sql.SUPERSEDE_LINES, [previous])
            cursor.execute(sql.INSERT_DATED_LINES, [batch_id, [uuid7() for _ in found], previous, dates, rows])
