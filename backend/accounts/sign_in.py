"""What every page has in common on which people sign in: how often they may try, and what is recorded of it."""

import logging
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.db import Error
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render

from backend.accounts.models import User
from backend.accounts.throttling import TooManyAttempts, process_attempts, sign_in_allowances
from backend.audit.door import SIGN_IN_THROTTLED, sign_in_record
from backend.audit.models import Outcome

log = logging.getLogger("driftgraph.audit")


def client_address(request: HttpRequest | None) -> str:
    """Whence a request comes; empty where nobody knows."""
    return str(request.META.get("REMOTE_ADDR") or "") if request is not None else ""


def provider_name() -> str:
    """What the button calls the OpenID provider; empty where there is none."""
    limits = settings.ENVIRONMENT
    return str(limits.oidc_name) if limits.has_oidc else ""


def record_if_possible(action: str, *, email: str, outcome: Outcome, address: str) -> None:
    """Writes the entry of what holds in any case; the log tells where it could not be written.

    SQL: 1.
    """
    try:
        sign_in_record(action, email=email, outcome=outcome, address=address)
    except Error as error:
        log.error("%s was not recorded: %s", action, type(error).__name__)  # noqa: TRY400 - a traceback repeats values of the statement


def throttled(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """The page, or 429 before the password is looked at where too many log-ins have failed.

    Each attempt is counted before it is made, so that many at once are no more than one after the other; a good one is
    given back. The first that is too many makes an entry.
    """

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method != "POST":
            return view(request, *args, **kwargs)
        address, email = client_address(request), User.normalize_username(request.POST.get("username", ""))
        try:
            for allowance in sign_in_allowances(address, email):
                process_attempts().take(allowance)
        except TooManyAttempts as refusal:
            return too_many(request, refusal, email=email)
        return view(request, *args, **kwargs)

    return answer


def too_many(request: HttpRequest, refusal: TooManyAttempts, *, email: str) -> HttpResponse:
    """429 as a page; the first one of a window makes an entry, of the account of `email` if there is one.

    SQL: 1 of the first.
    """
    if refusal.details["is_first"]:
        record_if_possible(SIGN_IN_THROTTLED, email=email, outcome=Outcome.DENIED, address=client_address(request))
    words = {"refusal": refusal.message}
    page = render(request, "accounts/throttled.html", words, status=HTTPStatus.TOO_MANY_REQUESTS)
    page["Retry-After"] = str(refusal.details["seconds"])
    return page


def forgive(address: str, email: str) -> None:
    """Gives back what a good log-in took, and counts the failures of its account anew."""
    of_address, of_account = sign_in_allowances(address, email)
    process_attempts().give_back(of_address)
    process_attempts().forget(of_account)
