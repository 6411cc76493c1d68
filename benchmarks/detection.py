"""How well and how fast weekly detection finds known changes: imports a file of claims, detects week by week, compares.

The truth file is JSON: {"injected": [{"type", "payer", "group" or null, "changed_on"}]}. An event is that of a change
whose type, payer and group fit, unless it was seen before; on the watch list it is no false alarm until confirmed.
"""

import argparse
import json
import statistics
import time
import uuid
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import django

django.setup()

from django.core.management import call_command

from backend.accounts.services import organization_create
from backend.alerts.pipeline import detect
from backend.claims.services import ImportOptions, import_file
from backend.core.actor import Actor
from backend.core.tenancy import acting_for
from backend.drift.models import DriftEvent, RunKind
from backend.drift.runs import detection_run_start

RATE_TYPES = {"DENIAL_RATE", "APPROVAL_RATE", "AUTH_FAILURE_RATE"}
FIRST, LAST = date(2025, 5, 26), date(2025, 11, 2)


@dataclass
class Sighting:
    """An event that was confirmed, with the as-of date of the first run after which it was."""

    event_id: uuid.UUID
    drift_type: str
    payer: str
    group: str | None
    direction: str
    harmful: bool
    first_seen_on: date
    confirmed_on: date | None = None

    def shows(self, change: dict[str, Any]) -> bool:
        """Whether it is the injected change: same type and payer, its group or the whole payer, not before it."""
        return (
            self.harmful
            and (self.drift_type, self.payer) == (change["type"], change["payer"])
            and (self.group is None or change["group"] is None or self.group == change["group"])
            and self.first_seen_on >= date.fromisoformat(change["changed_on"])
        )

    def follows_from(self, change: dict[str, Any]) -> bool:
        """Whether it is the shadow of one: refused authorizations are denials of the same payer."""
        return (
            change["type"] == "AUTH_FAILURE_RATE"
            and (self.drift_type, self.payer) == ("DENIAL_RATE", change["payer"])
            and self.harmful
            and self.first_seen_on >= date.fromisoformat(change["changed_on"])
        )


def watch(actor: Actor, first: date, last: date) -> tuple[list[Sighting], list[float]]:
    """The events of weekly runs and the seconds that each run took."""
    seen: dict[uuid.UUID, Sighting] = {}
    seconds = []
    for offset in range(0, (last - first).days + 1, 7):
        day = first + timedelta(days=offset)
        started = time.perf_counter()
        run, _ = detection_run_start(actor=actor, as_of=day, kind=RunKind.SCHEDULED, queue=False)
        detect(actor=actor, run_id=run.id)
        seconds.append(time.perf_counter() - started)
        with acting_for(actor.organization_id):
            for event in DriftEvent.objects.select_related("payer", "group").order_by("id"):
                sighting = seen.setdefault(
                    event.id,
                    Sighting(
                        event.id, event.drift_type, event.payer.name, event.group and event.group.code,
                        event.direction, event.harmful, event.first_seen_on,
                    ),
                )  # fmt: skip
                if event.status == "CONFIRMED" and sighting.confirmed_on is None:
                    sighting.confirmed_on = day
    return list(seen.values()), seconds


def report(seen: list[Sighting], injected: list[dict[str, Any]]) -> None:
    """Prints injected changes with found or not and the delay, then what was confirmed without cause."""
    rates = [change for change in injected if change["type"] in RATE_TYPES]
    print(
        f"\n{'type':18} {'payer':9} {'group':5} {'changed':10}  {'seen':>5} {'confirmed':>9}  (days after the change)"
    )
    for change in sorted(rates, key=lambda change: change["changed_on"]):
        changed = date.fromisoformat(change["changed_on"])
        matches = [sighting for sighting in seen if sighting.shows(change)]
        first = min((s.first_seen_on for s in matches), default=None)
        sure = min((s.confirmed_on for s in matches if s.confirmed_on), default=None)
        delays = [str((day - changed).days) if day else "never" for day in (first, sure)]
        place = f"{change['type']:18} {change['payer']:9} {change['group'] or 'all':5} {changed}"
        print(f"{place}  {delays[0]:>5} {delays[1]:>9}")
    confirmed = [sighting for sighting in seen if sighting.confirmed_on]
    real = [s for s in confirmed if any(s.shows(change) for change in rates)]
    shadows = [s for s in confirmed if s not in real and any(s.follows_from(change) for change in rates)]
    false = [s for s in confirmed if s not in real and s not in shadows]
    print(f"\nconfirmed events: {len(confirmed)}")
    print(f"of injected changes {len(real)}, their shadows {len(shadows)}, false {len(false)}")
    for s in false:
        print(f"  false: {s.drift_type} {s.payer} {s.group or 'all'} {s.direction} seen {s.first_seen_on}")
    print(f"on the watch list alone: {len(seen) - len(confirmed)}")


def main() -> None:
    """Imports, detects, reports."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks detection", description=__doc__)
    parser.add_argument("--claims", type=Path, required=True)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--from", dest="first", type=date.fromisoformat, default=FIRST)
    parser.add_argument("--to", dest="last", type=date.fromisoformat, default=LAST)
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    organization = organization_create(name=f"benchmark {uuid.uuid4()}")
    actor = Actor.system(organization.id, "benchmark")
    started = time.perf_counter()
    batch = import_file(actor=actor, path=options.claims, options=ImportOptions()).batch
    print(f"import: {batch.status}, {batch.rows_accepted:,} rows in {time.perf_counter() - started:.1f} s")
    seen, seconds = watch(actor, options.first, options.last)
    report(seen, json.loads(options.truth.read_text())["injected"])
    print(f"runs: {len(seconds)}, median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s")


if __name__ == "__main__":
    main()
