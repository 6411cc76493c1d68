"""Reads of organizations, members and tokens; within a transaction of one organization, only its rows exist."""

import uuid

from django.db.models import QuerySet

from backend.accounts.errors import NoSuchOrganization, NoSuchPerson
from backend.accounts.models import ApiToken, Membership, Organization, User
from backend.core.errors import NotFound


def organizations_all() -> QuerySet[Organization]:
    """Every organization by name; for the platform's commands, jobs and administrators."""
    return Organization.objects.order_by("name")


def organization_named(name: str) -> Organization:
    """The organization of a name.

    Raises: NoSuchOrganization.
    SQL: 1.
    """
    found = Organization.objects.filter(name=name.strip()).first()
    if found is None:
        raise NoSuchOrganization
    return found


def user_named(email: str) -> User:
    """The person of an e-mail address.

    Raises: NoSuchPerson.
    SQL: 1.
    """
    found = User.objects.filter(email=User.normalize_username(email)).first()
    if found is None:
        raise NoSuchPerson
    return found


def memberships_all() -> QuerySet[Membership]:
    """The members of the organization with their people, by e-mail address."""
    return Membership.objects.select_related("user").order_by("user__email")


def tokens_all() -> QuerySet[ApiToken]:
    """The API tokens of the organization, revoked and expired ones too, by name."""
    return ApiToken.objects.order_by("name")


def token_get(token_id: uuid.UUID) -> ApiToken:
    """One API token of the organization.

    Raises: NotFound.
    SQL: 1.
    """
    found = ApiToken.objects.filter(id=token_id).first()
    if found is None:
        raise NotFound
    return found
