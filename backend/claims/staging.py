"""The staging tables of one import: opened in its transaction, filled by COPY, gone with it."""

import uuid
from collections.abc import Callable, Iterable
from typing import Any

from django.db import connection

from backend.claims.issues import IssueLog
from backend.claims.loading_sql import unseen_codes, unseen_groups, unseen_payers
from backend.core.ids import uuid7
from backend.ingestion.rules import issue
from backend.payers.services import UnseenCode, UnseenPayer, groups_ensure, payers_ensure, procedure_codes_ensure

Progress = Callable[[int, int], None]
LINES_PER_WRITE = 500


def staging_open() -> None:
    """Makes the empty staging tables of this transaction.

    SQL: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT claims_staging_open()")


def staging_analyze(table: str) -> None:
    """Gives the planner statistics of a staging table.

    SQL: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT claims_staging_analyze(%s)", [table])


def staging_copy(table: str, lines: Iterable[str]) -> int:
    """The number of lines copied; each gets a new id in front.

    SQL: 1.
    """
    connection.ensure_connection()
    raw: Any = connection.connection
    copied = 0
    buffer: list[str] = []
    # The driver's own errors become Django's, as those of every other statement.
    with connection.wrap_database_errors, raw.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
        for line in lines:
            buffer.append(f"{uuid7()}\t{line}")
            if len(buffer) == LINES_PER_WRITE:
                copy.write("".join(buffer))
                copied += len(buffer)
                buffer.clear()
        copy.write("".join(buffer))
    return copied + len(buffer)


def dimensions_ensure(stage: str, organization_id: uuid.UUID, log: IssueLog) -> None:
    """Creates the payers, codes and groups that a staging table names and the organization lacks.

    A new payer or an ungrouped new code is one issue, at the first row that names it: repeating it per row would say
    nothing more and hide the rest.

    SQL: 3, and up to 6 more when something is new.
    """
    with connection.cursor() as cursor:
        cursor.execute(unseen_payers(stage))
        payers = cursor.fetchall()
        cursor.execute(unseen_groups(stage))
        groups = [code for (code,) in cursor.fetchall()]
        cursor.execute(unseen_codes(stage))
        codes = cursor.fetchall()
    payers_ensure(organization_id, [UnseenPayer(raw, name, code) for raw, name, code, _row in payers])
    groups_ensure(organization_id, groups)
    procedure_codes_ensure(organization_id, [UnseenCode(code, group) for code, group, _row in codes])
    for *_names, row_no in payers:
        log.note(issue("W101", row_no, "payer"))
    for _code, group, row_no in codes:
        if group is None:
            log.note(issue("W102", row_no, "procedure_group"))
