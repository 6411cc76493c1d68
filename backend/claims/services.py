"""Imports files of claim outcomes and outcome counts, and takes an import back. Each file is one transaction."""

import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from backend.accounts.free_text import Screen
from backend.audit.services import record
from backend.claims import loading_sql as sql
from backend.claims.batches import AuditAction, batch_dry_run_record, batch_fail, batch_finish, batch_reserve, today
from backend.claims.counts_loading import load_counts, stage_counts
from backend.claims.issues import IssueLog
from backend.claims.key_chain import chain_ensure
from backend.claims.loading import ClaimReader, LoadResult, load_claims, refusal, stage_claims
from backend.claims.models import BatchKind, BatchStatus, ImportBatch
from backend.claims.quality import report_make
from backend.claims.staging import Progress
from backend.core.actor import Actor, Right
from backend.core.errors import BadUserInput, Conflict, LimitExceeded, NotFound, Unavailable
from backend.core.jobs import can_be_tried_again, enqueue
from backend.core.tenancy import write
from backend.ingestion.claims_csv import read_claims
from backend.ingestion.files import FileKind, FileProfile, inspect_file, sanitised_filename
from backend.ingestion.keys import ClaimHasher
from backend.ingestion.outcome_counts_csv import CountsOptions, OutcomeCountsReader, read_outcome_counts
from backend.ingestion.records import DateFormat, ReadOptions
from backend.ingestion.x12_claims import read_remittances
from backend.payers.services import organization_lock

IMPORT_JOB, IMPORT_QUEUE = "claims.import_batch_run", "imports"
MAX_COLUMNS, MAX_HEADER_LENGTH = 20, 200
_COUNT_HEADERS = ({"total", "measure"}, {"total", "rate"}, {"total", "favourable"}, {"total", "period_start"})


class KindMismatch(BadUserInput):
    """The file is not of the declared kind."""

    place = ("kind",)


class BatchInWork(Unavailable):
    """Somebody else is loading the batch."""


class BatchNotLoaded(Conflict):
    """Only a loaded batch can be rolled back."""

    place = ("id",)


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What a sender says about a file; without a kind the content decides."""

    kind: BatchKind | None = None
    date_format: DateFormat = DateFormat.ISO
    columns: Mapping[str, str] = field(default_factory=dict)  # field -> header, outcome counts
    measure: str | None = None  # outcome counts without a column for it
    skip: Mapping[str, str] = field(default_factory=dict)  # header -> text: outcome counts to leave out
    original_filename: str = ""

    def __post_init__(self) -> None:
        """Raises: LimitExceeded."""
        longest = max((len(text) for pair in self.columns.items() for text in pair), default=0)
        for what, actual, limit in (
            ("The number of mapped columns", len(self.columns), MAX_COLUMNS),
            ("The number of characters of a field or header", longest, MAX_HEADER_LENGTH),
        ):
            if actual > limit:
                raise LimitExceeded(what=what, actual=actual, limit=limit, setting="a fixed limit", path=("columns",))

    def stored(self) -> dict[str, Any]:
        """What the batch keeps; the file's name is not among it."""
        return {
            "date_format": self.date_format.value,
            "columns": dict(self.columns),
            "measure": self.measure,
            "skip": dict(self.skip),
        }

    @classmethod
    def of(cls, batch: ImportBatch) -> "ImportOptions":
        """The options under which a batch was sent."""
        kept = batch.options
        return cls(
            kind=BatchKind(batch.kind),
            date_format=DateFormat(kept["date_format"]),
            columns=kept["columns"],
            measure=kept["measure"],
            skip=kept["skip"],
        )


@dataclass(frozen=True, slots=True)
class ImportOutcome:
    """The batch of a file, and whether this call made it."""

    batch: ImportBatch
    duplicate_of: ImportBatch | None
    created: bool


def import_file(
    *,
    actor: Actor,
    path: Path,
    options: ImportOptions,
    progress: Progress | None = None,
    dry_run: bool = False,
) -> ImportOutcome:
    """The batch of a file: loaded by this call, or the one that held the same bytes before.

    A batch whose file is cut off, or has more refused rows than DRIFTGRAPH_MAX_IMPORT_ERROR_SHARE, is REJECTED: its
    issues and report are kept, since they say which rows are wrong; its rows are not. A file that is refused as a whole
    leaves the database as it was, for whoever sent it has the error; only where a worker finds it out is there a batch
    that tells it, FAILED. A dry run does all the work and leaves the database as it was, but for an audit entry: it
    tells which lines are there already, and does not without one.

    Args:
        actor: Needs the right to import.
        path: A regular file; read twice, never kept.
        options: What the sender says about it.
        progress: Called with bytes read and bytes in all.
        dry_run: Roll everything back at the end.

    Raises:
        Forbidden: The actor may not import.
        LimitExceeded: The file is larger than DRIFTGRAPH_MAX_IMPORT_BYTES.
        FileRefused: The file as a whole cannot be read.
        KindMismatch: The content is not of the declared kind.
        IdentifiesPerson: The file's name or a header does, and the organization refuses that.
        AccountNotWritten: The audit trail takes no entry of a dry run.
        PurposeMissing: The organization wants to know what a dry run is for.

    SQL: about 35, whatever the number of rows.
    """
    actor.require(Right.IMPORT)
    options = _screened(actor, path, options)
    profile = inspect_file(path, max_bytes=settings.ENVIRONMENT.max_import_bytes)
    batch = _new_batch(actor, profile, options)
    with write(actor):
        stored, created = batch_reserve(batch)
        if created:
            _load(actor, batch, _File(path, profile, options, progress))
        if dry_run:
            transaction.set_rollback(True)
    if dry_run:
        batch_dry_run_record(actor, batch if created else stored)
    return ImportOutcome(batch if created else stored, None if created else stored, created)


def import_enqueue(*, actor: Actor, path: Path, options: ImportOptions) -> ImportOutcome:
    """The batch of a file that a worker will load; RECEIVED, unless the same bytes were sent before.

    The file waits in the spool folder of the data directory and is removed by the job, however it ends.

    Raises:
        Forbidden, LimitExceeded, FileRefused, KindMismatch, IdentifiesPerson: as import_file.

    SQL: 5.
    """
    actor.require(Right.IMPORT)
    options = _screened(actor, path, options)
    profile = inspect_file(path, max_bytes=settings.ENVIRONMENT.max_import_bytes)
    batch = _new_batch(actor, profile, options)
    spooled = spool_path(batch.id)
    spooled.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with write(actor):
            stored, created = batch_reserve(batch)
            if created:
                _copy_private(path, spooled)
                record(actor=actor, action=AuditAction.ENQUEUE, object_type="import_batch", object_ids=[batch.id])
                enqueue(IMPORT_JOB, actor, queue=IMPORT_QUEUE, batch_id=batch.id)
    except BaseException:
        spooled.unlink(missing_ok=True)
        raise
    return ImportOutcome(batch if created else stored, None if created else stored, created)


def import_run(*, actor: Actor, batch_id: uuid.UUID) -> ImportBatch:
    """The batch as it ended, loaded from the spool by this call unless another did; the spooled file is gone then.

    Where the database failed, batch and file are left as they were, for another attempt.

    Raises:
        NotFound: There is no such batch.
        BatchInWork: Somebody else is loading it; retryable, since a dead worker's transaction takes a while to end.
        FileRefused: As import_file; the batch is FAILED with the rule.

    SQL: about 35.
    """
    actor.require(Right.IMPORT)
    path = spool_path(batch_id)
    batch = None
    try:
        with write(actor):
            batch = _locked(batch_id)
            if batch.status == BatchStatus.RECEIVED:
                profile = inspect_file(path, max_bytes=settings.ENVIRONMENT.max_import_bytes)
                _load(actor, batch, _File(path, profile, ImportOptions.of(batch)))
    except Exception as error:
        # Without the batch the file belongs to whoever holds it.
        if batch is not None and not can_be_tried_again(error):
            batch_fail(actor, batch, error)
            path.unlink(missing_ok=True)
        raise
    path.unlink(missing_ok=True)
    return batch


def _locked(batch_id: uuid.UUID) -> ImportBatch:
    batches = ImportBatch.objects.filter(id=batch_id)
    batch = batches.select_for_update(skip_locked=True).first()
    if batch is None:
        raise BatchInWork if batches.exists() else NotFound
    return batch


def batch_rollback(*, actor: Actor, batch_id: uuid.UUID) -> ImportBatch:
    """The batch without its rows: the versions that it superseded are current again.

    A version that a later batch made of one of its rows stays. Payers and codes that it created stay.

    Raises:
        Forbidden: The actor may not take back imports.
        NotFound: There is no such batch.
        BatchNotLoaded: It holds no rows.

    SQL: 6.
    """
    actor.require(Right.IMPORT_ROLLBACK)
    with write(actor):
        organization_lock(actor.organization_id)
        batch = ImportBatch.objects.select_for_update().filter(id=batch_id).first()
        if batch is None:
            raise NotFound(path=("id",))
        if batch.status not in (BatchStatus.LOADED, BatchStatus.PARTIAL):
            raise BatchNotLoaded
        counts = batch.kind == BatchKind.OUTCOME_COUNTS
        with connection.cursor() as cursor:
            cursor.execute(sql.ROLLBACK_COUNTS if counts else sql.ROLLBACK_CLAIMS, [batch_id, batch_id])
            removed, previous = cursor.fetchone()
            cursor.execute(sql.RESTORE_COUNTS if counts else sql.RESTORE_CLAIMS, [previous])
        batch.status = BatchStatus.ROLLED_BACK
        batch.save(update_fields=["status"])
        record(
            actor=actor,
            action=AuditAction.ROLLBACK,
            object_type="import_batch",
            object_ids=[batch.id],
            object_count=removed,
        )
    return batch


def spool_path(batch_id: uuid.UUID) -> Path:
    """Where the file of a waiting batch lies."""
    folder: Path = settings.ENVIRONMENT.data_dir
    return folder / "spool" / batch_id.hex


def _copy_private(source: Path, target: Path) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as written, source.open("rb") as read:
        shutil.copyfileobj(read, written)


def _screened(actor: Actor, path: Path, options: ImportOptions) -> ImportOptions:
    """The options with the name of the file among them, fit to be kept."""
    screen = Screen(actor)
    mappings: dict[str, Any] = {
        name: {screen.of(key, "columns"): screen.of(value, "columns") for key, value in pairs.items()}
        for name, pairs in (("columns", options.columns), ("skip", options.skip))
    }
    name = screen.of(options.original_filename or path.name, "file")
    return replace(options, original_filename=name, **mappings)


def _new_batch(actor: Actor, profile: FileProfile, options: ImportOptions) -> ImportBatch:
    return ImportBatch(
        organization_id=actor.organization_id,
        kind=_kind(profile, options),
        filename=sanitised_filename(options.original_filename),
        file_sha256=profile.sha256,
        file_bytes=profile.size,
        options=options.stored(),
        uploaded_by=actor.user_id,
    )


def _kind(profile: FileProfile, options: ImportOptions) -> BatchKind:
    if options.kind is not None:
        if (profile.kind is FileKind.X12_835) != (options.kind == BatchKind.X12_835):
            raise KindMismatch
        return BatchKind(options.kind)
    if profile.kind is FileKind.X12_835:
        return BatchKind.X12_835
    header = {name.strip().casefold() for name in profile.header}
    counts = options.columns or options.measure or any(needed <= header for needed in _COUNT_HEADERS)
    return BatchKind.OUTCOME_COUNTS if counts else BatchKind.CSV


@dataclass(frozen=True, slots=True)
class _File:
    """A file on its way into the tables."""

    path: Path
    profile: FileProfile
    options: ImportOptions
    progress: Progress | None = None


def _load(actor: Actor, batch: ImportBatch, file: _File) -> None:
    environment = settings.ENVIRONMENT
    batch.status, batch.started_at = BatchStatus.VALIDATING, timezone.now()
    result = LoadResult(log=IssueLog(environment.max_issues_per_rule))
    counts = batch.kind == BatchKind.OUTCOME_COUNTS
    dropped_cells = 0
    if counts:
        stage_counts(_counts_reader(file), result, file.progress, file.profile.size)
    else:
        result.chain = chain_ensure(actor.organization_id)
        reader = _claims_reader(result.chain.hasher(), file)
        stage_claims(reader, result, file.progress, file.profile.size)
        dropped_cells = sum(reader.dropped_columns.values())
    result.refused = refusal(result, environment.max_import_error_share)
    if not result.refused:
        load = load_counts if counts else load_claims
        with transaction.atomic():
            load(actor.organization_id, batch.id, result, environment.max_issues_per_rule)
            # Some errors only the stored rows bring to light.
            if code := refusal(result, environment.max_import_error_share):
                result.refuse(code)
                transaction.set_rollback(True)
    result.log.save(actor.organization_id, batch.id)
    report_make(batch, result, claims=not counts, dropped_cells=dropped_cells)
    batch_finish(actor, batch, result)


def _claims_reader(hasher: ClaimHasher, file: _File) -> ClaimReader:
    options = ReadOptions(today=today(), date_format=file.options.date_format)
    if file.profile.kind is FileKind.X12_835:
        return read_remittances(file.path, profile=file.profile, hasher=hasher, options=options)
    return read_claims(file.path, profile=file.profile, hasher=hasher, options=options)


def _counts_reader(file: _File) -> OutcomeCountsReader:
    sent = file.options
    options = CountsOptions(
        columns=sent.columns, measure=sent.measure, skip=sent.skip, today=today(), date_format=sent.date_format
    )
    return read_outcome_counts(file.path, profile=file.profile, options=options)
