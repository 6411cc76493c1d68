"""What the benchmarks measure: one file in, one detection run, first and deep pages, on a fresh embedded database."""

import argparse
import asyncio
import json
import resource
import statistics
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import django

django.setup()

from django.core.management import call_command

from backend.accounts.services import organization_create
from backend.alerts.pipeline import detect
from backend.claims.services import ImportOptions, import_file
from backend.core.actor import Actor
from backend.db.reads import Reads, process_reads
from backend.db.writes import WriteThreads
from backend.drift.runs import detection_run_start
from backend.ingestion.demo import write_demo_claims
from schema.build import build_schema
from schema.context import Context

RESULTS = Path(__file__).parent / "results" / "measures.json"
PAGE = 100
DEEP_PAGE = 900
ROUNDS = 15
MILLISECONDS = 1000

CLAIMS = """query($first: Int, $after: String) { claims(first: $first, after: $after) {
  nodes { id outcome billed decidedOn } pageInfo { endCursor hasNextPage } } }"""
EVENTS = "{ driftEvents(first: 50) { nodes { id driftType payer { name } group { code } delta } } }"


class Measures:
    """One organization, made for the purpose."""

    def __init__(self, folder: Path, claims: Path | None) -> None:
        call_command("migrate", verbosity=0)
        self._claims = claims or self._made_up(folder)
        self._actor = Actor.system(organization_create(name="benchmark").id, "benchmark")

    @staticmethod
    def _made_up(folder: Path) -> Path:
        path = folder / "claims.csv"
        write_demo_claims(path, ends_on=date(2026, 6, 30))
        return path

    def all(self) -> dict[str, Any]:
        """Every figure by its name; the unit is its last part."""
        figures = {**self._import(), **self._detection()}
        return {**figures, **asyncio.run(self._pages())}

    def _import(self) -> dict[str, Any]:
        begin = time.perf_counter()
        outcome = import_file(actor=self._actor, path=self._claims, options=ImportOptions())
        seconds = time.perf_counter() - begin
        begin = time.perf_counter()
        again = import_file(actor=self._actor, path=self._claims, options=ImportOptions())
        return {
            "import_rows": outcome.batch.rows_total,
            "import_s": seconds,
            "import_again_s": time.perf_counter() - begin,
            "import_again_same_batch": again.batch.id == outcome.batch.id,
        }

    def _detection(self) -> dict[str, Any]:
        run, _ = detection_run_start(actor=self._actor, queue=False)
        begin = time.perf_counter()
        finished, _ = detect(actor=self._actor, run_id=run.id)
        return {"detection_s": time.perf_counter() - begin, "detection_tests": finished.tests_total}

    async def _pages(self) -> dict[str, Any]:
        reads = process_reads()
        await reads.open()
        writes = WriteThreads(1)
        try:
            deep = await self._cursor(reads, writes, DEEP_PAGE)
            first_ms, deep_ms = [], []
            for _ in range(ROUNDS):  # in turn, so that a busy machine slows both
                first_ms.append((await self._timed(reads, writes, CLAIMS, {"first": PAGE}))[0])
                deep_ms.append((await self._timed(reads, writes, CLAIMS, {"first": PAGE, "after": deep}))[0])
            _, _, statements = await self._timed(reads, writes, EVENTS, {})
        finally:
            writes.close()
            await reads.close()
        return {
            "page_first_ms": statistics.median(first_ms),
            "page_deep_ms": statistics.median(deep_ms),
            "page_deep_over_first": statistics.median(d / f for d, f in zip(deep_ms, first_ms, strict=True)),
            "drift_events_statements": statements,
        }

    async def _cursor(self, reads: Reads, writes: WriteThreads, pages: int) -> str | None:
        """The cursor before the page of that number, or before the last one there is."""
        cursor = None
        for _ in range(pages - 1):
            _, data, _ = await self._timed(reads, writes, CLAIMS, {"first": PAGE, "after": cursor})
            if not data["claims"]["pageInfo"]["hasNextPage"]:
                break
            cursor = data["claims"]["pageInfo"]["endCursor"]
        return cursor

    async def _timed(
        self, reads: Reads, writes: WriteThreads, document: str, variables: dict[str, Any]
    ) -> tuple[float, Any, int]:
        begin = time.perf_counter()
        async with reads.snapshot(self._actor.organization_id) as snapshot:
            context = Context(snapshot=snapshot, writes=writes, request_id="benchmark", principal=self._actor)
            result = await build_schema().execute(document, variable_values=variables, context_value=context)
            statements = len(snapshot.statements)
        if result.errors:
            raise result.errors[0]
        return (time.perf_counter() - begin) * MILLISECONDS, result.data, statements


def main() -> int:
    """Runs everything and prints a table; the same figures go to benchmarks/results/measures.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks measures", description=__doc__)
    parser.add_argument("--claims", type=Path, help="a CSV of claim outcomes; without it a year of made-up claims")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = Measures(Path(folder), arguments.claims).all()
    figures["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for name, value in figures.items():
        print(f"{name:32} {value:12.2f}" if isinstance(value, float) else f"{name:32} {value:>12}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
