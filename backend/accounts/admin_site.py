"""The admin site under row-level security: each page runs in one transaction with the chosen organization set."""

import uuid
from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from typing import Any, cast

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponseBase
from django.template.response import SimpleTemplateResponse

from backend.accounts.authentication import memberships_of
from backend.accounts.changes import administered_by
from backend.accounts.ending import deletion_has_begun
from backend.accounts.errors import OutOfReach
from backend.accounts.models import Membership, Organization, User
from backend.accounts.sign_in import provider_name, throttled
from backend.core.actor import Actor, Right, Role
from backend.core.tenancy import acting_for

_SESSION_KEY = "admin_organization"  # apart from what a person works for in the API
_REACH, _MANAGED = "_admin_reach", "_admin_managed"  # the request's attributes


def role_in(user: User, organization_id: uuid.UUID) -> Role | None:
    """What somebody may do in an organization: as its member, or by emergency access; else nothing.

    One without members is open to the platform's superusers: somebody must add the first. One that is being deleted is
    open to nobody.

    SQL: 1; BEGIN, 2 or 3, COMMIT more for superusers who have no role there.
    """
    for found, _name, role in memberships_of(user.id):
        if found == organization_id:
            return Role(role)
    if not user.is_superuser:
        return None
    with acting_for(organization_id):
        return None if Membership.objects.exists() or deletion_has_begun(organization_id) else Role.OWNER


def _person(request: HttpRequest) -> User:
    return cast("User", request.user)


def _reach(request: HttpRequest) -> tuple[uuid.UUID, Role] | None:
    """The picked organization and the role there, found once per request; None without either."""
    if not hasattr(request, _REACH):
        chosen = request.session.get(_SESSION_KEY)
        organization_id = uuid.UUID(chosen) if chosen else None
        role = role_in(_person(request), organization_id) if organization_id and request.user.pk else None
        setattr(request, _REACH, (organization_id, role) if role else None)
    found: tuple[uuid.UUID, Role] | None = getattr(request, _REACH)
    return found


def chosen_organization(request: HttpRequest) -> uuid.UUID | None:
    """The organization that the administrator works on, if one was picked in this session and is still in reach."""
    reach = _reach(request)
    return reach[0] if reach else None


def pick_organization(request: HttpRequest, organization: Organization) -> None:
    """Makes the organization the one whose members and tokens the admin shows.

    Raises: OutOfReach.
    """
    if role_in(_person(request), organization.id) is None:
        raise OutOfReach
    request.session[_SESSION_KEY] = str(organization.id)


def admin_actor(request: HttpRequest) -> Actor:
    """The person, acting in the role of a member, or of emergency access, in the picked organization."""
    reach = _reach(request)
    if reach is None:
        raise LookupError("the pages of an organization's rows are closed until one was picked")
    return _actor(request, *reach)


def actor_in(request: HttpRequest, organization_id: uuid.UUID) -> Actor | None:
    """The person, acting in an organization; None for who has no role there.

    SQL: as role_in.
    """
    role = role_in(_person(request), organization_id)
    return _actor(request, organization_id, role) if role else None


def _actor(request: HttpRequest, organization_id: uuid.UUID, role: Role) -> Actor:
    return Actor(organization_id=organization_id, role=role, user_id=_person(request).id, purpose="admin")


def managed_organizations(request: HttpRequest) -> frozenset[uuid.UUID]:
    """The organizations whose settings, members and tokens are the person's to manage, found once per request.

    SQL: 1 at first.
    """
    if not hasattr(request, _MANAGED):
        rows = memberships_of(_person(request).id) if request.user.pk else []
        mine = (_actor(request, found, Role(role)) for found, _name, role in rows)
        setattr(request, _MANAGED, frozenset(one.organization_id for one in mine if Right.MEMBERS in one.rights))
    found: frozenset[uuid.UUID] = getattr(request, _MANAGED)
    return found


class TenantAdminSite(AdminSite):
    """Django's admin, in which the rows of the picked organization, and no others, exist."""

    site_title = site_header = "Driftgraph"
    index_title = "Administration"
    login_template = "admin/provider_login.html"

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Any:
        """The view inside the transaction, with its rendering: a template's querysets run when it is rendered."""

        @wraps(view)
        def inside(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            organization_id = chosen_organization(request)
            within = acting_for(organization_id) if organization_id else nullcontext()
            with administered_by(request.user.pk), within:
                response: HttpResponseBase = view(request, *args, **kwargs)
                if isinstance(response, SimpleTemplateResponse):
                    response.render()
                return response

        return super().admin_view(inside, cacheable)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Django's page, from which a button leads to the OpenID provider; 429 where too many log-ins have failed."""
        return throttled(super().login)(request, {**(extra_context or {}), "provider": provider_name()})

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Django's context; the header names the organization."""
        context = super().each_context(request)
        if organization_id := chosen_organization(request):
            name = Organization.objects.values_list("name", flat=True).filter(id=organization_id).first()
            context["site_header"] = f"{self.site_header} · {name}"
        return context


site = TenantAdminSite(name="admin")
