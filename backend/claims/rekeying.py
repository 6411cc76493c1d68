"""Lays a later key over references: those of stored claims, and those that an import staged before.

All rows of one claim number change in one transaction, under the lock of the organization. So rows of a claim can be
compared at any moment, whichever key they are under, and nothing but an import needs to know that keys are rotated.
"""

import uuid
from collections.abc import Collection, Sequence
from typing import Any

from django.db import connection

from backend.claims.key_chain import KeyChain, chain_ensure
from backend.ingestion.keys import KeyOver, References

STAGED_AT_ONCE = 20_000  # a staging table has no index: each batch reads all of it
FIRST_ID = uuid.UUID(int=0)
Row = tuple[uuid.UUID, References]

_COLUMNS = "id, claim_key, patient_ref, provider_ref, row_sha256"
_STAGED = f"SELECT {_COLUMNS} FROM claim_stage WHERE id > %s ORDER BY id LIMIT %s"
# By payer, since the index that knows superseded versions too begins with it.
_STORED = f"""
SELECT {_COLUMNS} FROM claim
WHERE organization_id = %s AND payer_id = ANY(ARRAY(SELECT id FROM payer)) AND claim_key = ANY(%s) AND key_no < %s
ORDER BY id
"""
_NEXT = """
SELECT id, claim_key FROM claim WHERE organization_id = %s AND id > %s AND key_no < %s ORDER BY id LIMIT %s
"""
_WRITE = """
UPDATE {table} c SET claim_key = n.claim_key, patient_ref = n.patient_ref, provider_ref = n.provider_ref,
  row_sha256 = n.row_sha256{key_no}
FROM unnest(%s::uuid[], %s::bytea[], %s::bytea[], %s::bytea[], %s::bytea[])
  AS n(id, claim_key, patient_ref, provider_ref, row_sha256)
WHERE c.id = n.id
"""
_WRITE_STAGED = _WRITE.format(table="claim_stage", key_no="")
_WRITE_STORED = _WRITE.format(table="claim", key_no=", key_no = %s")


def staged_rekey(staged: KeyChain) -> int:
    """How many keys the staged references, and the stored ones of the same claims, are under when this returns.

    A rotation may have begun since the file was staged, or be under way: then the stored rows of the claims that the
    file names go over to the new key before all others, so that the file meets them. Under the organization's lock.

    Raises: KeyMissing.
    SQL: 1; for each key that was added since 2, and 2 to 4 per 20,000 staged lines.
    """
    chain = chain_ensure(staged.organization_id)
    for number in range(staged.finished + 1, len(chain.key_ids) + 1):
        key, last = chain.key_over(number), FIRST_ID
        with connection.cursor() as cursor:
            cursor.execute("SELECT claims_staging_rekey()")
        while rows := _rows(_STAGED, [last, STAGED_AT_ONCE]):
            if number > chain.finished:
                named = {references.claim_key for _, references in rows}
                claims_rekey(chain.organization_id, named, key, number)
            _write(_WRITE_STAGED, [], rows, key)
            last = rows[-1][0]
    return len(chain.key_ids)


def claims_rekey(organization_id: uuid.UUID, claim_keys: Collection[bytes], key: KeyOver, number: int) -> int:
    """How many stored rows, of all versions and payers, went over to the key of this number; the rest has it already.

    Under the organization's lock.

    SQL: 1 or 2.
    """
    rows = _rows(_STORED, [organization_id, sorted(claim_keys), number])
    if rows:
        _write(_WRITE_STORED, [number], rows, key)
    return len(rows)


def next_claim_keys(
    organization_id: uuid.UUID, after: uuid.UUID, number: int, at_once: int
) -> tuple[uuid.UUID, set[bytes]]:
    """The claim keys of the next rows that are not under the key of this number, and the last row's id; none: the end.

    SQL: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute(_NEXT, [organization_id, after, number, at_once])
        found = cursor.fetchall()
    return (found[-1][0], {bytes(claim_key) for _, claim_key in found}) if found else (after, set())


def _rows(statement: str, values: Sequence[Any]) -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return [
            (key, References(bytes(claim_key), _bytes(patient_ref), _bytes(provider_ref), bytes(row_sha256)))
            for key, claim_key, patient_ref, provider_ref, row_sha256 in cursor.fetchall()
        ]


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


def _write(statement: str, number: Sequence[int], rows: Sequence[Row], key: KeyOver) -> None:
    columns = zip(*(key.laid_over(references) for _, references in rows), strict=True)
    with connection.cursor() as cursor:
        cursor.execute(statement, [*number, [key_of for key_of, _ in rows], *map(list, columns)])
