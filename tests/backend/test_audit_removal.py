"""Months of the audit trail that are past their time: removed by the owner alone, and certified."""

import datetime
import logging
from collections.abc import Iterator
from io import StringIO
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from backend.audit.certificates import NOBODY, REMOVAL, Certificate, years_before
from backend.audit.chain import Seal, read_seals
from backend.audit.models import AuditEntry, AuditRemoval
from backend.audit.removal import AlreadyRemoved, Due, NotAsSealed, TooFewYears, removal_due, removal_run
from backend.migration_safety.scratch import Scratch, redirected
from tests import server
from tests.scratch import scratch_database
from tests.trail import FIRST, SECOND, Trail

NOW = datetime.datetime.now(datetime.UTC)
_DROP = "ALTER TABLE audit_entry DETACH PARTITION {0}; DROP TABLE {0}"


def _at(trail: Trail, year: int, month: int, day: int) -> None:
    moment = datetime.datetime(year, month, day, 12, tzinfo=datetime.UTC)
    trail.at(f"{(moment - NOW).total_seconds()} seconds")


@pytest.fixture
def name(database: str) -> Iterator[str]:
    with scratch_database() as made:
        yield made


@pytest.fixture
def owner(name: str) -> Iterator[BaseDatabaseWrapper]:
    """All of Django's connections lead to the database."""
    with redirected(Scratch(owner=server.url("owner", name), app=server.url("app", name))) as found:
        found.ensure_connection()
        yield found


@pytest.fixture
def trail(name: str) -> Iterator[Trail]:
    """January and February 2020, with a seal over entries of both; then today."""
    found = Trail(name)
    found.without_what_was_there()
    _at(found, 2020, 1, 20)
    found.months()
    found.act(FIRST, "a", "b")
    found.act(SECOND, "a")
    found.seal()
    found.act(FIRST, "c", "d")
    _at(found, 2020, 2, 10)
    found.act(FIRST, "e")
    found.act(SECOND, "e")
    found.seal()
    found.act(FIRST, "f")
    found.seal()
    found.at("0")
    found.months()
    found.act(SECOND, "g")
    found.seal()
    try:
        yield found
    finally:
        found.close()


def _due(trail: Trail) -> dict[str, Due]:
    return {due.part: due for due in removal_due(trail.owner, years=6, now=NOW)}


def test_a_month_that_is_past_its_time_goes_and_the_seals_still_prove_the_rest(
    trail: Trail, owner: BaseDatabaseWrapper
) -> None:
    before = trail.verify()
    due = _due(trail)

    january = removal_run(owner, due["audit_entry_2020_01"], operator="op")

    after = trail.verify()
    assert list(due) == [f"audit_entry_2020_0{month}" for month in (1, 2, 3, 4)]
    assert "audit_entry_2020_01" not in trail.partitions()
    assert (january.entries, january.seals, list(january.leaves)) == (5, [[1, 1]], ["2"])
    assert len(january.leaves["2"]) == 2
    assert (after.damages, after.entries, after.removed) == ([], before.entries - 5, 5)
    trail.seal()
    assert trail.verify().damages == []

    february = removal_run(owner, due["audit_entry_2020_02"], operator="op")

    trail.seal()
    assert (february.seals, february.leaves) == ([[2, 3]], {})
    assert (trail.verify().damages, trail.verify().removed) == ([], 8)


def test_what_was_changed_in_a_seal_that_lost_a_part_is_still_found(trail: Trail, owner: BaseDatabaseWrapper) -> None:
    removal_run(owner, _due(trail)["audit_entry_2020_01"], operator="op")

    report = trail.spoiled("UPDATE audit_entry SET purpose = 'x' WHERE id < audit_id_floor('2020-02-28')")
    missing = trail.spoiled("DELETE FROM audit_entry WHERE id < audit_id_floor('2020-02-28')")

    assert [damage.seq for damage in report.damages] == [2, 2, 3]
    assert "was changed" in report.damages[0].what
    assert "2 entries where 3 were sealed" in missing.damages[0].what


def test_a_partition_that_is_dropped_without_a_certificate_is_damage(trail: Trail) -> None:
    trail.owner.execute(_DROP.format("audit_entry_2020_01").encode())

    damages = trail.verify().damages

    assert [damage.seq for damage in damages] == [1, 1, 2]
    assert "0 entries where 2 were sealed" in damages[0].what


@pytest.mark.parametrize(
    ("forgery", "what"),
    [
        ("UPDATE audit_removal SET entries = 4", "was changed, or one before it was"),
        ("UPDATE audit_removal SET seals = '[[1, 3]]'", "was changed, or one before it was"),
        ("UPDATE audit_removal SET removed_at = removed_at - interval '1 day'", "was changed, or one before it was"),
        ("DELETE FROM audit_entry WHERE action = 'audit.remove'", "has no entry in the trail"),
    ],
)
def test_a_certificate_that_is_not_what_the_trail_says_excuses_nothing(
    trail: Trail, owner: BaseDatabaseWrapper, forgery: str, what: str
) -> None:
    removal_run(owner, _due(trail)["audit_entry_2020_01"], operator="op")

    damages = [damage.what for damage in trail.spoiled(forgery).damages]

    assert any(f"certificate 1 of audit_entry_2020_01 {what}" in damage for damage in damages)
    assert any("0 entries where 2 were sealed" in damage for damage in damages)


def test_a_certificate_for_what_is_not_six_years_old_excuses_nothing(trail: Trail, owner: BaseDatabaseWrapper) -> None:
    """Made by somebody with all power, with an entry and a seal."""
    part = f"audit_entry_{NOW:%Y_%m}"
    removal_run(owner, Due(part, "ffffffff-ffff-ffff-ffff-ffffffffffff", NOW + datetime.timedelta(days=1)), operator="")
    trail.months()
    trail.seal()

    damages = trail.verify().damages

    assert any("sealed less than 6 years before it" in damage.what for damage in damages)
    assert any("entries where 1 were sealed" in damage.what for damage in damages)


def test_a_removal_must_be_dated_before_the_seal_of_its_entry(trail: Trail, owner: BaseDatabaseWrapper) -> None:
    """Else what is certified today could be said to be of a day when it was old enough."""
    part = f"audit_entry_{NOW:%Y_%m}"
    _as_if_later(trail, owner, "7 years")
    removal_run(owner, Due(part, "ffffffff-ffff-ffff-ffff-ffffffffffff", NOW + datetime.timedelta(days=1)), operator="")
    trail.at("0")
    trail.months()
    trail.seal()

    damages = trail.verify().damages

    assert any("is of a time after the seal of its entry" in damage.what for damage in damages)


def _as_if_later(trail: Trail, owner: BaseDatabaseWrapper, shift: str) -> None:
    """It is so much later for everybody, for whoever removes too."""
    trail.at(shift)
    text = (
        "CREATE OR REPLACE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql"
        f" AS $$ SELECT pg_catalog.clock_timestamp() + interval '{shift}' $$"
    )
    trail.owner.execute(text.encode())
    owner.connection.execute("SET search_path = public, pg_catalog")
    owner.connection.execute("SELECT set_config('test.shift', %s, false)", [shift])


def test_certificates_hold_when_their_entries_are_past_their_time_too(trail: Trail, owner: BaseDatabaseWrapper) -> None:
    removal_run(owner, _due(trail)["audit_entry_2020_01"], operator="op")
    trail.seal()
    _as_if_later(trail, owner, "7 years")
    trail.months()
    trail.act(FIRST, "later")
    trail.seal()

    part = f"audit_entry_{NOW:%Y_%m}"
    [[id_to]] = trail.rows(f"SELECT id_to::text FROM audit_partitions() WHERE part = '{part}'")
    removal_run(owner, Due(part, id_to, NOW + datetime.timedelta(days=1)), operator="op")
    trail.seal()

    assert trail.rows("SELECT count(*) FROM audit_entry WHERE action = 'audit.remove'") == [(1,)]
    assert (trail.verify().damages, trail.verify().removed) == ([], 7)


def test_entries_that_are_not_as_sealed_stay(trail: Trail, owner: BaseDatabaseWrapper) -> None:
    due = _due(trail)["audit_entry_2020_01"]
    trail.spoil("UPDATE audit_entry_2020_01 SET purpose = 'x' WHERE object_count = 1")
    before = trail.partitions()

    with pytest.raises(NotAsSealed, match="audit_entry_2020_01 stays: entries are not as seal 1 of"):
        removal_run(owner, due, operator="op")

    assert trail.partitions() == before
    assert trail.rows("SELECT count(*) FROM audit_removal") == [(0,)]


def test_entries_that_no_seal_covers_stay(trail: Trail, owner: BaseDatabaseWrapper) -> None:
    due = _due(trail)["audit_entry_2020_03"]
    _at(trail, 2020, 3, 3)
    trail.act(FIRST, "unsealed")
    trail.at("0")

    with pytest.raises(NotAsSealed, match="is not sealed, or was sealed since"):
        removal_run(owner, due, operator="op")
    trail.seal()
    with pytest.raises(NotAsSealed, match="is not sealed, or was sealed since"):  # an id of then, written now
        removal_run(owner, due, operator="op")


def test_six_years_are_the_least_and_count_from_the_end_of_the_month(trail: Trail) -> None:
    with pytest.raises(TooFewYears, match="at least 6 years"):
        removal_due(trail.owner, years=5, now=NOW)

    def due(year: int, month: int, day: int) -> list[str]:
        moment = datetime.datetime(year, month, day, tzinfo=datetime.UTC)
        return [one.part for one in removal_due(trail.owner, years=6, now=moment)]

    assert due(2026, 1, 31) == []
    assert due(2026, 2, 1) == ["audit_entry_2020_01"]
    assert years_before(datetime.datetime(2028, 2, 29, tzinfo=datetime.UTC), 6).date() == datetime.date(2022, 2, 28)


def test_what_was_there_before_the_months_goes_as_a_whole(name: str, owner: BaseDatabaseWrapper) -> None:
    trail = Trail(name)
    trail.act(FIRST, "a")
    trail.seal()
    found = removal_due(trail.owner, years=6, now=NOW + datetime.timedelta(days=7 * 366))
    before = found[0]

    certificate = removal_run(owner, Due(before.part, before.id_to, NOW + datetime.timedelta(days=1)), operator="op")

    assert before.part == "audit_entry_before"
    assert (certificate.entries, certificate.seals) == (3, [[1, 1]])
    assert "audit_entry_before" not in trail.partitions()
    trail.close()


def test_the_server_can_remove_nothing_and_certify_nothing(trail: Trail) -> None:
    for statement in (
        "INSERT INTO audit_removal VALUES (1, 'x', gen_random_uuid(), 0, '[]', '{}', '', '', now(), '')",
        "UPDATE audit_removal SET entries = 0",
        "DELETE FROM audit_removal",
        "DROP TABLE audit_entry_2020_01",
        "ALTER TABLE audit_entry DETACH PARTITION audit_entry_2020_01",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            trail.app.execute(statement)


class _Ends(logging.Handler):
    """Ends a session when the log tells of a first attempt without a lock."""

    def __init__(self, trail: Trail, session: "psycopg.Connection[Any]") -> None:
        super().__init__()
        self.attempts = 0
        self._trail, self._session = trail, session

    def emit(self, _record: logging.LogRecord) -> None:
        self.attempts += 1
        self._trail.owner.execute("SELECT pg_terminate_backend(%s)", [self._session.info.backend_pid])


def test_a_reader_is_waited_for_in_short_attempts_and_nothing_is_verified_anew(
    trail: Trail, owner: BaseDatabaseWrapper, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "backend.migration_safety.locking")
    verified: list[int] = []
    trail.app.execute("BEGIN")
    trail.app.execute("SELECT count(*) FROM audit_entry")
    ends = _Ends(trail, trail.app)
    locking = logging.getLogger("backend.migration_safety.locking")
    locking.addHandler(ends)
    try:
        removal_run(owner, _due(trail)["audit_entry_2020_01"], operator="op", progress=verified.append)
    finally:
        locking.removeHandler(ends)

    assert ends.attempts >= 1
    assert verified == [3, 5]
    assert "audit_entry_2020_01" not in trail.partitions()


def test_the_command_counts_then_removes_and_says_what_stays(trail: Trail, owner: BaseDatabaseWrapper) -> None:
    trail.spoil("UPDATE audit_entry_2020_02 SET purpose = 'x' WHERE object_count = 1")
    told = StringIO()
    before = trail.partitions()

    with pytest.raises(CommandError, match="audit_entry_2020_02 stays"):
        call_command("audit_retention", dry_run=True, stdout=told)
    counted, still = told.getvalue(), trail.partitions()
    with pytest.raises(CommandError, match="audit_entry_2020_02 stays"):
        call_command("audit_retention", stdout=told)

    assert "audit_entry_2020_03" in counted
    assert still == before
    assert before.keys() - trail.partitions().keys() == {"audit_entry_2020_03", "audit_entry_2020_04"}
    assert connections["owner"] is owner


def test_a_month_that_another_run_has_removed_is_said_to_be_gone(trail: Trail, owner: BaseDatabaseWrapper) -> None:
    due = _due(trail)["audit_entry_2020_01"]
    removal_run(owner, due, operator="op")

    with pytest.raises(AlreadyRemoved, match="audit_entry_2020_01 was removed by another run"):
        removal_run(owner, due, operator="op")

    assert trail.rows("SELECT count(*) FROM audit_removal") == [(1,)]


def test_what_is_past_its_time_is_told_by_the_clock_that_dates_certificates(
    trail: Trail, owner: BaseDatabaseWrapper
) -> None:
    told = StringIO()
    _as_if_later(trail, owner, "-3 months")

    call_command("audit_retention", dry_run=True, stdout=told)

    assert "audit_entry_2020_01" in told.getvalue()
    _as_if_later(trail, owner, "-7 years")
    call_command("audit_retention", dry_run=True, stdout=told)
    assert told.getvalue().endswith("no month is past its time\n")


def test_a_month_does_not_go_while_the_trail_is_verified(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    """A partition is gone for every snapshot, a certificate for none of before."""

    def read_and_drop(connection: "psycopg.Connection[Any]") -> Iterator[Seal]:
        seals = list(read_seals(connection))
        with pytest.raises(psycopg.errors.LockNotAvailable):
            trail.owner.execute(f"SET lock_timeout = '100ms'; {_DROP.format('audit_entry_2020_01')}".encode())
        return iter(seals)

    monkeypatch.setattr("backend.audit.verification.read_seals", read_and_drop)

    assert trail.verify().damages == []


def _forged(seq: int, before: bytes, *, seals: list[list[int]], id_to: str, removed_at: datetime.datetime) -> bytes:
    """What somebody with all power writes where a certificate stands, with all of its hashes; whose own it gives."""
    made = Certificate(seq, "audit_entry_2019_01", id_to, 0, seals, {}, before, removed_at, "op")
    AuditRemoval.objects.using("owner").create(
        seq=seq,
        part=made.part,
        id_to=id_to,
        entries=0,
        seals=seals,
        leaves={},
        prev_hash=before,
        hash=made.own_hash(),
        removed_at=removed_at,
        operator="op",
    )
    return made.own_hash()


def _tell(digest: bytes) -> None:
    """The entry of a certificate."""
    AuditEntry.objects.using("owner").create(
        organization_id=NOBODY, action=REMOVAL, object_type="audit_removal", objects_digest=digest
    )


@pytest.mark.parametrize("years", [-14, 9])
def test_no_certificate_excuses_one_that_has_no_entry_by_a_time_of_its_own(
    trail: Trail, owner: BaseDatabaseWrapper, years: int
) -> None:
    """An entry may have gone with its own month, which only certificates of months that are past their time tell."""
    trail.owner.execute(_DROP.format(f"audit_entry_{NOW:%Y_%m}").encode())
    trail.months()
    far = "ffffffff-ffff-ffff-ffff-ffffffffffff"
    moment = NOW + datetime.timedelta(days=365 * years)
    first = _forged(1, b"", seals=[[4, 4]], id_to="0" * 8 + far[8:], removed_at=NOW + datetime.timedelta(days=3000))
    _tell(_forged(2, first, seals=[], id_to=far, removed_at=min(moment, NOW)))
    trail.seal()

    damages = [damage.what for damage in trail.verify().damages]

    assert any("certificate 1 of " in damage for damage in damages)
    assert any("0 entries where 1 were sealed" in damage for damage in damages)
