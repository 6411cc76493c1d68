"""Pages on which people sign in, sign out and choose the organization that they work for."""

import uuid
from typing import Any

from django.conf import settings
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import LoginView, LogoutView, RedirectURLMixin
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.http import urlencode
from django.views.generic import TemplateView

from backend.accounts.authentication import CHOSEN_ORGANIZATION, choose_organization, memberships_of
from backend.accounts.errors import NoMembership, NotAMember

_POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


class _GuardedPage:
    """A page that runs no script, takes nothing from other hosts and is kept nowhere."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]  # of the view beside it
        response["Content-Security-Policy"] = _POLICY
        add_never_cache_headers(response)
        return response


class SignIn(_GuardedPage, LoginView):
    """Signing in by e-mail address and password."""

    template_name = "accounts/login.html"

    def get_success_url(self) -> str:
        """Where the person wanted to go; by way of the organizations unless there is exactly one.

        SQL: 1.
        """
        target, choice = super().get_success_url(), reverse("organization")
        if len(memberships_of(self.request.user.pk)) == 1 or target.partition("?")[0] == choice:
            return target
        return f"{choice}?{urlencode({self.redirect_field_name: target})}"


class SignOut(_GuardedPage, LogoutView):
    """Signing out, by POST alone."""


class OrganizationChoice(_GuardedPage, LoginRequiredMixin, RedirectURLMixin, TemplateView):
    """The organizations of the signed-in person, to work for one of them."""

    template_name = "accounts/organization.html"
    next_page = settings.LOGIN_REDIRECT_URL

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """The organizations as (id, name, role), which of them is chosen, and what to say where there is none.

        SQL: 1.
        """
        return super().get_context_data(
            organizations=memberships_of(self.request.user.pk),
            chosen=self.request.session.get(CHOSEN_ORGANIZATION),
            nowhere=NoMembership().message,
            next=self.get_redirect_url(),
            **kwargs,
        )

    def post(self, request: HttpRequest) -> HttpResponse:
        """Chooses, and goes where the person wanted to go; an organization that is not the person's is refused."""
        try:
            wanted = uuid.UUID(request.POST.get("organization", ""))
            choose_organization(request.session, user_id=request.user.pk, organization_id=wanted)
        except (ValueError, NotAMember):
            return self.render_to_response(self.get_context_data(refusal=NotAMember().message), status=403)
        return HttpResponseRedirect(self.get_success_url())
