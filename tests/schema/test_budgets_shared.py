"""Budgets that several processes share, on a real Redis or Valkey."""

import asyncio
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from limits.errors import StorageError

from backend.accounts.throttling import Allowance, Attempts, TooManyAttempts
from backend.core.actor import Actor, Role
from benchmarks.serving import free_port
from schema.cost.budgets import PAUSE, Budgets, RateLimited, SharedLedger

_SERVER = shutil.which("valkey-server") or shutil.which("redis-server")
pytestmark = pytest.mark.skipif(
    _SERVER is None and not os.environ.get("CI"),
    reason="no valkey-server, no redis-server: apt-get install redis-server",
)


@contextmanager
def _serving(folder: Path, port: int) -> Iterator[None]:
    call = [str(_SERVER), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    with _serving(tmp_path_factory.mktemp("redis"), port):
        yield f"valkey://127.0.0.1:{port}/0"


def _actor() -> Actor:
    return Actor(organization_id=uuid.uuid4(), role=Role.OWNER, user_id=uuid.uuid4())


@pytest.fixture
async def shared(address: str) -> AsyncIterator[Callable[[], Budgets]]:
    """Makes the budgets of one process after another."""
    made: list[Budgets] = []

    def one() -> Budgets:
        made.append(Budgets(SharedLedger(address)))
        return made[-1]

    yield one
    for budgets in made:
        await budgets.close()


async def test_processes_that_share_a_ledger_share_the_budget(
    shared: Callable[[], Budgets], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schema.cost.budgets.time.time", lambda: 1_000_000_000.0)
    one, other, actor = shared(), shared(), _actor()

    first = await one.charge(actor, "", 150_000)
    with pytest.raises(RateLimited, match="DRIFTGRAPH_COST_PER_MINUTE"):
        await other.charge(actor, "", 60_000)
    left = await one.give_back(first, 100_000)
    second = await other.charge(actor, "", 60_000)

    assert (first.remaining, left, second.remaining) == (50_000, 100_000, 40_000)


async def test_charges_at_once_are_all_counted(shared: Callable[[], Budgets], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schema.cost.budgets.time.time", lambda: 1_000_000_000.0)
    processes, actor = [shared() for _ in range(3)], _actor()
    for budgets in processes:
        await budgets.charge(actor, "", 1)

    await asyncio.gather(*(processes[number % 3].charge(actor, "", 100) for number in range(30)))

    assert (await processes[0].charge(actor, "", 1)).remaining == 200_000 - 3 - 3_000 - 1


async def test_operations_are_let_through_while_the_ledger_is_away_and_the_log_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schema.cost.budgets.PAUSE", 0.0)
    port, actor = free_port(), _actor()
    budgets = Budgets(SharedLedger(f"redis://127.0.0.1:{port}"))

    charges = [await budgets.charge(actor, "", 200_000) for _ in range(2)]
    left = await budgets.give_back(charges[0], 1)
    away = [record.message for record in caplog.records]
    with _serving(tmp_path, port):
        back = await budgets.charge(actor, "", 1_000)

    await budgets.close()
    assert ([charge.remaining for charge in charges], left) == ([None, None], None)
    assert [message.partition(" can")[0] for message in away] == ["DRIFTGRAPH_BUDGET_URL"]
    assert back.remaining == 199_000
    assert caplog.records[-1].message == "DRIFTGRAPH_BUDGET_URL can be reached again."


async def test_a_ledger_that_did_not_answer_is_not_asked_until_a_pause_is_over(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, asked, ledger = 1_000.0, 0, SharedLedger(address)
    budgets, actor, add = Budgets(ledger), _actor(), ledger.add

    async def hang(key: str, window: int, amount: int) -> int:
        nonlocal asked
        asked += 1
        raise StorageError(TimeoutError())

    monkeypatch.setattr("schema.cost.budgets.time.monotonic", lambda: now)
    monkeypatch.setattr(ledger, "add", hang)
    for _ in range(3):
        assert (await budgets.charge(actor, "", 1)).remaining is None
    assert asked == 2  # both accounts, once

    monkeypatch.setattr(ledger, "add", add)
    now += PAUSE - 0.1
    assert (await budgets.charge(actor, "", 1)).remaining is None
    now += 0.2
    assert (await budgets.charge(actor, "", 1)).remaining == 200_000 - 1
    await budgets.close()


def test_attempts_are_counted_here_without_a_question_while_the_service_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, asked = 1_000.0, 0
    attempts, allowance = Attempts(f"redis://127.0.0.1:{free_port()}"), Allowance("tries", "k", 2, 1, "SETTING")

    def hang(*_: object) -> int:
        nonlocal asked
        asked += 1
        raise StorageError(TimeoutError())

    monkeypatch.setattr("backend.accounts.throttling.time.monotonic", lambda: now)
    monkeypatch.setattr(attempts._shared, "incr", hang)
    for _ in range(2):
        attempts.take(allowance)
    with pytest.raises(TooManyAttempts):
        attempts.take(allowance)
    assert asked == 1

    now += PAUSE + 0.1
    with pytest.raises(TooManyAttempts):
        attempts.take(allowance)
    assert asked == 2


def test_attempts_are_shared(address: str) -> None:
    one, other = Attempts(address), Attempts(address)
    allowance = Allowance("tries", uuid.uuid4().hex, 1, 1, "SETTING")

    one.take(allowance)
    with pytest.raises(TooManyAttempts) as refused:
        other.take(allowance)
    other.forget(allowance)

    assert (refused.value.details["is_first"], 1 <= refused.value.details["seconds"] <= 60) == (True, True)
    one.check(allowance)
