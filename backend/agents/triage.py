"""What people decide about a finding, and how long a suppression lasts; the decision outlives the runs."""

import uuid
from datetime import datetime

from django.utils import timezone

from backend.accounts.free_text import Screen
from backend.agents import errors
from backend.agents.checks import JUSTIFICATION
from backend.agents.models import FindingState, FindingStatus
from backend.core.actor import Actor, Right
from backend.core.errors import NotFound
from backend.core.tenancy import write

DECISIONS = frozenset({FindingStatus.OPEN, FindingStatus.ACKNOWLEDGED, FindingStatus.FIXED, FindingStatus.SUPPRESSED})


def finding_triage(
    *,
    actor: Actor,
    agent_id: uuid.UUID,
    fingerprint: bytes,
    status: FindingStatus,
    justification: str = "",
    expires_at: datetime | None = None,
) -> FindingState:
    """The state of the finding, as decided. A suppression needs a justification and may expire.

    Raises: Forbidden, NotFound, LimitExceeded, IdentifiesPerson, BadTriage, JustificationMissing,
        BadSuppressionExpiry.
    SQL: BEGIN, 3, COMMIT.
    """
    actor.require(Right.AGENTS_WRITE)
    if status not in DECISIONS:
        raise errors.BadTriage(path=("status",))
    now = timezone.now()
    justification = Screen(actor).of(JUSTIFICATION.of(justification, "justification"), "justification")
    if status is FindingStatus.SUPPRESSED and not justification:
        raise errors.JustificationMissing(path=("justification",))
    if expires_at is not None and (status is not FindingStatus.SUPPRESSED or expires_at <= now):
        raise errors.BadSuppressionExpiry(path=("expiresAt",))
    with write(actor):
        states = FindingState.objects.select_for_update(of=("self",))
        state = states.filter(agent_id=agent_id, fingerprint=fingerprint).first()
        if state is None:
            raise NotFound(path=("fingerprint",))
        state.status = status
        state.justification = justification
        state.expires_at = expires_at
        state.decided_by = actor.user_id or actor.token_id
        state.decided_at = now
        state.save(update_fields=["status", "justification", "expires_at", "decided_by", "decided_at"])
    return state


def suppressions_expire(*, actor: Actor) -> int:
    """How many suppressions of the organization ran out, and are REOPENED.

    SQL: BEGIN, 3, COMMIT.
    """
    with write(actor):
        ended = FindingState.objects.filter(status=FindingStatus.SUPPRESSED, expires_at__lte=timezone.now())
        # In one order, and never waiting: a run that is finishing reopens its own.
        ids = list(ended.order_by("id").select_for_update(skip_locked=True).values_list("id", flat=True))
        return FindingState.objects.filter(id__in=ids).update(status=FindingStatus.REOPENED, expires_at=None)
