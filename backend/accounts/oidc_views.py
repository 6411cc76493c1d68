"""Pages by which people sign in at an OpenID provider; they exist where the settings name one."""

import logging
import secrets
from http import HTTPStatus

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.views import RedirectURLMixin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.generic import View

from backend.accounts import oidc
from backend.accounts.errors import NotAdmitted, UnconfirmedAddress
from backend.accounts.identities import BACKEND, person_admit
from backend.accounts.sign_in import client_address, record_if_possible, too_many
from backend.accounts.throttling import TooManyAttempts, process_attempts, sign_in_allowances
from backend.accounts.views import first_page
from backend.audit.door import SIGN_IN
from backend.audit.models import Outcome

log = logging.getLogger("driftgraph.accounts")

_AWAY = "The provider of your sign-in cannot be reached, or does not answer as it should. Try again in a minute."
_REFUSED = "The provider of your sign-in did not let you in, or its answer could not be verified."
_STALE = "This sign-in was not begun in this browser, or is over. Begin it again."


class Begin(RedirectURLMixin, View):
    """Sends a person to the provider; by POST alone, so that no other site can."""

    http_method_names = ["post"]
    next_page = settings.LOGIN_REDIRECT_URL

    def post(self, request: HttpRequest) -> HttpResponse:
        """A page that leads on: browsers let a form lead to no other host, by the policy of these pages."""
        try:
            process_attempts().check(sign_in_allowances(client_address(request), "")[0])
            callback = request.build_absolute_uri(reverse("oidc_callback"))
            address = oidc.begin(request, callback=callback, target=self.get_success_url())
        except TooManyAttempts as refusal:
            return too_many(request, refusal, email="")
        except oidc.ProviderFailed as error:
            return _refusal(request, _AWAY, HTTPStatus.BAD_GATEWAY, str(error))
        return render(request, "accounts/leave.html", {"address": address, "provider": settings.ENVIRONMENT.oidc_name})


class Return(View):
    """Where the provider sends people back to."""

    http_method_names = ["get"]

    def get(self, request: HttpRequest) -> HttpResponse:
        """Signs in, or says what was wrong.

        What this browser did not begin costs nothing and counts as no attempt: any site can send a browser here.
        """
        target = oidc.target_of(request)
        if target is None:
            return _refusal(request, _STALE, HTTPStatus.BAD_REQUEST, "state")
        allowance = sign_in_allowances(client_address(request), "")[0]
        try:
            process_attempts().take(allowance)
        except TooManyAttempts as refusal:
            return too_many(request, refusal, email="")
        try:
            return _sign_in(request, target)
        except oidc.ProviderFailed as error:
            process_attempts().give_back(allowance)
            return _refusal(request, _AWAY, HTTPStatus.BAD_GATEWAY, str(error))
        except oidc.ProviderRefused as error:
            record_if_possible(SIGN_IN, email="", outcome=Outcome.DENIED, address=client_address(request))
            return _refusal(request, _REFUSED, HTTPStatus.FORBIDDEN, str(error))
        except (UnconfirmedAddress, NotAdmitted) as error:
            return _refusal(request, error.message, HTTPStatus.FORBIDDEN, type(error).__name__)


def _sign_in(request: HttpRequest, target: str) -> HttpResponse:
    claims = oidc.finish(request)
    person = person_admit(
        issuer=claims.issuer,
        subject=claims.subject,
        email=claims.email,
        email_verified=claims.email_verified,
        address=client_address(request),
    )
    login(request, person, backend=BACKEND)
    return HttpResponseRedirect(first_page(request, target))


def _refusal(request: HttpRequest, message: str, status: HTTPStatus, reason: str) -> HttpResponse:
    """A page with a number, under which the log has the reason; neither says who it was or what the provider sent."""
    request_id = secrets.token_hex(16)
    log.warning("sign-in by OpenID Connect, request %s: %s", request_id, reason)
    page = render(request, "accounts/refused.html", {"message": message, "request_id": request_id}, status=status)
    page["X-Request-Id"] = request_id
    return page
