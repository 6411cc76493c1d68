"""Mutations of detection runs."""

import datetime
from typing import Annotated

import strawberry

from backend.core.actor import Actor, Right
from backend.drift.models import RunKind, Source
from backend.drift.runs import Overrides
from backend.drift.services import detection_run_start
from schema.declare import resolver
from schema.mutations.base import MutationInput, MutationPayload, Values, carry_out
from schema.types.drift import DetectionRun


@strawberry.input(description="What a run does otherwise than the organization's settings.")
class DetectionConfigInput:
    q: float | None = strawberry.field(
        default=None, description="The largest q of the watch list, between 0.01 and 0.5; null: the organization's."
    )
    windows: list[int] | None = strawberry.field(
        default=None, description="Lengths of the current windows in days, multiples of 7; null: 14 and 28."
    )
    min_effect: float | None = strawberry.field(
        default=None, description="The least difference of rates that matters, 0 to 1; null: by drift type."
    )


@strawberry.input(description="A detection run that is asked for.")
class DetectionRunStartInput(MutationInput):
    as_of: datetime.date | None = strawberry.field(
        default=None, description="The last day that it looks at, not in the future; null: the last day of the data."
    )
    kind: RunKind = strawberry.field(default=RunKind.MANUAL, description="Why; a BACKTEST changes no drift event.")
    source: Source = strawberry.field(default=Source.CLAIMS, description="What it looks at.")
    config: DetectionConfigInput | None = strawberry.field(
        default=None, description="What it does otherwise; null: nothing."
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
    @resolver("Asks for a detection run; a worker carries it out.", right=Right.DETECT)
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
