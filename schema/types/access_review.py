"""The review of who looked at claim lines, in aggregates over the audit trail."""

import datetime
import math
import uuid
from typing import Any

import strawberry
from django.conf import settings
from django.utils import timezone

from backend.audit.models import AuditEntry
from backend.claims.access_review import ACCESS_REVIEW, BULK, CLOSES, EMERGENCIES, MAX_ACTORS, OPENS, ActorAccess
from backend.core.actor import Role
from backend.core.errors import BadUserInput, LimitExceeded
from schema.context import Context
from schema.protection import Protection
from schema.relay.ids import encode_id
from schema.scalars import BigIntValue

_USUAL_DAYS = 30
_FIRST_MOMENT = datetime.datetime.min.replace(tzinfo=datetime.UTC)


class PeriodEndsFirst(BadUserInput):
    """The period of a review must begin before it ends."""


@strawberry.input(description="The period of an access review.")
class AccessReviewFilter:
    from_: datetime.datetime | None = strawberry.field(
        name="from", default=None, description=f"Its begin; null: {_USUAL_DAYS} days before its end."
    )
    to: datetime.datetime | None = strawberry.field(
        default=None, description="Its end, which is no part of it; null: the end of today, UTC."
    )


@strawberry.type(
    description="What one person, or one API token, did in the period. An operation counts once, whatever it asked for."
)
class ActorReview:
    actor: strawberry.ID | None = strawberry.field(description="Opaque id of the person; null: a program.")
    token: strawberry.ID | None = strawberry.field(description="Opaque id of the API token; null without one.")
    name: str = strawberry.field(
        description="E-mail address of the person, or name of the token; empty if neither is known any more."
    )
    role: Role | None = strawberry.field(description="The latest role; null where none is known.")
    reads: int = strawberry.field(description="Operations that showed claim lines, or asked for them and found none.")
    rows: BigIntValue = strawberry.field(description="Claim lines that they showed, each as often as it was shown.")
    claims: int = strawberry.field(
        description=f"Different claim lines among them, where their entries name them: not those of reads of more than"
        f" {BULK}."
    )
    patients: int = strawberry.field(
        description="Different patients of those claim lines, where imports keep a reference; lines deleted since have"
        " none."
    )
    bulk_reads: int = strawberry.field(description=f"Operations that showed more than {BULK} claim lines.")
    out_of_hours_share: float | None = strawberry.field(
        description=f"Share of the reads at weekends, before {OPENS:02d}:00 or from {CLOSES}:00 on by the"
        " organization's time zone, 0 to 1; null without reads."
    )
    refusals: int = strawberry.field(description="Operations that were refused something, or lacked a purpose.")
    last_seen_at: datetime.datetime = strawberry.field(description="The latest entry of any kind in the period.")


@strawberry.type(description="That somebody who is no member was given access for a time by the platform.")
class EmergencyAccess:
    actor: strawberry.ID = strawberry.field(description="Opaque id of the person.")
    name: str = strawberry.field(description="E-mail address of the person.")
    role: Role = strawberry.field(description="The role while it lasted.")
    reason: str = strawberry.field(description="Why.")
    begins_at: datetime.datetime = strawberry.field(name="from", description="When it began.")
    ends_at: datetime.datetime = strawberry.field(name="to", description="When it ended, or will.")


@strawberry.type(
    description="Who looked at claim lines in a period: aggregates over the entries that auditEntries has."
)
class AccessReview:
    begins_at: datetime.datetime = strawberry.field(name="from", description="Begin of the period.")
    ends_at: datetime.datetime = strawberry.field(name="to", description="Its end, which is no part of it.")
    actor_count: int = strawberry.field(description="How many persons and tokens did anything in the period.")
    failed_sign_ins: int = strawberry.field(description="Log-ins that failed with accounts of members.")
    actors: list[ActorReview] = strawberry.field(
        description=f"Those who were shown most claim lines, at most {MAX_ACTORS}; then by refusals."
    )
    emergency_access: list[EmergencyAccess] = strawberry.field(
        description="Access that people who are no members had in the period, the latest first; at most 100."
    )


Protection.summarise("AccessReview", AuditEntry)


async def access_review(context: Context, wanted: AccessReviewFilter | None) -> AccessReview:
    """The review of a period.

    Raises:
        PeriodEndsFirst: it is empty.
        LimitExceeded: it has more days than DRIFTGRAPH_MAX_REVIEW_DAYS.

    SQL: 2.
    """
    begins_at, ends_at = _period(wanted)
    rows = await context.snapshot.rows(ACCESS_REVIEW, [begins_at, ends_at])
    found = [ActorAccess(*row) for row in rows]  # one at least
    emergencies = await context.snapshot.rows(EMERGENCIES, [ends_at, begins_at])
    return AccessReview(
        begins_at=begins_at,
        ends_at=ends_at,
        actor_count=found[0].actors,
        failed_sign_ins=found[0].failed_sign_ins,
        actors=[_review(one, one.last_seen_at) for one in found if one.last_seen_at is not None],
        emergency_access=[_emergency(*row) for row in emergencies],
    )


def _period(wanted: AccessReviewFilter | None) -> tuple[datetime.datetime, datetime.datetime]:
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    ends_at = (wanted.to if wanted else None) or today + datetime.timedelta(days=1)
    begins_at = wanted.from_ if wanted else None
    if begins_at is None:
        begins_at = ends_at - min(datetime.timedelta(days=_USUAL_DAYS), ends_at - _FIRST_MOMENT)
    if not begins_at < ends_at:
        raise PeriodEndsFirst(path=("filter", "from"))
    days, limit = math.ceil((ends_at - begins_at) / datetime.timedelta(days=1)), settings.ENVIRONMENT.max_review_days
    if days > limit:
        raise LimitExceeded(
            what="The period of a review in days",
            actual=days,
            limit=limit,
            setting="DRIFTGRAPH_MAX_REVIEW_DAYS",
            path=("filter", "from"),
        )
    return begins_at, ends_at


def _review(one: ActorAccess, last_seen_at: datetime.datetime) -> ActorReview:
    return ActorReview(
        actor=_id("US", one.actor_id),
        token=_id("TK", one.token_id),
        name=one.name,
        role=Role(one.role) if one.role else None,
        reads=one.reads,
        rows=BigIntValue(one.rows),
        claims=one.claims,
        patients=one.patients,
        bulk_reads=one.bulk_reads,
        out_of_hours_share=one.strange_reads / one.reads if one.reads else None,
        refusals=one.refusals,
        last_seen_at=last_seen_at,
    )


def _emergency(key: uuid.UUID, email: str, role: str, reason: str, *period: datetime.datetime) -> EmergencyAccess:
    return EmergencyAccess(
        actor=strawberry.ID(encode_id("US", key)),
        name=email,
        role=Role(role),
        reason=reason,
        begins_at=period[0],
        ends_at=period[1],
    )


def _id(tag: str, key: Any) -> strawberry.ID | None:
    return strawberry.ID(encode_id(tag, key)) if key else None
