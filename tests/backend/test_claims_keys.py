"""Rotation of keys: claims stay known to imports before, while and after their references go over to another key."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from claim_files import clp, csv_file, load, row, x12_file
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import transaction
from workers import ROOT, until

from backend.accounts.models import Organization
from backend.audit.models import AuditEntry
from backend.claims import services
from backend.claims.key_rotation import KeyUsedBefore, keys_rotate, rotation_plan
from backend.claims.keys import KeyMissing, newest_key_id, organization_key
from backend.claims.loading import ClaimReader
from backend.claims.models import Claim, HashKey, ImportBatch
from backend.claims.services import batch_rollback
from backend.core.actor import Actor, Role
from backend.core.errors import Forbidden
from backend.core.tenancy import acting_for, set_organization
from backend.ingestion.keys import ClaimHasher
from backend.payers.services import organization_lock, payer_map
from tests import server

SECOND, THIRD = "2=" + "s" * 40, "three=" + "t" * 40


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Sets the further keys of this process."""

    def use(*pairs: str) -> None:
        changed = dataclasses.replace(settings.ENVIRONMENT, claim_keys=" ".join(pairs))
        monkeypatch.setattr(settings, "ENVIRONMENT", changed)

    return use


def references(actor: Actor) -> set[tuple[bytes, int]]:
    with acting_for(actor.organization_id):
        return {(bytes(claim.claim_key), claim.key_no) for claim in Claim.objects.all()}


def chain(actor: Actor) -> list[tuple[int, str, bool]]:
    with acting_for(actor.organization_id):
        return [(key.ordinal, key.key_id, key.finished_at is not None) for key in HashKey.objects.order_by("ordinal")]


def outcome(actor: Actor, path: Path) -> tuple[int, int, int]:
    """New, updated and known rows of a file."""
    batch = load(actor, path).batch
    return batch.rows_accepted, batch.rows_updated, batch.rows_duplicate


def command(organization: Organization, *words: str) -> str:
    out = StringIO()
    call_command("keys_rotate", "--organization", organization.name, *words, stdout=out)
    return out.getvalue()


@contextmanager
def rotating(organization: Organization, database: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A process that rotates to the second key."""
    environment = {**os.environ, "DRIFTGRAPH_DATABASE_URL": server.url("app", database)}
    process = subprocess.Popen(
        [sys.executable, "manage.py", "keys_rotate", "--organization", organization.name, *words],
        cwd=ROOT,
        env={**environment, "DRIFTGRAPH_CLAIM_KEYS": SECOND},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def killed_in_the_middle(actor: Actor, organization: Organization, database: str) -> None:
    """A rotation, killed while it waits for the organization's lock after its first batches."""
    with rotating(organization, database, "--batch", "10") as process:
        assert until(lambda: len({key_no for _, key_no in references(actor)}) == 2), "no batch was done"
        with transaction.atomic():
            set_organization(organization.id)
            organization_lock(organization.id)
            assert {key_no for _, key_no in references(actor)} == {1, 2}
            process.kill()
            process.wait()


def test_rotation_makes_new_references_of_the_old_ones_and_known_rows_stay_known(
    actor: Actor, organization: Organization, tmp_path: Path, keys
) -> None:
    load(actor, csv_file(tmp_path, row(1), row(2), row(2, line_no="2")))
    before = references(actor)

    keys(SECOND)
    assert command(organization, "--dry-run") == "key 1 to key 2: 3 rows of claims to go; nothing was changed\n"
    assert references(actor) == before
    assert command(organization) == "key 1 to key 2: done\n"

    after = references(actor)
    assert len(after) == len(before) == 2
    assert {key_no for _, key_no in after} == {2}
    assert not {key for key, _ in after} & {key for key, _ in before}
    assert chain(actor) == [(1, "1", True), (2, "2", True)]
    assert command(organization) == "All claims are under the newest key; nothing to do.\n"
    assert outcome(actor, csv_file(tmp_path, row(1), row(2), row(2, line_no="2"), row(3))) == (1, 0, 3)
    assert len(references(actor)) == 3


def test_the_trail_names_the_keys_and_never_their_secrets(
    actor: Actor, organization: Organization, tmp_path: Path, keys
) -> None:
    load(actor, csv_file(tmp_path, row(1), row(2)))
    keys(SECOND)

    command(organization)

    with acting_for(organization.id):
        entries = AuditEntry.objects.filter(action__startswith="claims.keys").order_by("at")
        told = [(entry.action, entry.fields, entry.object_count, entry.purpose) for entry in entries]
        everything = str(list(AuditEntry.objects.values()))
    names = ["hash_key.1", "hash_key.2"]
    assert told == [
        ("claims.keys_rotate", names, 2, "keys_rotate"),
        ("claims.keys_rotated", names, 2, "keys_rotate"),
    ]
    assert "s" * 40 not in everything


def test_every_version_and_both_kinds_of_file_meet_under_a_chain_of_three_keys(
    actor: Actor, tmp_path: Path, keys
) -> None:
    load(actor, csv_file(tmp_path, row(1, decided_date="", outcome="PENDING", payment_date="", paid_amount="")))
    for further in ((SECOND,), (SECOND, THIRD)):
        keys(*further)
        assert keys_rotate(actor=actor) is not None

    assert outcome(actor, x12_file(tmp_path, clp(1), day="20250120")) == (0, 1, 0)

    with acting_for(actor.organization_id):
        old, new = Claim.objects.order_by("version")
    assert (old.claim_key, old.key_no, new.key_no, len(bytes(new.provider_ref))) == (new.claim_key, 3, 3, 16)
    assert outcome(actor, x12_file(tmp_path, clp(1), clp(2), day="20250120", name="b.835")) == (1, 0, 1)
    with acting_for(actor.organization_id):
        assert Claim.objects.exclude(provider_ref=None).values("provider_ref").distinct().count() == 1
    assert chain(actor) == [(1, "1", True), (2, "2", True), (3, "three", True)]


def test_a_killed_rotation_goes_on_and_an_import_in_between_finds_every_row(
    actor: Actor, organization: Organization, database: str, tmp_path: Path, keys
) -> None:
    rows = [row(number) for number in range(600)]
    load(actor, csv_file(tmp_path, *rows))
    keys(SECOND)
    killed_in_the_middle(actor, organization, database)
    left = sum(key_no == 1 for _, key_no in references(actor))
    assert 0 < left < 600

    assert outcome(actor, csv_file(tmp_path, *rows[-40:], row("new"))) == (1, 0, 40)

    assert sum(key_no == 1 for _, key_no in references(actor)) < left
    plan = rotation_plan(actor=actor)
    assert plan is not None
    assert (plan.resumed, plan.rows) == (True, sum(key_no == 1 for _, key_no in references(actor)))
    assert command(organization) == "key 1 to key 2, begun before: done\n"
    assert {key_no for _, key_no in references(actor)} == {2}
    assert len(references(actor)) == 601
    assert outcome(actor, csv_file(tmp_path, *rows, row("new"), row("newer"))) == (1, 0, 601)
    with acting_for(organization.id):
        actions = AuditEntry.objects.filter(action__startswith="claims.keys").order_by("at")
        assert [entry.action for entry in actions] == ["claims.keys_rotate", "claims.keys_rotated"]


def test_files_are_loaded_while_another_process_rotates(
    actor: Actor, organization: Organization, database: str, tmp_path: Path, keys
) -> None:
    rows = [row(number) for number in range(400)]
    load(actor, csv_file(tmp_path, *rows))
    keys(SECOND)

    with rotating(organization, database, "--batch", "5") as process:
        assert until(lambda: len({key_no for _, key_no in references(actor)}) == 2), "no batch was done"
        found = [
            outcome(actor, csv_file(tmp_path, *rows[start : start + 100], row(f"new{start}")))
            for start in (300, 0, 200, 100)
        ]
        keys_rotate(actor=actor, rows_at_once=5)  # shares what is left
        assert process.wait(timeout=60) == 0

    with acting_for(organization.id):
        assert AuditEntry.objects.filter(action="claims.keys_rotated").count() == 1
    assert found == [(1, 0, 100)] * 4
    assert {key_no for _, key_no in references(actor)} == {2}
    assert len(references(actor)) == 404


@pytest.mark.parametrize("finished", [False, True], ids=["under way", "over"])
def test_a_file_staged_before_a_rotation_is_loaded_under_its_key(
    actor: Actor, tmp_path: Path, keys, monkeypatch: pytest.MonkeyPatch, finished: bool
) -> None:
    """The rotation begins after the lines were hashed and before the lock is taken; another process is as fast."""
    load(actor, csv_file(tmp_path, row(1), row(2), row(3)))
    keys(SECOND)
    stage = services.stage_claims

    def stage_and_rotate(reader: ClaimReader, result, *rest) -> None:
        stage(reader, result, *rest)
        with acting_for(actor.organization_id):
            if finished:
                keys_rotate(actor=actor)
            else:
                HashKey.objects.create(organization_id=actor.organization_id, ordinal=2, key_id="2")

    monkeypatch.setattr(services, "stage_claims", stage_and_rotate)

    assert outcome(actor, csv_file(tmp_path, row(1), row(2), row(4))) == (1, 0, 2)

    found = references(actor)
    assert len(found) == 4
    assert sorted(key_no for _, key_no in found) == ([2] * 4 if finished else [1, 2, 2, 2])


def test_a_half_rotated_batch_is_taken_back_and_payers_still_become_one(
    actor: Actor, organization: Organization, database: str, tmp_path: Path, keys
) -> None:
    rows = [row(number) for number in range(100)]
    load(actor, csv_file(tmp_path, *rows))
    load(actor, csv_file(tmp_path, *(row(number, payer="Acme Hlth") for number in range(100)), name="b.csv"))
    changed = [row(number, decided_date="2025-02-03", payment_date="2025-02-04") for number in range(100)]
    newer = load(actor, csv_file(tmp_path, *changed, name="c.csv")).batch
    keys(SECOND)
    killed_in_the_middle(actor, organization, database)

    batch_rollback(actor=actor, batch_id=newer.id)
    payer_map(actor=actor, raw_name="acme hlth", payer_code="acme-health")

    with acting_for(organization.id):
        current = Claim.objects.filter(superseded_at=None)
        assert current.count() == 100
        assert current.values("claim_key").distinct().count() == 100
        assert ImportBatch.objects.get(id=newer.id).status == "ROLLED_BACK"
    keys_rotate(actor=actor)
    assert len(references(actor)) == 100


def test_a_new_organization_begins_with_the_newest_key(
    actor: Actor, organization: Organization, tmp_path: Path, keys
) -> None:
    keys(SECOND)
    assert keys_rotate(actor=actor) is None

    load(actor, csv_file(tmp_path, row(1)))

    assert chain(actor) == [(1, "2", True)]
    expected = ClaimHasher(organization_key(organization.id, "2")).claim_key("CLEAR-NUMBER-1")
    assert references(actor) == {(expected, 1)}
    assert newest_key_id() == "2"


def test_claims_from_before_keys_had_ids_are_under_the_first(
    actor: Actor, organization: Organization, tmp_path: Path, keys
) -> None:
    load(actor, csv_file(tmp_path, row(1)))
    with acting_for(organization.id):
        HashKey.objects.all().delete()
    keys(SECOND)
    assert command(organization, "--dry-run").startswith("key 1 to key 2: 1 rows")
    assert chain(actor) == []

    assert outcome(actor, csv_file(tmp_path, row(1), row(2))) == (1, 0, 1)

    assert chain(actor) == [(1, "1", True)]


def test_without_its_key_an_organization_takes_no_file(
    actor: Actor, organization: Organization, tmp_path: Path, keys
) -> None:
    load(actor, csv_file(tmp_path, row(1)))
    keys(SECOND)
    keys_rotate(actor=actor)
    keys()

    with pytest.raises(KeyMissing, match=r"key 2, which [^.]*DRIFTGRAPH_CLAIM_KEYS"):
        load(actor, csv_file(tmp_path, row(2)))
    keys(SECOND, THIRD)
    keys_rotate(actor=actor)
    keys(THIRD, SECOND)
    with pytest.raises(KeyUsedBefore, match="key 2 was replaced before"):
        keys_rotate(actor=actor)
    with pytest.raises(CommandError, match="key 2 was replaced before"):
        command(organization)


def test_only_the_owner_rotates(actor_as) -> None:
    for role in set(Role) - {Role.OWNER}:
        for act in (keys_rotate, rotation_plan):
            with pytest.raises(Forbidden):
                act(actor=actor_as(role))


def test_the_command_says_what_is_wrong(organization: Organization) -> None:
    with pytest.raises(CommandError, match="no organization"):
        call_command("keys_rotate", "--organization", "nobody")
    with pytest.raises(CommandError, match="--batch must be at least 1"):
        command(organization, "--batch", "0")
