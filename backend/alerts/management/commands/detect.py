"""`manage.py detect`: runs detection for one organization in this process and shows what came of it."""

import time
from datetime import date, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from backend.accounts.selectors import organization_named
from backend.alerts.pipeline import detect
from backend.alerts.services import AlertsEvaluated
from backend.claims.models import OutcomeCount
from backend.core.actor import Actor
from backend.core.errors import AppError
from backend.core.tenancy import acting_for
from backend.drift.models import DetectionRun, RunKind, Source
from backend.drift.runs import Overrides, detection_run_start

SOURCES = {"claims": Source.CLAIMS, "outcome-counts": Source.OUTCOME_COUNTS}


class Command(BaseCommand):
    """One run, or one run per week (or other step) of a span."""

    help = (
        "Runs drift detection for an organization, as of one date or week by week over a span. A run with a --q or"
        " --min-effect of its own is a what-if: it stores tests, and changes neither events nor alerts."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """What to look at, as of when, and how strictly."""
        parser.add_argument("--organization", required=True, help="its name")
        parser.add_argument("--as-of", type=date.fromisoformat, help="YYYY-MM-DD; default: the last date of the data")
        parser.add_argument("--from", dest="first", type=date.fromisoformat, help="first as-of date of a span")
        parser.add_argument("--to", dest="last", type=date.fromisoformat, help="last as-of date of a span")
        parser.add_argument("--every", type=int, default=7, help="days between the runs of a span (default 7)")
        parser.add_argument("--source", choices=sorted(SOURCES), default="claims")
        parser.add_argument("--q", type=float, help="largest q of the watch list (default: organization's)")
        parser.add_argument(
            "--min-effect", type=float, help="smallest change worth an event, as a fraction (default: by type)"
        )
        parser.add_argument("--backtest", action="store_true", help="store tests only; open and close no events")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Detects.

        Raises:
            CommandError: a date, name or threshold is not valid.
        """
        try:
            actor = Actor.system(organization_named(options["organization"]).id, "command:detect")
            days = _as_of_days(actor, options)
            rows = _run_all(actor, days, options)
        except AppError as error:
            raise CommandError(error.message) from None
        Console().print(_summary(rows))


def _as_of_days(actor: Actor, options: dict[str, Any]) -> list[date | None]:
    first, last, every = options["first"], options["last"], options["every"]
    if first is None and last is None:
        return [options["as_of"]]
    if first is None or last is None or options["as_of"] is not None or every < 1 or last < first:
        raise CommandError("Give --as-of, or --from and --to in this order with --every of at least 1 day.")
    if SOURCES[options["source"]] is Source.CLAIMS:
        return [first + timedelta(days=offset) for offset in range(0, (last - first).days + 1, every)]
    with acting_for(actor.organization_id):
        ends = OutcomeCount.objects.filter(superseded_at=None, period_end__range=(first, last))
        return list(ends.order_by("period_end").values_list("period_end", flat=True).distinct())


def _run_all(
    actor: Actor, days: list[date | None], options: dict[str, Any]
) -> list[tuple[DetectionRun, AlertsEvaluated, float]]:
    rows = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("detection", total=len(days))
        for day in days:
            started = time.perf_counter()
            run, _ = detection_run_start(
                actor=actor,
                as_of=day,
                kind=RunKind.BACKTEST if options["backtest"] else RunKind.MANUAL,
                source=SOURCES[options["source"]],
                overrides=Overrides(q=options["q"], min_effect=options["min_effect"]),
                queue=False,
            )

            def tell(step: str, as_of: date = run.as_of) -> None:
                bar.update(task, description=f"{as_of} {step}")

            run, alerts = detect(actor=actor, run_id=run.id, progress=tell)
            rows.append((run, alerts, time.perf_counter() - started))
            bar.advance(task)
    return rows


def _summary(rows: list[tuple[DetectionRun, AlertsEvaluated, float]]) -> Table:
    table = Table()
    for heading in ("as of", "status"):
        table.add_column(heading, no_wrap=True)
    for heading in ("tests", "signals", "opened", "closed", "alerts", "s"):
        table.add_column(heading, justify="right")
    for run, alerts, seconds in rows:
        counts = (run.tests_total, run.tests_significant, run.events_opened, run.events_closed, alerts.raised)
        table.add_row(
            str(run.as_of),
            f"{run.status}{' (what-if)' if run.what_if else ''}",
            *(f"{count:,}" for count in counts),
            f"{seconds:.2f}",
        )
    return table
