"""Deletes an organization, and certifies it. Its audit trail stays, sealed; what is deleted, the catalog says.

Statements name the organization, though policies hold the server to it: run as a role that bypasses them, a deletion
without it would be everybody's.
"""

import hashlib
import hmac
import time
import uuid
from collections.abc import Callable
from enum import StrEnum

from django.contrib.admin.models import LogEntry
from django.db import connection
from procrastinate.contrib.django.models import ProcrastinateJob

from backend.accounts.ending import DELETION_BEGUN, organization_hold
from backend.accounts.free_text import Screen
from backend.accounts.models import ApiToken, EmergencyAccess, Membership, Organization
from backend.accounts.selectors import organizations_all
from backend.audit.models import AuditEntry
from backend.audit.sealing import seal_make
from backend.audit.services import record
from backend.claims.key_chain import chain_of
from backend.claims.keys import first_key_id, newest_key_id, organization_key
from backend.claims.services import spool_path
from backend.core.actor import Actor, Right
from backend.core.errors import BadUserInput, Unavailable
from backend.core.tenancy import acting_for, write
from backend.payers.services import organization_lock
from backend.retention.catalog import TRAIL, TenantTable, tables_to_empty
from backend.retention.models import DeletionCertificate

Progress = Callable[[str, int], None]  # table, rows just deleted
PURPOSE = "organization_delete"
MAX_REASON = 500
ROWS_AT_ONCE = 1_000
SEAL_ATTEMPTS, SEAL_PAUSE = 120, 0.5  # s
_SPOOLING = "import_batch"
_OWN = "WHERE organization_id = %s"
_DELETE = "delete"  # as the triggers of the change audit call it

# An entry is not sealed if it is newer than the last seal, be it that another cluster wrote it.
_UNSEALED = """
SELECT EXISTS (
  SELECT FROM audit_entry e LEFT JOIN (SELECT epoch, xid_to FROM audit_seal ORDER BY seq DESC LIMIT 1) s ON true
  WHERE e.organization_id = %s AND e.at <= %s AND (s.epoch IS NULL OR e.epoch = s.epoch AND e.xid >= s.xid_to
    OR e.epoch <> s.epoch AND e.epoch = (SELECT system_identifier FROM pg_control_system())))
"""
_LAST_SEAL = """
SELECT seq, hash, decode(organization_roots -> %(key)s::text ->> 1, 'hex') FROM audit_seal
WHERE jsonb_exists(organization_roots, %(key)s::text) ORDER BY seq DESC LIMIT 1
"""
# The entries have counted, also for a command that was interrupted.
_DELETED = """
SELECT object_type, sum(object_count)::bigint FROM audit_entry
WHERE organization_id = %s AND action = 'delete' AND purpose = %s AND at >= %s GROUP BY 1 ORDER BY 1
"""


class DeletionAction(StrEnum):
    """What audit entries call the acts."""

    BEGIN = DELETION_BEGUN
    END = "organization.deleted"


class NameNotConfirmed(BadUserInput):
    """The name that confirms the deletion is not that of the organization."""


class BadReason(BadUserInput):
    """The reason of a deletion needs 1 to {limit} characters."""


class NotSealedYet(Unavailable):
    """The organization's audit trail is not sealed yet: a transaction that began before its last entry is still open.
    Try again when it has ended.
    """


def deletion_counts(*, actor: Actor) -> dict[str, int]:
    """How many rows of each table a deletion would remove, in its order; nothing is changed.

    Raises: Forbidden: the actor does not own the organization.
    SQL: 2, and 1 per table.
    """
    actor.require(Right.ORGANIZATION)
    counts = {}
    with acting_for(actor.organization_id, actor), connection.cursor() as cursor:
        for table in tables_to_empty():
            cursor.execute(f"SELECT count(*) FROM {table.name} {_OWN}", [actor.organization_id])
            counts[table.name] = int(cursor.fetchone()[0])
    return counts


def organization_delete(
    *,
    actor: Actor,
    confirm: str,
    reason: str,
    operator: str,
    progress: Progress = lambda _table, _rows: None,
    rows_at_once: int = ROWS_AT_ONCE,
) -> DeletionCertificate:
    """The certificate of the deletion; the organization is gone when this returns, but for its audit trail.

    The trail is sealed first. Then nobody is let in any more, and rows go in short transactions; the last one takes
    what came meanwhile, the organization itself, and certifies. Until that one it may be interrupted anywhere, and
    goes on when it is called again.

    Args:
        actor: Owns the organization; its purpose is PURPOSE, by which its entries are counted.
        confirm: The organization's name, once more.
        reason: Why, in up to 500 characters; screened as all free text.
        operator: Who, as the operating system knows them.
        progress: Called with the table and the number of rows of each batch.
        rows_at_once: The size of a batch.

    Raises:
        Forbidden: The actor does not own the organization.
        NameNotConfirmed, BadReason, IdentifiesPerson: As they say.
        NotSealedYet: Its trail could not be sealed within a minute.

    SQL: About 20, and 3 or 4 per batch.
    """
    actor.require(Right.ORGANIZATION)
    organization = Organization.objects.get(id=actor.organization_id)
    if confirm != organization.name:
        raise NameNotConfirmed(path=("confirm",))
    reason = reason.strip()
    if not 1 <= len(reason) <= MAX_REASON or not reason.isprintable():
        raise BadReason(limit=MAX_REASON, path=("reason",))
    reason = Screen(actor).of(reason, "reason")
    _seal(actor)
    begun = _begin(actor)
    tables = tables_to_empty()
    for table in tables:
        while removed := _empty(actor, table, rows_at_once):
            progress(table.name, removed)
    return _finish(actor, organization, begun, tables, reason=reason, operator=operator)


def _finish(
    actor: Actor,
    organization: Organization,
    begun: AuditEntry,
    tables: list[TenantTable],
    *,
    reason: str,
    operator: str,
) -> DeletionCertificate:
    unused = _unused_keys(actor, begun.fields)
    with write(actor), connection.cursor() as cursor:
        # From here on a row of the organization can be added by nobody: its foreign key waits for this lock.
        Organization.objects.select_for_update().get(id=organization.id)
        for table in tables:
            _delete(actor, table, _OWN, organization.id)
        certificate = _certificate(organization, begun, unused, reason=reason, operator=operator)
        certificate.save(force_insert=True)
        record(
            actor=actor,
            action=DeletionAction.END,
            object_type=DeletionCertificate._meta.db_table,
            object_ids=[certificate.id],
            fields=[f"{table}={number}" for table, number in certificate.counts.items()],
        )
        _forget_elsewhere(actor, [organization.id])
        # By hand: Django would not let go of what its trail still names.
        cursor.execute("DELETE FROM organization WHERE id = %s", [organization.id])
    return certificate


def _seal(actor: Actor) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        [now] = cursor.fetchone()
    for _ in range(SEAL_ATTEMPTS):
        seal_make()
        with acting_for(actor.organization_id, actor), connection.cursor() as cursor:
            cursor.execute(_UNSEALED, [actor.organization_id, now])
            if not cursor.fetchone()[0]:
                return
        time.sleep(SEAL_PAUSE)
    raise NotSealedYet


def _begin(actor: Actor) -> AuditEntry:
    """The entry of the beginning, made by this call or an earlier one; nobody is let in when this returns."""
    with write(actor):
        organization_lock(actor.organization_id)
        organization_hold(actor.organization_id)
        mine = {"organization_id": actor.organization_id}
        begun = AuditEntry.objects.filter(**mine, action=DeletionAction.BEGIN).order_by("at").first()
        if begun is None:
            keys = chain_of(actor.organization_id).key_ids or (first_key_id(),)
            begun = record(
                actor=actor,
                action=DeletionAction.BEGIN,
                object_type="organization",
                object_ids=[actor.organization_id],
                fields=[f"hash_key.{key_id}" for key_id in keys],
            )
            begun.refresh_from_db(fields=["at"])
        ways_in = (
            ApiToken.objects.filter(**mine),
            Membership.objects.filter(**mine),
            EmergencyAccess.objects.filter(**mine),
        )
        for rows in ways_in:
            _forget_elsewhere(actor, list(rows.values_list("id", flat=True)))
            rows.delete()
    return begun


def _forget_elsewhere(actor: Actor, changed: list[uuid.UUID]) -> None:
    """Removes jobs that wait or have ended, and what the log of the administration says of these rows: their names."""
    mine = ProcrastinateJob.objects.filter(args__organization_id=str(actor.organization_id))
    mine.exclude(status="doing").delete()
    LogEntry.objects.filter(object_id__in=[str(key) for key in changed]).delete()


def _empty(actor: Actor, table: TenantTable, at_once: int) -> int:
    """How many rows the next batch of a table had; files that wait for their import go before their batches do."""
    with write(actor), connection.cursor() as cursor:
        organization_lock(actor.organization_id)
        cursor.execute(f"SELECT id FROM {table.name} {_OWN} ORDER BY id LIMIT %s", [actor.organization_id, at_once])
        ids = [key for (key,) in cursor.fetchall()]
        if not ids:
            return 0
        if table.name == _SPOOLING:
            for key in ids:
                spool_path(key).unlink(missing_ok=True)
        for column in table.own_references:
            cursor.execute(f"UPDATE {table.name} SET {column} = NULL WHERE {column} = ANY(%s)", [ids])
        return _delete(actor, table, "WHERE id = ANY(%s)", ids)


def _delete(actor: Actor, table: TenantTable, where: str, value: uuid.UUID | list[uuid.UUID]) -> int:
    """How many rows were deleted; the trail has an entry of them, by triggers or, where a table has none, by hand."""
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table.name} {where}", [value])
        deleted = int(cursor.rowcount)
    if deleted and not table.audited:
        record(actor=actor, action=_DELETE, object_type=table.name, object_count=deleted)
    return deleted


def _unused_keys(actor: Actor, names: list[str]) -> list[str]:
    """The keys of the organization that no other one uses, nor a new one would; without a chain it is the first's."""
    used = {newest_key_id()}
    for other in organizations_all().exclude(id=actor.organization_id).values_list("id", flat=True):
        with acting_for(other):
            used |= set(chain_of(other).key_ids) or {first_key_id()}
    return sorted({name.removeprefix("hash_key.") for name in names} - used)


def _certificate(
    organization: Organization, begun: AuditEntry, unused: list[str], *, reason: str, operator: str
) -> DeletionCertificate:
    with connection.cursor() as cursor:
        cursor.execute(_DELETED, [organization.id, PURPOSE, begun.at])
        counts = dict(cursor.fetchall())
        cursor.execute(_LAST_SEAL, {"key": str(organization.id)})
        seal = cursor.fetchone()
        cursor.execute(f"SELECT count(*) FROM {TRAIL} {_OWN}", [organization.id])
        entries = cursor.fetchone()[0]
    return DeletionCertificate(
        subject_id=organization.id,
        name_hash=name_hash(organization.id, organization.name, newest_key_id()),
        name_key_id=newest_key_id(),
        counts=counts,
        trail_entries=entries,
        seal_seq=seal[0],
        seal_hash=seal[1],
        seal_root=seal[2],
        key_ids=[name.removeprefix("hash_key.") for name in begun.fields],
        unused_key_ids=unused,
        reason=reason,
        operator=operator,
        begun_at=begun.at,
    )


def name_hash(organization_id: uuid.UUID, name: str, key_id: str) -> bytes:
    """32 bytes by which whoever has the key can tell whether a certificate is about an organization of this name.

    Raises: KeyMissing.
    """
    key = hmac.digest(organization_key(organization_id, key_id), b"name of the organization", hashlib.sha256)
    return hmac.digest(key, name.encode(), hashlib.sha256)
