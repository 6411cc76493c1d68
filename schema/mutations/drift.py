"""Mutations of detection runs."""

import datetime
from typing import Annotated

import strawberry

from backend.core.actor import Actor, Right
from backend.drift.models import RunKind, Source
from backend.drift.runs import Overrides, detection_run_start
from schema.declare import resolver
from schema.mutations.base import MutationInput, MutationPayload, Values, carry_out
from schema.types.drift import DetectionRun


@strawberry.input(
    description="What a run does otherwise than the organization's settings. A value that differs from them makes the"
    " run a what-if, which changes no drift event and no alert."
)
class DetectionConfigInput:
    q: float | None = strawberry.field(
        default=None,
        description="The largest q of the watch list, above 0 and at most 0.5; null: the organization's. What is"
        " confirmed at once stays at 0.01.",
    )
    windows: list[int] | None = strawberry.field(
        default=None,
        description="Lengths of the current windows in days, different multiples of 7 from 7 to 84; null: 14 and 28."
        " Not for OUTCOME_COUNTS, whose windows are its periods.",
    )
    min_effect: float | None = strawberry.field(
        default=None,
        description="The least difference of rates that matters, at least 0 and below 1; null: by drift type.",
    )


@strawberry.input(description="A detection run that is asked for.")
class DetectionRunStartInput(MutationInput):
    as_of: datetime.date | None = strawberry.field(
        default=None,
        description="The last day that it looks at, from 2000-01-01 to today, or to a year ahead for OUTCOME_COUNTS,"
        " whose periods may not have ended; null: the last day of the data.",
    )
    kind: RunKind = strawberry.field(default=RunKind.MANUAL, description="Why; a BACKTEST changes no drift event.")
    source: Source = strawberry.field(default=Source.CLAIMS, description="What it looks at.")
    config: DetectionConfigInput | None = strawberry.field(
        default=None,
        description="What it does otherwise; null: nothing, as also where each value is the standard one.",
    )


@strawberry.type(description="The detection run of these inputs.")
class DetectionRunStartPayload(MutationPayload):
    detection_run: DetectionRun | None = strawberry.field(
        default=None, description="The run, QUEUED if it is new; null if the mutation failed."
    )
    created: bool = strawberry.field(
        default=False, description="Whether it is new; the same inputs over the same data give the same run."
    )


@strawberry.type
class DriftMutations:
    @resolver(
        "Asks for a detection run; a worker carries it out. One whose configuration differs from the organization's own"
        " is a what-if: its tests can be read, but it opens, changes and ends no drift event, and raises no alert.",
        right=Right.DETECT,
    )
    @staticmethod
    async def detection_run_start(
        info: strawberry.Info,
        input: Annotated[DetectionRunStartInput, strawberry.argument(description="The run.")],
    ) -> DetectionRunStartPayload:
        def work(actor: Actor) -> Values:
            config = input.config or DetectionConfigInput()
            overrides = Overrides(
                q=config.q,
                window_days=tuple(config.windows) if config.windows is not None else None,
                min_effect=config.min_effect,
            )
            run, created = detection_run_start(
                actor=actor, as_of=input.as_of, kind=input.kind, source=input.source, overrides=overrides
            )
            return {"detection_run": run, "created": created}

        return await carry_out(info, DetectionRunStartPayload, input, work)
