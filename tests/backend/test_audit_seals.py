"""Seals: whatever is done to sealed entries, or to the seals, is found, and its place named."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import psycopg
import pytest
from django.core.management import CommandError, call_command

from backend.accounts.models import Organization
from backend.audit.sealing import seal_make
from backend.core.tenancy import acting_for
from tests import factories as make
from tests import server
from tests.scratch import scratch_database
from tests.sealing import wait_until_all_can_be_sealed
from tests.trail import FIRST, PAYER, SECOND, Trail

_CODE = "FROM payer p WHERE p.id = ANY(e.object_ids) AND p.code = '{}' AND e.organization_id = '{}'"
_CODE_C = _CODE.format("c", "{}")


@contextmanager
def _trail() -> Iterator[Trail]:
    """Three seals: of the organizations themselves with one payer, of two payers of each, of one more."""
    with scratch_database() as name:
        found = Trail(name)
        try:
            found.act(FIRST, "a")
            found.seal()
            found.act(FIRST, "b", "c")
            found.act(SECOND, "b", "c")
            found.seal()
            found.act(FIRST, "d")
            found.seal()
            yield found
        finally:
            found.close()


@pytest.fixture
def trail(database: str) -> Iterator[Trail]:
    with _trail() as found:
        yield found


@pytest.fixture(scope="module")
def common_trail(database: str) -> Iterator[Trail]:
    """One that no test changes for good."""
    with _trail() as found:
        yield found


def test_an_untouched_trail_is_as_sealed(common_trail: Trail) -> None:
    assert common_trail.seal() == {}  # nothing new

    report = common_trail.verify()

    assert (report.seals, report.entries, report.unsealed, report.damages) == (3, 8, 0, [])


def test_transactions_are_in_the_order_of_their_numbers(database: str) -> None:
    with scratch_database() as name:
        trail = Trail(name)
        trail.act(FIRST, "a", "b")
        for code, number in (("a", 9), ("b", 10)):
            trail.spoil(f"UPDATE audit_entry e SET xid = '{number}' {_CODE.format(code, FIRST)}")

        assert list(trail.seal()) == [1]

        assert trail.verify().damages == []
        trail.close()


def test_what_an_open_transaction_wrote_is_sealed_later(trail: Trail) -> None:
    with trail.owner.transaction():
        trail.owner.execute(PAYER, [FIRST, "slow"])
        trail.act(FIRST, "fast")
        assert trail.attempt() == {}
        assert trail.verify().unsealed == 1

    assert list(trail.seal()) == [4]
    assert (trail.verify().entries, trail.verify().damages) == (10, [])


_AGAIN = "(jsonb_populate_record(e, jsonb_build_object('id', gen_random_uuid()))).*"


@pytest.mark.parametrize(
    ("statement", "place", "what"),
    [
        (f"UPDATE audit_entry e SET actor_role = 'OWNER' {_CODE_C.format(SECOND)}", 2, "at least one was changed"),
        (f"UPDATE audit_entry e SET at = at - interval '1 day' {_CODE_C.format(FIRST)}", 2, "at least one was changed"),
        (f"DELETE FROM audit_entry e USING {_CODE_C.format(FIRST)[5:]}", 2, "1 entries where 2 were sealed"),
        (
            f"INSERT INTO audit_entry SELECT {_AGAIN} {_CODE_C.format(FIRST).replace('FROM', 'FROM audit_entry e,')}",
            2,
            "3 entries where 2 were sealed",
        ),
        ("DELETE FROM audit_entry e USING payer p WHERE p.id = ANY(e.object_ids) AND p.code = 'd'", 3, "0 entries"),
        ("UPDATE audit_entry SET epoch = 7 WHERE object_type = 'payer'", 1, "entries where"),
        ("DELETE FROM audit_seal WHERE seq = 2", 2, "seal 2 is missing"),
        ("DELETE FROM audit_seal WHERE seq = 1", 1, "seal 1 is missing"),
        ("UPDATE audit_seal SET sealed_at = sealed_at - interval '1 day' WHERE seq = 2", 2, "was changed"),
        ("UPDATE audit_seal SET organization_roots = '{}' WHERE seq = 3", 3, "was changed"),
        ("UPDATE audit_seal SET prev_hash = '' WHERE seq = 2", 2, "does not follow"),
    ],
)
def test_the_first_damaged_place_is_named(common_trail: Trail, statement: str, place: int, what: str) -> None:
    first = common_trail.spoiled(statement).damages[0]

    assert first.seq == place
    assert what in first.what


@pytest.mark.parametrize("sealed", [False, True])
def test_an_entry_that_was_added_later_under_an_earlier_date_is_found(trail: Trail, sealed: bool) -> None:
    """It is under a seal like any other, so that no hash tells of it."""
    planted = (
        "jsonb_build_object('id', gen_random_uuid(), 'xid', pg_current_xact_id()::text, 'at', e.at - interval '1 day')"
    )
    trail.spoil(f"INSERT INTO audit_entry SELECT (jsonb_populate_record(e, {planted})).* FROM audit_entry e LIMIT 1")
    if sealed:
        trail.seal()

    [damage] = trail.verify().damages

    assert damage.seq == 4
    assert ", written after seal 2 of " in damage.what
    assert damage.what.endswith("is dated before it")


def test_a_seal_made_anew_over_changed_entries_breaks_the_chain(trail: Trail) -> None:
    trail.spoil("DELETE FROM audit_seal WHERE seq = 3")
    trail.spoil("DELETE FROM audit_entry e USING payer p WHERE p.id = ANY(e.object_ids) AND p.code = 'c'")
    trail.spoil("DELETE FROM audit_seal WHERE seq = 2")
    trail.act(FIRST, "e")
    trail.seal()
    kept = trail.verify()
    assert kept.damages == []  # nothing in the database tells of it

    trail.act(FIRST, "f")
    assert trail.verify({2: "0" * 64}).damages[0].what == "seal 2 is not the one that was published"


def test_a_truncated_tail_is_found_by_what_was_published(trail: Trail) -> None:
    trail.act(FIRST, "e")
    published = trail.seal()
    trail.spoil("DELETE FROM audit_seal WHERE seq = 4")
    trail.spoil("DELETE FROM audit_entry e USING payer p WHERE p.id = ANY(e.object_ids) AND p.code = 'e'")

    assert trail.verify().damages == []
    assert trail.verify(published).damages[0].what == "seal 4, which was published, is missing"


def test_after_a_restore_into_another_cluster_the_chain_goes_on(trail: Trail) -> None:
    """Transaction ids begin anew there: the numbers of new entries lie below what is sealed."""
    trail.act(FIRST, "left over")
    trail.owner.execute("CREATE OR REPLACE FUNCTION audit_epoch() RETURNS bigint LANGUAGE sql AS 'SELECT 42::bigint'")
    trail.act(FIRST, "new")

    sealed = [trail.seal(), trail.seal(), trail.seal()]

    assert [list(one) for one in sealed] == [[4], [5], []]
    epochs = trail.app.execute("SELECT epoch, xid_from::text FROM audit_seal ORDER BY seq").fetchall()
    assert epochs[3][0] == epochs[2][0] != 42
    assert epochs[4] == (42, "0")
    assert (trail.verify().entries, trail.verify().damages) == (10, [])


def _in_cluster(trail: Trail, epoch: int | None, *codes: str) -> None:
    """What is written from now on is by another cluster; None: by this one."""
    body = "SELECT system_identifier FROM pg_control_system()" if epoch is None else f"SELECT {epoch}::bigint"
    text = f"CREATE OR REPLACE FUNCTION audit_epoch() RETURNS bigint LANGUAGE sql AS '{body}'"
    trail.owner.execute(text.encode())
    trail.act(FIRST, *codes)


def test_what_a_cluster_left_that_never_sealed_is_sealed_by_the_next(trail: Trail) -> None:
    _in_cluster(trail, 42, "e", "f")
    _in_cluster(trail, 41, "g")

    sealed = [trail.seal() for _ in range(3)]

    assert [list(one) for one in sealed] == [[4], [5], []]
    assert trail.app.execute("SELECT epoch, entries FROM audit_seal WHERE seq > 3").fetchall() == [(42, 2), (41, 1)]
    assert (trail.verify().entries, trail.verify().damages) == (11, [])


def test_the_first_seal_of_all_is_of_what_another_cluster_left(database: str) -> None:
    with scratch_database() as name:
        trail = Trail(name)
        _in_cluster(trail, 42, "a")

        assert [list(trail.seal()) for _ in range(3)] == [[1], [2], []]

        assert (trail.verify().entries, trail.verify().damages) == (3, [])
        trail.close()


def test_back_in_a_cluster_the_chain_goes_on_where_that_was(trail: Trail) -> None:
    """As after a failover by a dump, and a return by another."""
    _in_cluster(trail, 42, "e")
    assert list(trail.seal()) == [4]
    _in_cluster(trail, None, "f")
    assert list(trail.seal()) == [5]
    trail.act(FIRST, "g")
    assert list(trail.seal()) == [6]

    assert (trail.verify().entries, trail.verify().damages) == (11, [])


@pytest.mark.parametrize("sealed", [False, True])
def test_an_entry_of_another_cluster_is_no_older_than_the_seals_before_it(trail: Trail, sealed: bool) -> None:
    """Its transactions are numbered anew, so that those of this one do not tell."""
    _in_cluster(trail, 42, "e")
    trail.spoil("UPDATE audit_entry SET at = at - interval '1 day' WHERE epoch = 42")
    if sealed:
        trail.seal()

    damages = [damage.what for damage in trail.verify().damages]

    assert any(what.endswith("is dated before it") and "written after seal 2" in what for what in damages)


def test_two_sealers_at_once_make_one_seal(trail: Trail) -> None:
    trail.act(FIRST, "e")
    with trail.app.transaction():
        assert list(trail.seal()) == [4]
        other = trail.owner.execute("SELECT count(*) FROM audit_seal_make()").fetchone()

    assert other == (0,)


def test_the_command_says_whether_the_trail_is_as_sealed(
    database: str, organization: Organization, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with acting_for(organization.id):
        make.payer(organization)
    caplog.set_level("INFO", "driftgraph.audit")
    with psycopg.connect(server.url("postgres", database), autocommit=True) as superuser:
        wait_until_all_can_be_sealed(superuser)
    seal = seal_make()
    assert seal is not None
    log = tmp_path / "server.log"
    log.write_text(caplog.text)
    told = StringIO()

    call_command("verify_audit", published=log, stdout=told)

    assert f"audit seal {seal.seq} {seal.hash}" in caplog.text
    assert told.getvalue().startswith("as sealed: ")
    log.write_text(f"audit seal {seal.seq + 1} {'0' * 64}\n")
    with pytest.raises(CommandError, match=f"damaged: seal {seal.seq + 1}, which was published") as damaged:
        call_command("verify_audit", published=log)
    assert damaged.value.returncode == 1
    # Cut off and grown back, the chain has another seal of that number: the log tells of both, the stored one last.
    log.write_text(f"audit seal {seal.seq} {'0' * 64}\naudit seal {seal.seq} {seal.hash}\n")
    with pytest.raises(CommandError, match=f"damaged: seal {seal.seq} is not the one that was published"):
        call_command("verify_audit", published=log)
    log.write_text("nothing of that kind")
    with pytest.raises(CommandError, match="names no seal") as nothing:
        call_command("verify_audit", published=log)
    assert nothing.value.returncode == 2
