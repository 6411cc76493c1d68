"""What the audit trail costs: imports with and without the triggers, pages of claim lines with and without the account.

Both sides take turns in one run; a ratio is the median of the ratios of the rounds. Without, the triggers are switched
off by the owner of the tables, and the step of the execution that gives account of a read is left out.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import django

django.setup()

from django.core.management import call_command
from django.db import connections

from backend.accounts.services import organization_create
from backend.audit.models import AuditEntry
from backend.claims.services import ImportOptions, import_file
from backend.core.actor import Actor
from backend.core.tenancy import acting_for
from backend.db.reads import Reads, process_reads
from backend.db.writes import WriteThreads
from backend.ingestion.demo import write_demo_claims
from schema.context import Context
from schema.execution import engine
from schema.execution.documents import prepare

CLAIMS = "query($first: Int) { claims(first: $first) { nodes { id outcome billed decidedOn payer { name } } } }"
_TRIGGERS = "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE tgfoid = 'audit_change()'::regprocedure"


@contextmanager
def _without_triggers() -> Iterator[None]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(_TRIGGERS)
        found = cursor.fetchall()
        try:
            for table, name in found:
                cursor.execute(f'ALTER TABLE {table} DISABLE TRIGGER "{name}"')
            yield
        finally:
            for table, name in found:
                cursor.execute(f'ALTER TABLE {table} ENABLE TRIGGER "{name}"')


@contextmanager
def _without_account() -> Iterator[None]:
    async def none(*_: Any) -> None:
        return

    given = engine.give_account
    engine.give_account = none
    try:
        yield
    finally:
        engine.give_account = given


def _imported(path: Path, name: str) -> tuple[float, Actor, int]:
    """Rows a second of a file into an organization of its own, whose actor that is, and the entries that it made."""
    actor = Actor.system(organization_create(name=name).id, "benchmark")
    begin = time.perf_counter()
    rows = import_file(actor=actor, path=path, options=ImportOptions()).batch.rows_total
    seconds = time.perf_counter() - begin
    with acting_for(actor.organization_id):
        return rows / seconds, actor, AuditEntry.objects.count()


def imports(path: Path, rounds: int) -> Actor:
    """Prints rows a second; an organization that has the rows."""
    _, actor, _ = _imported(path, "first")  # what is only slow once
    pairs, entries = [], set()
    for number in range(rounds):
        audited, actor, made = _imported(path, f"with {number}")
        with _without_triggers():
            bare, _, fewer = _imported(path, f"without {number}")
        pairs.append((audited, bare))
        entries.add(made - fewer)
    _report("rows imported a second", pairs)
    print(f"entries of the triggers of one import: {', '.join(map(str, sorted(entries)))}")
    return actor


async def pages(actor: Actor, rounds: int, times: int, sizes: list[int]) -> None:
    """Prints answers a second of one client that asks for one page after the other."""
    reads, writes = process_reads(), WriteThreads(1)
    await reads.open()
    try:
        for size in sizes:
            await _rate(reads, writes, actor, size, times)  # until statements are kept
            pairs = []
            for _ in range(rounds):
                audited = await _rate(reads, writes, actor, size, times)
                with _without_account():
                    pairs.append((audited, await _rate(reads, writes, actor, size, times)))
            _report(f"pages of {size} claim lines a second", pairs)
    finally:
        writes.close()
        await reads.close()


async def _rate(reads: Reads, writes: WriteThreads, actor: Actor, size: int, times: int) -> float:
    document = prepare(CLAIMS, None)
    begin = time.perf_counter()
    for _ in range(times):
        async with reads.snapshot(actor.organization_id) as snapshot:
            context = Context(snapshot=snapshot, writes=writes, request_id="benchmark", principal=actor)
            answer = await engine.execute(document, {"first": size}, context)
        if answer.errors:
            raise answer.errors[0]
    return times / (time.perf_counter() - begin)


def _report(what: str, pairs: list[tuple[float, float]]) -> None:
    audited, bare = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    print(f"{what}: {audited:,.0f} with, {bare:,.0f} without the trail; ratio {ratio:.2f}")


def main() -> int:
    """Measures both and prints a line for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks auditing", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000, help="of the file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--times", type=int, default=300, help="answers of a round, on each side")
    arguments = parser.parse_args()
    call_command("migrate", verbosity=0)
    with tempfile.TemporaryDirectory() as folder:
        whole, path = Path(folder) / "whole.csv", Path(folder) / "claims.csv"
        write_demo_claims(whole, ends_on=date(2026, 6, 30))
        with whole.open(encoding="utf-8") as source, path.open("w", encoding="utf-8") as target:
            target.writelines(islice(source, arguments.rows + 1))
        actor = imports(path, arguments.rounds)
    with connections["owner"].cursor() as cursor:
        cursor.execute("ANALYZE")  # as autovacuum does soon after
    asyncio.run(pages(actor, arguments.rounds, arguments.times, [1, 100]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
