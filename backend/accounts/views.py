"""Pages on which people sign in, sign out and choose the organization that they work for."""

import sys
import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import LoginView, RedirectURLMixin
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.http import urlencode
from django.views.defaults import server_error
from django.views.generic import TemplateView

from backend.accounts.authentication import CHOSEN_ORGANIZATION, choose_organization, memberships_of
from backend.accounts.errors import NoMembership, NotAMember
from backend.accounts.sign_in import provider_name
from backend.core.errors import Unavailable
from backend.core.jobs import DATABASE_FAILURES

_POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


View = Callable[..., HttpResponseBase]


def guarded(view: View) -> View:
    """The view's page, which runs no script, takes nothing from other hosts and is kept nowhere."""

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        response["Content-Security-Policy"] = _POLICY
        add_never_cache_headers(response)
        return response

    return answer


def broken(request: HttpRequest) -> HttpResponseBase:
    """The page of a request that ended with an exception: 503 where the database did not answer, which is no bug."""
    if isinstance(sys.exc_info()[1], DATABASE_FAILURES):
        return HttpResponse(Unavailable().message, "text/plain", 503, headers={"Retry-After": "1"})
    return server_error(request)


def _person(request: HttpRequest) -> uuid.UUID:
    """The id of who is signed in; the pages that ask have seen to it that somebody is."""
    key: Any = request.user.pk
    return uuid.UUID(str(key))


def first_page(request: HttpRequest, target: str) -> str:
    """Where who has just signed in goes: to `target`, by way of the organizations unless there is exactly one.

    SQL: 1.
    """
    choice = reverse("organization")
    if len(memberships_of(_person(request))) == 1 or target.partition("?")[0] == choice:
        return target
    return f"{choice}?{urlencode({REDIRECT_FIELD_NAME: target})}"


class SignIn(LoginView):
    """Signing in by e-mail address and password; the page leads to the OpenID provider too, where there is one."""

    template_name = "accounts/login.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Django's context, and the name of the provider; empty where there is none."""
        return super().get_context_data(provider=provider_name(), **kwargs)

    def get_success_url(self) -> str:
        """Where the person wanted to go.

        SQL: 1.
        """
        return first_page(self.request, super().get_success_url())


class OrganizationChoice(LoginRequiredMixin, RedirectURLMixin, TemplateView):
    """The organizations of the signed-in person, to work for one of them."""

    template_name = "accounts/organization.html"
    next_page = settings.LOGIN_REDIRECT_URL

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """The organizations as (id, name, role), which of them is chosen, and what to say where there is none.

        SQL: 1.
        """
        return super().get_context_data(
            organizations=memberships_of(_person(self.request)),
            chosen=self.request.session.get(CHOSEN_ORGANIZATION),
            nowhere=NoMembership().message,
            next=self.get_redirect_url(),
            **kwargs,
        )

    def post(self, request: HttpRequest) -> HttpResponse:
        """Chooses, and goes where the person wanted to go; an organization that is not the person's is refused."""
        try:
            wanted = uuid.UUID(request.POST.get("organization", ""))
            choose_organization(request.session, user_id=_person(request), organization_id=wanted)
        except (ValueError, NotAMember):
            return self.render_to_response(self.get_context_data(refusal=NotAMember().message), status=403)
        return HttpResponseRedirect(self.get_success_url())
