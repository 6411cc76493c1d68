"""Writes of organizations, members and API tokens; how a token or session is recognised is in authentication.py."""

import hashlib
import secrets
import uuid
import zoneinfo
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils import timezone

from backend.accounts import errors
from backend.accounts.ending import organization_open
from backend.accounts.free_text import Screen
from backend.accounts.models import ApiToken, Membership, Organization, User
from backend.accounts.signals import organization_created
from backend.audit.door import ACCOUNT_CHANGE
from backend.core.actor import SERVICE_SCOPES, Actor, Right, Role, SmallCells
from backend.core.errors import Forbidden, NotFound
from backend.core.tenancy import acting_for, write
from backend.detection.config import LARGEST_Q

TOKEN_PREFIX = "dg_"  # noqa: S105 - makes a leaked token recognisable
SECRET_BYTES = 32
MAX_TOKEN_DAYS = 366
NAME_LENGTH = 120
_LARGEST_INTEGER = 2**31 - 1  # of a column
_OF_A_MACHINE = "localtime"  # in the list of some systems; PostgreSQL does not know it


def _name(text: str, what: str) -> str:
    name = text.strip()
    if not name or len(name) > NAME_LENGTH or not name.isprintable():
        raise errors.BadName(what=what, limit=NAME_LENGTH, path=("name",))
    return name


def secret_hash(secret: str) -> bytes:
    """The 32 bytes under which a secret is known.

    A plain hash is enough: the secret has 256 random bits, so it cannot be guessed from the hash.
    """
    return hashlib.sha256(secret.encode()).digest()


def user_ensure(*, email: str, name: str = "") -> User:
    """The person of an e-mail address, made without a password if there was none.

    Raises: BadEmail.
    SQL: 1, or 4 for a new person.
    """
    address = User.normalize_username(email)
    try:
        validate_email(address)
    except ValidationError:
        raise errors.BadEmail(path=("email",)) from None
    fresh = User(email=address, name=name)
    fresh.set_unusable_password()
    return User.objects.get_or_create(email=address, defaults={"name": name, "password": fresh.password})[0]


def organization_create(*, name: str, owner_email: str | None = None, timezone_name: str = "UTC") -> Organization:
    """A new organization, with its first owner when an e-mail address is given. An act of the platform, of no actor.

    Raises: BadName, BadEmail, BadTimezone, OrganizationExists.
    """
    organization = Organization(name=name, timezone=timezone_name)
    organization_check(organization)
    with acting_for(organization.id):
        try:
            with transaction.atomic():
                organization.save(force_insert=True)
        except IntegrityError as error:
            raise errors.OrganizationExists(path=("name",)) from error
        if owner_email is not None:
            owner = user_ensure(email=owner_email)
            Membership.objects.create(organization=organization, user=owner, role=Role.OWNER)
        organization_created.send(Organization, actor=Actor.system(organization.id, "organization_create"))
    return organization


def organization_check(organization: Organization) -> None:
    """Lets settings pass that the product can work with, the name without blanks around it; writes nothing.

    Raises: BadName, BadTimezone, BadRetention, BadThreshold, BadSeverityLift, BadSmallCells,
            BadSmallCellMinimum; the path is the name of the field.
    """
    organization.name = _name(organization.name, "name of an organization")
    if organization.timezone not in zoneinfo.available_timezones() - {_OF_A_MACHINE}:
        raise errors.BadTimezone(path=("timezone",))
    if not organization.retention_days > 0:
        raise errors.BadRetention(path=("retention_days",))
    if not 0 < organization.fdr_q <= LARGEST_Q:
        raise errors.BadThreshold(largest=LARGEST_Q, path=("fdr_q",))
    if not organization.severity_lift_cents > 0:
        raise errors.BadSeverityLift(path=("severity_lift_cents",))
    if organization.small_cells not in SmallCells.__members__:
        raise errors.BadSmallCells(path=("small_cells",))
    least, minimum = settings.ENVIRONMENT.small_cell_minimum, organization.small_cell_minimum
    if minimum is not None and not least <= minimum <= _LARGEST_INTEGER:
        raise errors.BadSmallCellMinimum(least=least, path=("small_cell_minimum",))


def organization_change(*, actor: Actor, organization: Organization) -> None:
    """Stores the changed settings of the actor's organization; how long claims are kept is its owners' to say.

    Raises: Forbidden, OutOfReach (another organization), RetentionOfOwners; as organization_check; OrganizationExists,
            OrganizationEnds.
    SQL: BEGIN, 5 or 6 (a savepoint's 2 among them), COMMIT.
    """
    actor.require(Right.MEMBERS)
    if organization.id != actor.organization_id:
        raise errors.OutOfReach
    organization_check(organization)
    with write(actor):
        organization_open(organization.id)
        before = Organization.objects.only("retention_days").get(id=organization.id)
        if organization.retention_days != before.retention_days and Right.ORGANIZATION not in actor.rights:
            raise errors.RetentionOfOwners(path=("retention_days",))
        try:
            with transaction.atomic():
                organization.save(force_update=True)
        except IntegrityError as error:
            raise errors.OrganizationExists(path=("name",)) from error


def _rights_of_token(role: Role, scopes: Iterable[Right | str]) -> frozenset[Right]:
    allowed = SERVICE_SCOPES if role is Role.SERVICE else Actor(organization_id=uuid.UUID(int=0), role=role).rights
    chosen = set()
    for scope in scopes:
        if scope not in allowed:
            known = scope if scope in set(Right) else "This"
            names = ", ".join(sorted(allowed))
            raise errors.BadScope(scope=known, role=role.value, allowed=names, path=("scopes",))
        chosen.add(Right(scope))
    if not chosen and role is Role.SERVICE:
        raise errors.NoScopes(path=("scopes",))
    return frozenset(chosen) or allowed


def _by_emergency(actor: Actor, members: Collection[uuid.UUID]) -> bool:
    """Whether a person acts who is no member, though there are some."""
    return actor.user_id is not None and bool(members) and actor.user_id not in members


def token_create(
    *,
    actor: Actor,
    name: str,
    role: Role = Role.SERVICE,
    scopes: Iterable[Right | str] = (),
    expires_at: datetime,
) -> tuple[ApiToken, str]:
    """The new token and its secret ("dg_" and 43 characters), which exists nowhere else: only its SHA-256 is kept.

    Without scopes a token of a person's role has all rights of that role.

    Raises:
        Forbidden: no right to manage members; OwnersOnly, MoreThanYouHave, NotByEmergency.
        BadUserInput: BadName, IdentifiesPerson, BadScope, NoScopes, BadExpiry.
        TokenNameTaken: names are unique in an organization.
        OrganizationEnds: it is being deleted.
    """
    actor.require(Right.MEMBERS)
    if role is Role.OWNER and actor.role is not Role.OWNER:
        raise errors.OwnersOnly(path=("role",))
    rights = _rights_of_token(role, scopes)
    if not rights <= actor.rights:
        raise errors.MoreThanYouHave(path=("scopes",))
    now = timezone.now()
    if not now < expires_at <= now + timedelta(days=MAX_TOKEN_DAYS):
        raise errors.BadExpiry(limit=MAX_TOKEN_DAYS, path=("expiresAt",))
    secret = TOKEN_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    token = ApiToken(
        organization_id=actor.organization_id,
        name=Screen(actor).of(_name(name, "name of a token"), "name", with_names=False),
        hash=secret_hash(secret),
        role=role,
        scopes=sorted(rights),
        created_by_id=actor.user_id,
        expires_at=expires_at,
    )
    with write(actor):
        if _by_emergency(actor, _lock_members(actor)):
            raise errors.NotByEmergency
        try:
            with transaction.atomic():
                token.save(force_insert=True)
        except IntegrityError as error:
            raise errors.TokenNameTaken(path=("name",)) from error
    return token, secret


def token_revoke(*, actor: Actor, token_id: uuid.UUID) -> ApiToken:
    """The token, which no longer lets anybody in; a second call changes nothing.

    Raises: Forbidden, OwnersOnly, NotFound.
    """
    actor.require(Right.MEMBERS)
    with write(actor):
        token = ApiToken.objects.select_for_update().filter(id=token_id).first()
        if token is None:
            raise NotFound
        if token.role == Role.OWNER and actor.role is not Role.OWNER:
            raise errors.OwnersOnly
        if token.revoked_at is None:
            token.revoked_at = timezone.now()
            token.save(update_fields=["revoked_at"])
    return token


def _lock_members(actor: Actor) -> dict[uuid.UUID, Membership]:
    """The memberships by user, with every other change of members waiting: two owners must not leave at once.

    Raises: Forbidden, if the actor has another role by now; OrganizationEnds.
    """
    organization_open(actor.organization_id)
    found = {membership.user_id: membership for membership in Membership.objects.all()}
    own = found.get(actor.user_id) if actor.user_id else None
    if own is not None and own.role != actor.role:
        raise Forbidden
    return found


def _check_owners(actor: Actor, members: dict[uuid.UUID, Membership], user_id: uuid.UUID, role: Role | None) -> None:
    before = members.get(user_id)
    was_owner = before is not None and before.role == Role.OWNER
    if (was_owner or role is Role.OWNER) and actor.role is not Role.OWNER:
        raise errors.OwnersOnly(path=("role",))
    others = any(member.role == Role.OWNER for key, member in members.items() if key != user_id)
    if was_owner and role is not Role.OWNER and not others:
        raise errors.LastOwner


def membership_set(*, actor: Actor, user_id: uuid.UUID, role: Role) -> Membership:
    """The person's membership, with this role; an ADMIN may neither make nor change an OWNER.

    Tokens that the person has made, and that may do more than the role, are revoked.

    Raises: Forbidden, OwnersOnly, NotByEmergency, NotForPeople, LastOwner, NotFound (no such person), OrganizationEnds.
    """
    actor.require(Right.MEMBERS)
    if role is Role.SERVICE:
        raise errors.NotForPeople(path=("role",))
    with write(actor):
        members = _lock_members(actor)
        _check_owners(actor, members, user_id, role)
        if user_id == actor.user_id and _by_emergency(actor, members):
            raise errors.NotByEmergency
        if not User.objects.filter(id=user_id).exists():
            raise NotFound
        membership = members.get(user_id) or Membership(organization_id=actor.organization_id, user_id=user_id)
        membership.role = role
        membership.save()
        _tokens_end(user_id, beyond=Actor(organization_id=actor.organization_id, role=role).rights)
    return membership


def membership_remove(*, actor: Actor, user_id: uuid.UUID) -> None:
    """Ends the person's membership, and revokes the tokens that the person has made.

    Raises: Forbidden, OwnersOnly, LastOwner, NotFound (no such member), OrganizationEnds.
    """
    actor.require(Right.MEMBERS)
    with write(actor):
        members = _lock_members(actor)
        _check_owners(actor, members, user_id, None)
        if user_id not in members:
            raise NotFound
        members[user_id].delete()
        _tokens_end(user_id)


def tokens_end(*, user_id: uuid.UUID, organizations: Iterable[uuid.UUID], by: uuid.UUID | None) -> None:
    """Revokes the tokens that a person has made in these organizations, whose account is closed by somebody.

    SQL: 3 for each organization.
    """
    for organization_id in organizations:
        with write(replace(Actor.system(organization_id, ACCOUNT_CHANGE), user_id=by)):
            _tokens_end(user_id)


def _tokens_end(user_id: uuid.UUID, *, beyond: frozenset[Right] = frozenset()) -> None:
    """Revokes the tokens that the person has made in the organization, or those of them that may do more."""
    made = ApiToken.objects.filter(created_by_id=user_id, revoked_at=None)
    made.exclude(scopes__contained_by=sorted(beyond)).update(revoked_at=timezone.now())
