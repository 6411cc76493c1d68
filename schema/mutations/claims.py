"""Mutations of imports: take a file in, take it back."""

from typing import Annotated

import strawberry

from backend.claims.models import BatchKind, Measure
from backend.claims.services import ImportOptions, batch_rollback, import_enqueue, import_file
from backend.core.actor import Actor, Right
from backend.ingestion.records import DateFormat
from schema.declare import resolver
from schema.described import described
from schema.mutations.base import MutationInput, MutationPayload, Values, carry_out, uploaded
from schema.relay.ids import decode_id_of
from schema.scalars import UploadValue
from schema.types.claims import ImportBatch

described(
    DateFormat,
    "How a file writes dates; one form per file, never guessed.",
    {
        "ISO": "2026-01-31.",
        "MDY": "01/31/2026.",
        "DMY": "31/01/2026.",
        "YMD_COMPACT": "20260131.",
    },
)
described(
    Measure,
    "What an outcome count counts.",
    {
        "AUTHORIZATION_APPROVAL": "Prior authorizations that were approved.",
        "CLAIM_DENIAL": "Claims that were denied.",
    },
)


@strawberry.input(description="Which header of a file holds a field.")
class ColumnMappingInput:
    name: str = strawberry.field(description="The field, such as procedure_code; each once.")
    header: str = strawberry.field(description="The header in the file, up to 200 characters.")


@strawberry.input(
    description="A file of claim outcomes, remittances or outcome counts. Its bytes are an idempotency key themselves."
)
class ClaimsImportInput(MutationInput):
    file: UploadValue = strawberry.field(
        description="The file, sent as multipart; up to 2 GB (DRIFTGRAPH_MAX_IMPORT_BYTES)."
    )
    kind: BatchKind | None = strawberry.field(default=None, description="What it holds; null: found from its content.")
    date_format: DateFormat = strawberry.field(default=DateFormat.ISO, description="How it writes dates.")
    measure: Measure | None = strawberry.field(
        default=None, description="For outcome counts without a column for it: what they count."
    )
    columns: list[ColumnMappingInput] = strawberry.field(
        default_factory=list, description="For outcome counts: headers that differ from the field's name; at most 20."
    )
    dry_run: bool = strawberry.field(
        default=False,
        description="Do all the work and keep nothing, no idempotency key either; the batch shows what would have"
        " happened.",
    )
    background: bool = strawberry.field(
        default=False,
        description="Answer at once with a batch that is RECEIVED; a worker loads it, however long that takes: for"
        " files that outlast the deadline.",
    )


@strawberry.type(description="What became of a file.")
class ClaimsImportPayload(MutationPayload):
    import_batch: ImportBatch | None = strawberry.field(
        default=None,
        description="The batch; of the same bytes the same one, unless that is REJECTED, FAILED or ROLLED_BACK. Null if"
        " the mutation failed.",
    )
    duplicate_of: ImportBatch | None = strawberry.field(
        default=None, description="The earlier batch with the same bytes; null if the file is new."
    )


@strawberry.input(description="An import by its id.")
class ImportRollbackInput(MutationInput):
    id: strawberry.ID = strawberry.field(description="Opaque id of the ImportBatch.")


@strawberry.type(description="The import that was taken back.")
class ImportRollbackPayload(MutationPayload):
    import_batch: ImportBatch | None = strawberry.field(
        default=None, description="The batch; null if the mutation failed."
    )


@strawberry.type
class ClaimMutations:
    @resolver(
        "Takes a file in. The same bytes again give the same batch and add nothing. A file that is cut off, or has too"
        " many bad rows, is no userError: its batch is REJECTED, with errorCode and issues, and sending it again makes"
        " another such batch. An import that outlasts the deadline (TIMEOUT) goes on: sending the file again, best with"
        " background: true, finds its batch.",
        right=Right.IMPORT,
    )
    @staticmethod
    async def claims_import(
        info: strawberry.Info,
        input: Annotated[ClaimsImportInput, strawberry.argument(description="The file.")],
    ) -> ClaimsImportPayload:
        def work(actor: Actor) -> Values:
            file = uploaded(input.file)
            options = ImportOptions(
                kind=input.kind,
                date_format=input.date_format,
                columns={column.name: column.header for column in input.columns},
                measure=input.measure.value if input.measure else None,
                original_filename=file.name,
            )
            if input.background and not input.dry_run:
                outcome = import_enqueue(actor=actor, path=file.path, options=options)
            else:
                outcome = import_file(actor=actor, path=file.path, options=options, dry_run=input.dry_run)
            return {"import_batch": outcome.batch, "duplicate_of": outcome.duplicate_of}

        return await carry_out(info, ClaimsImportPayload, input, work, has_effect=not input.dry_run)

    @resolver("Takes an import back: what it superseded is current again.", right=Right.IMPORT_ROLLBACK)
    @staticmethod
    async def import_rollback(
        info: strawberry.Info,
        input: Annotated[ImportRollbackInput, strawberry.argument(description="The import.")],
    ) -> ImportRollbackPayload:
        def work(actor: Actor) -> Values:
            batch = decode_id_of(input.id, "IB", expected="ImportBatch", path=("id",))
            return {"import_batch": batch_rollback(actor=actor, batch_id=batch)}

        return await carry_out(info, ImportRollbackPayload, input, work)
