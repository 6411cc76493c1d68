"""Emergency access: how somebody who is no member gets to an organization's data, for a reason and a time."""

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from backend.accounts import errors
from backend.accounts.ending import organization_open
from backend.accounts.free_text import Screen
from backend.accounts.models import EmergencyAccess, Membership, Organization, User
from backend.core.actor import Role
from backend.core.operators import operator_actor
from backend.core.tenancy import write

REASON_LENGTH = (10, 500)  # characters


def glass_break(
    *, organization: Organization, user: User, role: Role = Role.ADMIN, reason: str, hours: int
) -> EmergencyAccess:
    """The access, which begins now and ends by itself. An act of the platform, of no actor; its entry has the
    account of the operating system that runs it as its request.

    `memberships_of` in the database, which every request with a session asks, finds it until it ends. The row stays.

    Raises:
        BadReason, IdentifiesPerson, BadHours, NotForPeople: of the input.
        AlreadyMember: there is nothing to break.
        OrganizationEnds: nor is there soon.
    SQL: BEGIN, 1 for the organization, 4 or 5, COMMIT.
    """
    shortest, longest = REASON_LENGTH
    text, limit = reason.strip(), settings.ENVIRONMENT.break_glass_hours
    if not shortest <= len(text) <= longest or not text.isprintable():
        raise errors.BadReason(shortest=shortest, longest=longest, path=("reason",))
    if not 1 <= hours <= limit:
        raise errors.BadHours(limit=limit, path=("hours",))
    if role is Role.SERVICE:
        raise errors.NotForPeople(path=("role",))
    actor = operator_actor(organization.id, "break_glass")
    text = Screen(actor).of(text, "reason")
    with write(actor):
        organization_open(organization.id)
        if Membership.objects.filter(user=user).exists():
            raise errors.AlreadyMember
        return EmergencyAccess.objects.create(
            organization=organization,
            user=user,
            role=role,
            reason=text,
            expires_at=timezone.now() + timedelta(hours=hours),
        )
