"""A deleted organization leaves its sealed trail and a certificate, and nothing else; the others keep everything."""

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from claim_files import csv_file, load, row
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.utils import ProgrammingError
from django.utils import timezone
from people import at_once
from procrastinate.contrib.django.models import ProcrastinateJob
from psycopg import sql
from workers import ROOT

from backend.accounts.admin_site import role_in
from backend.accounts.authentication import memberships_of
from backend.accounts.break_glass import glass_break
from backend.accounts.errors import OrganizationEnds
from backend.accounts.free_text import IdentifiesPerson
from backend.accounts.models import Organization, User
from backend.accounts.services import membership_set, token_create
from backend.audit.models import AuditEntry
from backend.audit.verification import verify
from backend.claims.models import Claim
from backend.claims.services import ImportOptions, import_enqueue, spool_path
from backend.core.actor import Actor, Role
from backend.core.errors import Forbidden
from backend.core.isolation import check
from backend.core.tenancy import acting_for, write
from backend.drift.models import DriftTest
from backend.retention import deletion
from backend.retention.catalog import tables_to_empty
from backend.retention.deletion import BadReason, NameNotConfirmed, deletion_counts, name_hash, organization_delete
from backend.retention.models import DeletionCertificate
from tests import factories as make
from tests import server
from tests.attempts import member
from tests.sealing import wait_until_all_can_be_sealed


def platform(organization: Organization) -> Actor:
    return Actor.system(organization.id, deletion.PURPOSE)


def delete(organization: Organization, **others: Any) -> DeletionCertificate:
    words = {"confirm": organization.name, "reason": "contract ended", "operator": "somebody", **others}
    return organization_delete(actor=platform(organization), **words)


def left(database: str, organization: Organization) -> dict[str, int]:
    """The rows of the organization by table, as the superuser sees them."""
    found = {}
    with psycopg.connect(server.url("postgres", database)) as superuser:
        for table in [*(table.name for table in tables_to_empty()), "audit_entry"]:
            text = sql.SQL("SELECT count(*) FROM {} WHERE organization_id = %s").format(sql.Identifier(table))
            [found[table]] = superuser.execute(text, [organization.id]).fetchone() or (0,)
    return found


def test_everything_goes_but_the_trail_and_a_certificate_stays(
    organization: Organization, other_organization: Organization, database: str
) -> None:
    member(organization, "zzgone")
    member(other_organization, "zzstays")
    with acting_for(organization.id):
        make.agent_run(make.agent(organization, "b"), baseline_run=make.agent_run(make.agent(organization, "c")))
    before, others = left(database, organization), left(database, other_organization)
    counted = {table: number for table, number in before.items() if table != "audit_entry"}
    assert 0 not in counted.values()
    assert deletion_counts(actor=platform(organization)) == counted

    certificate = delete(organization, rows_at_once=1)

    after = left(database, organization)
    assert certificate.counts == counted
    assert {table for table, number in after.items() if number} == {"audit_entry"}
    assert after["audit_entry"] > certificate.trail_entries > before["audit_entry"]
    assert left(database, other_organization) == others
    assert not Organization.objects.filter(id=organization.id).exists()
    stored = DeletionCertificate.objects.get(subject_id=organization.id)
    assert (stored.id, stored.reason, stored.operator) == (certificate.id, "contract ended", "somebody")
    assert bytes(stored.name_hash) == name_hash(organization.id, organization.name, "1")
    assert stored.begun_at < stored.finished_at
    assert organization.name not in str(vars(stored))


def test_the_trail_is_sealed_before_and_verified_after(organization: Organization, database: str) -> None:
    make.every_node(organization)

    certificate = delete(organization)

    with psycopg.connect(server.url("postgres", database), autocommit=True) as superuser:
        wait_until_all_can_be_sealed(superuser)
        superuser.execute("SELECT audit_seal_make()")
        report = verify(superuser, [(certificate.seal_seq, bytes(certificate.seal_hash).hex())])
        [roots] = superuser.execute(
            "SELECT organization_roots FROM audit_seal WHERE seq = %s", [certificate.seal_seq]
        ).fetchone() or ({},)
        found = superuser.execute(
            "SELECT action, object_type, fields FROM audit_entry WHERE organization_id = %s"
            " AND action LIKE 'organization.%%' ORDER BY at",
            [organization.id],
        ).fetchall()
        # Everything up to the beginning of the deletion is in the seal that the certificate names, or in one before it.
        unsealed = superuser.execute(
            "SELECT count(*) FROM audit_entry e, audit_seal s WHERE e.organization_id = %s AND s.seq = %s"
            " AND e.at < %s AND e.xid >= s.xid_to",
            [organization.id, certificate.seal_seq, certificate.begun_at],
        ).fetchone()
    assert [damage for damage in report.damages if str(organization.id) in damage.what] == []
    assert [damage.what for damage in report.damages if "published" in damage.what] == []
    assert roots[str(organization.id)][1] == bytes(certificate.seal_root).hex()
    assert [entry[:2] for entry in found] == [
        ("organization.delete", "organization"),
        ("organization.deleted", "deletion_certificate"),
    ]
    assert found[0][2] == ["hash_key.1"]
    assert "claim=1" in found[1][2]
    assert unsealed == (0,)


def test_the_catalog_still_keeps_organizations_apart(database: str) -> None:
    with psycopg.connect(server.url("app", database)) as app:
        isolation = check(
            lambda text, values: app.execute(text, values or None).fetchall(),  # type: ignore[call-overload]  # static text
            "app",
        )

    assert isolation.violations == []


def test_a_certificate_can_be_changed_by_nobody_who_serves(organization: Organization, database: str) -> None:
    certificate = delete(organization)

    for change in (
        lambda: DeletionCertificate.objects.filter(id=certificate.id).update(reason="another"),
        lambda: DeletionCertificate.objects.filter(id=certificate.id).delete(),
    ):
        with pytest.raises(ProgrammingError, match="permission denied"):
            change()
    with psycopg.connect(server.url("auditor", database)) as auditor:
        assert auditor.execute(
            "SELECT count(*) FROM deletion_certificate WHERE id = %s", [certificate.id]
        ).fetchone() == (1,)


@pytest.mark.parametrize("stop_at", [1, 2, 5, 25], ids="after transaction {}".format)
def test_interrupted_anywhere_it_goes_on(
    organization: Organization, database: str, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    member(organization, "zzgone")
    counted = deletion_counts(actor=platform(organization))
    transactions, open_one = [], deletion.write

    def write(actor: Actor) -> Any:
        transactions.append(actor)
        if len(transactions) > stop_at:
            raise KeyboardInterrupt
        return open_one(actor)

    monkeypatch.setattr(deletion, "write", write)
    with pytest.raises(KeyboardInterrupt):
        delete(organization, rows_at_once=1)
    monkeypatch.setattr(deletion, "write", open_one)
    assert Organization.objects.filter(id=organization.id).exists()
    between = left(database, organization)
    assert (between["api_token"], between["membership"], between["emergency_access"]) == (0, 0, 0)

    certificate = delete(organization)

    assert certificate.counts == counted
    assert {table for table, number in left(database, organization).items() if number} == {"audit_entry"}
    with acting_for(organization.id):
        assert AuditEntry.objects.filter(action="organization.delete").count() == 1


@pytest.mark.parametrize("way_in", ["emergency access", "the admin", "a first member", "a token"])
def test_a_deletion_that_was_interrupted_lets_nobody_in(
    organization: Organization, actor: Actor, database: str, monkeypatch: pytest.MonkeyPatch, way_in: str
) -> None:
    root = User.objects.create_superuser(f"root.{organization.id.hex}@example.org")
    make.every_node(organization)
    why = {"reason": "restoring the imports of March", "hours": 1}
    glass_break(organization=organization, user=root, **why)

    def stop(*_: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(deletion, "_empty", stop)
        with pytest.raises(KeyboardInterrupt):
            delete(organization)

    assert memberships_of(root.id) == []
    tomorrow = timezone.now() + timedelta(days=1)
    ways: dict[str, Callable[[], object]] = {
        "emergency access": lambda: glass_break(organization=organization, user=root, **why),
        "a first member": lambda: membership_set(actor=actor, user_id=root.id, role=Role.OWNER),
        "a token": lambda: token_create(actor=actor, name="late", scopes=["read"], expires_at=tomorrow),
    }
    if way_in == "the admin":
        assert role_in(root, organization.id) is None
    else:
        with pytest.raises(OrganizationEnds):
            ways[way_in]()
    assert delete(organization).counts["emergency_access"] >= 1


def test_who_is_just_being_let_in_is_waited_for(organization: Organization, actor: Actor, database: str) -> None:
    ann = User.objects.create(email=f"ann.{organization.id.hex}@example.org")
    added, may_end, pids = threading.Event(), threading.Event(), []

    def let_in() -> None:
        with write(actor):
            membership_set(actor=actor, user_id=ann.id, role=Role.OWNER)
            added.set()
            may_end.wait(30)

    def begin() -> AuditEntry:
        added.wait(30)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pids.append(cursor.fetchone()[0])
        return deletion._begin(platform(organization))

    def release() -> None:
        added.wait(30)
        with connection.cursor() as cursor:
            for _ in range(500):
                if pids and _waits(cursor, pids[0]):
                    break
                time.sleep(0.02)
        may_end.set()

    at_once(let_in, begin, release)

    assert memberships_of(ann.id) == []


def _waits(cursor: Any, pid: int) -> bool:
    cursor.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", [pid])
    return bool(cursor.fetchone()[0])


def test_what_is_written_meanwhile_goes_too(
    organization: Organization, actor: Actor, database: str, tmp_path: Path
) -> None:
    load(actor, csv_file(tmp_path, row(1), row(2)))
    late = []

    def import_once_more(table: str, _rows: int) -> None:
        if table == "claim" and not late:
            late.append(load(actor, csv_file(tmp_path, row(3), name="late.csv")).batch.rows_accepted)

    certificate = delete(organization, progress=import_once_more)

    assert late == [1]
    assert certificate.counts["claim"] == 3
    assert sum(left(database, organization).values()) == left(database, organization)["audit_entry"]


def test_waiting_files_jobs_and_the_log_of_the_administration_go(
    organization: Organization, other_organization: Organization, actor: Actor, tmp_path: Path
) -> None:
    people = User.objects.create(email=f"{uuid.uuid4().hex}@example.org")
    for one in (organization, other_organization):
        LogEntry.objects.create(user=people, object_id=str(one.id), object_repr=one.name, action_flag=1)
    theirs = Actor(organization_id=other_organization.id, role=Role.OWNER)
    mine, kept = (
        import_enqueue(actor=one, path=csv_file(tmp_path, row(1)), options=ImportOptions()).batch
        for one in (actor, theirs)
    )
    assert spool_path(mine.id).exists()

    delete(organization)

    assert (spool_path(mine.id).exists(), spool_path(kept.id).exists()) == (False, True)
    spool_path(kept.id).unlink()
    jobs = ProcrastinateJob.objects.values_list("args__organization_id", flat=True)
    assert str(organization.id) not in set(jobs)
    assert str(other_organization.id) in set(jobs)
    assert [entry.object_repr for entry in LogEntry.objects.filter(user=people)] == [other_organization.name]


def test_a_key_that_nobody_else_uses_is_told(
    organization: Organization, other_organization: Organization, actor: Actor, tmp_path: Path
) -> None:
    load(actor, csv_file(tmp_path, row(1)))
    with acting_for(organization.id), connection.cursor() as cursor:
        cursor.execute("UPDATE hash_key SET key_id = 'of-its-own'")

    certificate = delete(organization)

    assert (certificate.key_ids, certificate.unused_key_ids) == (["of-its-own"], ["of-its-own"])
    assert delete(other_organization).unused_key_ids == []  # organizations of other tests are under the first key


def test_what_is_not_meant_or_not_said_deletes_nothing(organization: Organization, database: str) -> None:
    make.every_node(organization)
    before = left(database, organization)

    with pytest.raises(NameNotConfirmed):
        delete(organization, confirm=organization.name[:-1])
    for reason in ("", "  ", "x" * 501, "a\x00b"):
        with pytest.raises(BadReason, match="1 to 500"):
            delete(organization, reason=reason)
    with pytest.raises(IdentifiesPerson):
        delete(organization, reason="patient Jane Quillfeather 219-09-9999")
    call_command("organization_delete", "--organization", organization.name, "--dry-run", stdout=StringIO())

    assert left(database, organization) == before


def test_as_a_role_that_no_policy_holds_commands_keep_to_their_organization(
    organization: Organization, other_organization: Organization, database: str
) -> None:
    """As where the address of the server names the owner of the tables by mistake."""
    for one in (organization, other_organization):
        member(one, f"zz{one.id.hex[:8]}")
    with acting_for(other_organization.id):
        DriftTest.objects.update(id=uuid.UUID(int=1 << 80))  # long past its time
        before = list(Claim.objects.values())
    others = left(database, other_organization)
    environment = {
        **os.environ, "DRIFTGRAPH_DATABASE_URL": server.url("owner", database), "DRIFTGRAPH_CLAIM_KEYS": f"2={'s' * 40}"
    }  # fmt: skip

    for words in (["keys_rotate"], ["retention"], ["organization_delete", "--confirm", organization.name]):
        reason = ["--reason", "contract ended"] if "--confirm" in words else []
        call = [sys.executable, "manage.py", *words, "--organization", organization.name, *reason]
        done = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    assert sum(left(database, organization).values()) == left(database, organization)["audit_entry"]
    assert left(database, other_organization) == others
    with acting_for(other_organization.id):
        assert list(Claim.objects.values()) == before


def test_only_the_owner_may(actor_as: Callable[[Role], Actor]) -> None:
    for role in set(Role) - {Role.OWNER}:
        with pytest.raises(Forbidden):
            organization_delete(actor=actor_as(role), confirm="", reason="", operator="")
        with pytest.raises(Forbidden):
            deletion_counts(actor=actor_as(role))


def test_the_command_prints_the_certificate_and_a_dry_run_the_counts(organization: Organization) -> None:
    make.every_node(organization)
    names = ["--organization", organization.name]
    dry, out = StringIO(), StringIO()

    call_command("organization_delete", *names, "--dry-run", stdout=dry)
    with pytest.raises(CommandError, match="confirms the deletion"):
        call_command("organization_delete", *names, "--reason", "contract ended")
    call_command(
        "organization_delete", *names, "--confirm", organization.name, "--reason", "contract ended", stdout=out
    )

    assert any("claim " in line and " 1 " in line for line in dry.getvalue().splitlines())
    shown = json.loads(out.getvalue())
    assert (shown["organization"], shown["rows_deleted"]["claim"]) == (str(organization.id), 1)
    assert Claim.objects.count() == 0
    with pytest.raises(CommandError, match="no organization"):
        call_command("organization_delete", *names, "--confirm", organization.name, "--reason", "contract ended")
