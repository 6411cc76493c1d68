"""Object types of detection runs, tests, drift events and their observations."""

import datetime
from decimal import Decimal
from typing import Any

import strawberry
import strawberry_django

from backend.core.actor import Right
from backend.drift import models
from backend.drift.models import (
    Direction,
    DriftType,
    EventStatus,
    Level,
    ReasonNotFlagged,
    RunError,
    RunKind,
    RunStatus,
    Severity,
    Source,
    Unit,
)
from backend.payers.models import Payer as PayerRow
from backend.payers.models import ProcedureGroup as ProcedureGroupRow
from schema.declarations import Conversion
from schema.declare import child_page, column, computed, dollars, figure, global_id, money, orders, suppressed, to_one
from schema.relay.connection import Connection
from schema.relay.keyset import Order
from schema.relay.node import Node
from schema.relay.pages import ListSource
from schema.small_cells import Cells, is_small
from schema.types.payers import Payer, ProcedureGroup

RUNS_READ = frozenset({Right.READ, Right.DETECT})
"""Who asks for runs sees how they ended and what they tested; the drift events that follow are for readers."""


def _failure(code: str) -> RunError | None:
    if not code:
        return None
    # A run may have been carried out by another version of the server, whose codes are not all known here.
    return RunError(code) if code in RunError.values else RunError.INTERNAL


_KNOWN_FAILURES = " ".join(f"WHEN '{code}' THEN '{code}'" for code in ("", *RunError.values))
failure = Conversion(
    _failure, lambda code: f"nullif(CASE {code} {_KNOWN_FAILURES} ELSE '{RunError.INTERNAL}' END, '')", nullable=True
)
"""The code of a failure; none where there was no failure."""


@strawberry.type(description="A procedure code that stands out in a drift event.")
class ProcedureShare:
    code: str = strawberry.field(description="Procedure code.")
    n: int = strawberry.field(description="Claims of concern in the current window or period, 11 or more.")
    n_baseline: int | None = strawberry.field(
        description="The same in the baseline; null under 11, or where it is hidden from who asks."
    )
    rate: float | None = strawberry.field(
        description="Rate in the current period, 0 to 1; null for claim lines, or where it is hidden from who asks."
    )
    baseline_rate: float | None = strawberry.field(
        description="Rate in the period before; null for claim lines, or where it is hidden from who asks."
    )


@strawberry.type(description="A denial reason that stands out in a drift event.")
class ReasonShare:
    carc: str = strawberry.field(description="Claim adjustment reason code.")
    n_current: int | None = strawberry.field(description="Denials in the current window; null under 11.")
    n_baseline: int | None = strawberry.field(
        description="Denials in the baseline; null under 11, or where it is hidden from who asks."
    )
    share: float | None = strawberry.field(description="Share of the denials shown here, 0 to 1.")


@strawberry.type(
    description="What a drift event rests on. Codes with fewer claims than 11, or than who asks may see, are left out."
)
class DriftEvidence:
    top_reason_codes: list[ReasonShare] = strawberry.field(description="Most frequent denial reasons, at most 5.")
    top_procedures: list[ProcedureShare] = strawberry.field(description="Most frequent procedure codes, at most 5.")


def _evidence(found: dict[str, Any]) -> DriftEvidence:
    """What who asks sees of it: codes of too few claims are left out, other figures of too few are null."""
    reasons = [reason for reason in found.get("reasons", []) if not is_small(reason["count"])]
    procedures = [item for item in found.get("procedures", []) if not is_small(item["count"])]
    total = sum(reason["count"] for reason in reasons)
    return DriftEvidence(
        top_reason_codes=[
            ReasonShare(
                carc=reason["code"],
                n_current=reason["count"],
                n_baseline=_large(reason.get("baseline_count")),
                share=reason["count"] / total if total else 0.0,
            )
            for reason in reasons
        ],
        top_procedures=[
            ProcedureShare(
                code=item["code"],
                n=item["count"],
                n_baseline=_large(item.get("baseline_count")),
                rate=_rate(item.get("rate"), item["count"]),
                baseline_rate=_rate(item.get("baseline_rate"), item.get("baseline_count")),
            )
            for item in procedures
        ],
    )


def _large(count: int | None) -> int | None:
    return None if count is None or is_small(count) else count


def _rate(rate: float | None, count: int | None) -> float | None:
    """The rate, unless the claims that it counts, those that it does not, or all of them are too few to be shown."""
    if rate is None or count is None:
        return rate
    concerned = round(rate * count)
    return None if any(map(is_small, (count, concerned, count - concerned))) else rate


TEST_CELLS = Cells(("n0", "n1", "x0", "x1"), parts=(("x0", "n0"), ("x1", "n1")))


@strawberry_django.type(
    models.DriftTest,
    name="DriftTest",
    description="One test of one cell by one run, also where nothing was found. Kept 90 days.",
)
class DriftTest(Node):
    id: strawberry.ID = global_id("DT", models.DriftTest, "DriftTest", right=RUNS_READ)
    drift_type: DriftType = column("What was tested.", "drift_type")
    level: Level = column("How finely.", "level")
    payer: Payer = to_one("The payer.", "payer_id", PayerRow)
    group: ProcedureGroup | None = to_one("The procedure group; null at payer level.", "group_id", ProcedureGroupRow)
    window_days: int = column("Length of the current window in days; 0 for a period against a period.", "window_days")
    suppressed: bool = suppressed(TEST_CELLS)
    n0: int | None = figure("Claims in the baseline.", "n0", TEST_CELLS)
    n1: int | None = figure("Claims in the current window.", "n1", TEST_CELLS)
    x0: int | None = figure("Of those in the baseline, how many count (denied, approved, ...).", "x0", TEST_CELLS)
    x1: int | None = figure("Of those in the current window, how many count.", "x1", TEST_CELLS)
    baseline_value: float | None = figure(
        "Rate in the baseline, 0 to 1; null without claims.", "baseline_value", TEST_CELLS
    )
    current_value: float | None = figure(
        "Rate in the current window, 0 to 1; null without claims.", "current_value", TEST_CELLS
    )
    effect: float | None = figure(
        "Mantel-Haenszel difference of rates, current less baseline; null if not testable.", "effect", TEST_CELLS
    )
    ci_low: float | None = figure("Lower end of its 95 % interval; null if not testable.", "ci_low", TEST_CELLS)
    ci_high: float | None = figure("Upper end of its 95 % interval; null if not testable.", "ci_high", TEST_CELLS)
    p_raw: float | None = figure("p-value without over-dispersion; null if not testable.", "p_raw", TEST_CELLS)
    p_adjusted: float | None = figure("p-value with over-dispersion; null if not testable.", "p_adjusted", TEST_CELLS)
    q_value: float = column("Benjamini-Hochberg q over all tests of the run; 1 if not testable.", "q_value")
    significant: bool = column(
        "Whether it is sure and large enough for a drift event, which a run that decides then opens or keeps.",
        "significant",
    )
    reason_not_flagged: ReasonNotFlagged | None = column("Why not; null if significant.", "reason_not_flagged")


DriftTestOrder = orders(
    "DriftTestOrder", Order("Q_VALUE_ASC", ("q_value",), descending=False, description="The surest first.")
)
RUN_TESTS = ListSource(
    "run.tests",
    models.DriftTest,
    models.DriftTest.objects.all,
    DriftTestOrder,
    DriftTestOrder.Q_VALUE_ASC,
    parent="run_id",
)


@strawberry_django.type(
    models.DetectionRun,
    name="DetectionRun",
    description="One execution of the detectors as of a date, over a known set of imports.",
)
class DetectionRun(Node):
    id: strawberry.ID = global_id("DR", models.DetectionRun, "DetectionRun", right=RUNS_READ)
    as_of: datetime.date = column("The last day that it looks at.", "as_of")
    kind: RunKind = column("Why it was started.", "kind")
    source: Source = column("What it looks at.", "source")
    what_if: bool = column(
        "Whether its configuration differs from the organization's own, as that was when the run was asked for. Such a"
        " run keeps its tests for reading; it opens, changes and ends no drift event, and raises no alert.",
        "what_if",
    )
    status: RunStatus = column("How far it has come.", "status")
    data_watermark: str = column("Hash of the imports and mappings that it saw.", "data_watermark")
    tests_total: int = column("Tests made, 0 or more.", "tests_total")
    tests_significant: int = column("Tests sure and large enough for a drift event.", "tests_significant")
    events_opened: int = column("Drift events first seen by it; 0 for a what-if or a back-test.", "events_opened")
    events_closed: int = column(
        "Drift events resolved or expired by it; 0 for a what-if or a back-test.", "events_closed"
    )
    q: float = column("The largest q that puts a change on the watch list.", "q")
    created_at: datetime.datetime = column("When it was asked for.", "created_at")
    started_at: datetime.datetime | None = column("When it began; null while queued.", "started_at")
    finished_at: datetime.datetime | None = column("When it ended; null until then.", "finished_at")
    error_code: RunError | None = column("Why it failed; null if it did not.", "error_code", failure)
    tests: Connection[DriftTest] = child_page("Its tests, also those without a finding.", RUN_TESTS)

    duration_ms: int | None = computed(
        "How long it took in milliseconds; null until it ended.",
        ("started_at", "finished_at"),
        lambda started, finished: int((finished - started) / datetime.timedelta(milliseconds=1)),
        lambda started, finished: f"trunc(extract(epoch FROM {finished} - {started}) * 1000)",
    )


@strawberry_django.type(
    models.DriftObservation, name="DriftObservation", description="What one run measured of a drift event."
)
class DriftObservation(Node):
    id: strawberry.ID = global_id("DO", models.DriftObservation, "DriftObservation", right=Right.READ)
    run: DetectionRun = to_one("The run.", "run_id", models.DetectionRun)
    as_of: datetime.date = column("As of which day.", "as_of")
    baseline_value: float = column("Value in the baseline, in the event's unit.", "baseline_value")
    current_value: float = column("Value in the current window, in the event's unit.", "current_value")
    delta: float = column("Current less baseline, adjusted for the mix of procedures.", "delta")
    ci_low: float = column("Lower end of the 95 % interval of delta.", "ci_low")
    ci_high: float = column("Upper end of the 95 % interval of delta.", "ci_high")
    q_value: float = column("False discovery rate at which it would be flagged, 0 to 1.", "q_value")
    severity: Severity = column("How much it mattered then.", "severity")
    severity_score: float = column("The same as a number, 0 to 1.", "severity_score")
    n0: int = column("Claims in the baseline.", "n0")
    n1: int = column("Claims in the current window.", "n1")


DriftObservationOrder = orders(
    "DriftObservationOrder", Order("AS_OF_DESC", ("as_of",), descending=True, description="The latest first.")
)
EVENT_OBSERVATIONS = ListSource(
    "event.observations",
    models.DriftObservation,
    models.DriftObservation.objects.all,
    DriftObservationOrder,
    DriftObservationOrder.AS_OF_DESC,
    parent="event_id",
)
_CHILD_SEVERITY = Order("SEVERITY_DESC", ("severity",), descending=True, description="The most severe first.")
DriftEventOrder = orders(
    "DriftEventOrder",
    Order(
        "REVENUE_AT_RISK_DESC", ("revenue_at_risk_30d_cents",), descending=True, description="Most money at risk first."
    ),
    _CHILD_SEVERITY,
    Order("FIRST_SEEN_DESC", ("first_seen_on",), descending=True, description="Latest first sight first."),
    Order("LAST_SEEN_DESC", ("last_seen_on",), descending=True, description="Latest sight first."),
)
DriftEventChildOrder = orders("DriftEventChildOrder", _CHILD_SEVERITY)
EVENTS = ListSource(
    "driftEvents",
    models.DriftEvent,
    models.DriftEvent.objects.all,
    DriftEventOrder,
    DriftEventOrder.REVENUE_AT_RISK_DESC,
)
EVENT_CHILDREN = ListSource(
    "event.children",
    models.DriftEvent,
    models.DriftEvent.objects.all,
    DriftEventChildOrder,
    DriftEventChildOrder.SEVERITY_DESC,
    parent="parent_id",
)


@strawberry_django.type(
    models.DriftEvent,
    name="DriftEvent",
    description="An episode: one payer (and procedure group) changed one thing in one direction, from first sight to"
    " resolution. Values are those of the latest run that saw it.",
)
class DriftEvent(Node):
    id: strawberry.ID = global_id("DE", models.DriftEvent, "DriftEvent", right=Right.READ)
    drift_type: DriftType = column("What changed.", "drift_type")
    source: Source = column("What it was found in.", "source")
    payer: Payer = to_one("Who changed.", "payer_id", PayerRow)
    group: ProcedureGroup | None = to_one(
        "The procedure group concerned; null where the payer as a whole changed.", "group_id", ProcedureGroupRow
    )
    direction: Direction = column("Which way the value moved.", "direction")
    harmful: bool = column("Whether the change costs the provider money.", "harmful")
    status: EventStatus = column("Where the episode stands.", "status")
    unit: Unit = column("Unit of baselineValue, currentValue and delta.", "unit")
    baseline_value: float = column("Value in the baseline, in `unit`.", "baseline_value")
    current_value: float = column("Value in the current window, in `unit`.", "current_value")
    delta: float = column("Current less baseline, adjusted for the mix of procedures, in `unit`.", "delta")
    ci_low: float = column("Lower end of the 95 % interval of delta.", "ci_low")
    ci_high: float = column("Upper end of the 95 % interval of delta.", "ci_high")
    q_value: float = column("False discovery rate at which it would be flagged, 0 to 1; smaller is surer.", "q_value")
    confidence: float = column("1 less qValue.", "confidence")
    severity: Severity = column("How much it matters, from the cautious end of the interval.", "severity")
    severity_score: float = column("The same as a number, 0 to 1.", "severity_score")
    n0: int = column("Claims in the baseline.", "n0")
    n1: int = column("Claims in the current window.", "n1")
    baseline_start: datetime.date = column("First day of the baseline.", "baseline_start")
    baseline_end: datetime.date = column("Last day of the baseline.", "baseline_end")
    current_start: datetime.date = column("First day of the current window.", "current_start")
    current_end: datetime.date = column("Last day of the current window.", "current_end")
    first_seen_on: datetime.date = column("As-of day of the first run that saw it.", "first_seen_on")
    last_seen_on: datetime.date = column("As-of day of the latest run that saw it.", "last_seen_on")
    ended_on: datetime.date | None = column(
        "As-of day of the run that ended it; null while it lasts. It ends when runs in a row show no change of at least"
        " the effect floor in its direction, or when it could not be tested for too long.",
        "ended_on",
    )
    consecutive_runs: int = column(
        "Runs in a row that saw it; 0 once one has tested it without being sure of it.", "consecutive_runs"
    )
    change_on: datetime.date | None = column(
        "The likeliest day of the change; null where periods are compared.", "change_on"
    )
    change_low_on: datetime.date | None = column("Earliest likely day of the change.", "change_low_on")
    change_high_on: datetime.date | None = column("Latest likely day of the change.", "change_high_on")
    revenue_at_risk_30d: Decimal = money(
        "Money at risk in 30 days in USD; 0 where it cannot be told.", "revenue_at_risk_30d_cents"
    )
    revenue_low_30d: Decimal = column("The same at the low end of the interval.", "revenue_low_cents", dollars)
    revenue_high_30d: Decimal = column("The same at the high end of the interval.", "revenue_high_cents", dollars)
    created_at: datetime.datetime = column("When it was first recorded.", "created_at")
    first_run: DetectionRun = to_one("The run that first saw it.", "first_run_id", models.DetectionRun)
    last_run: DetectionRun = to_one("The latest run that tested it, seen or not.", "last_run_id", models.DetectionRun)
    evidence: DriftEvidence = column("What it rests on.", "evidence", _evidence)
    parent: "DriftEvent | None" = to_one(
        "The payer-wide event that this one is part of; null if it stands alone.", "parent_id", models.DriftEvent
    )
    children: Connection["DriftEvent"] = child_page(
        "Events of procedure groups that are part of this one.", EVENT_CHILDREN
    )
    observations: Connection[DriftObservation] = child_page("The runs that saw it.", EVENT_OBSERVATIONS)


DetectionRunOrder = orders(
    "DetectionRunOrder", Order("AS_OF_DESC", ("as_of",), descending=True, description="The latest day first.")
)
RUNS = ListSource(
    "detectionRuns",
    models.DetectionRun,
    models.DetectionRun.objects.all,
    DetectionRunOrder,
    DetectionRunOrder.AS_OF_DESC,
)
