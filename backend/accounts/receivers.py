"""What accounts do when Django tells of a sign-in; connected when the application is ready."""

import logging
from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import Error
from django.dispatch import receiver
from django.http import HttpRequest

from backend.accounts.models import User
from backend.audit.door import SIGN_IN, SIGN_OUT, sign_in_record
from backend.audit.models import Outcome

log = logging.getLogger("driftgraph.audit")


def client_address(request: HttpRequest | None) -> str:
    """Whence a request comes; empty where nobody knows."""
    return str(request.META.get("REMOTE_ADDR") or "") if request is not None else ""


@receiver(user_logged_in, dispatch_uid="accounts.record_sign_in")
def record_sign_in(request: HttpRequest, user: User, **_: Any) -> None:
    """Records it. Nobody is signed in without a record."""
    sign_in_record(SIGN_IN, email=user.email, outcome=Outcome.OK, address=client_address(request))


@receiver(user_logged_out, dispatch_uid="accounts.record_sign_out")
def record_sign_out(request: HttpRequest, user: User | None, **_: Any) -> None:
    """Records it, where somebody was signed in. A session ends in any case."""
    if user is not None:
        _recorded_if_possible(SIGN_OUT, user.email, Outcome.OK, request)


@receiver(user_login_failed, dispatch_uid="accounts.record_failure")
def record_failure(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """Records it. It has failed in any case."""
    email = User.normalize_username(str(credentials.get("username") or ""))
    _recorded_if_possible(SIGN_IN, email, Outcome.DENIED, request)


def _recorded_if_possible(action: str, email: str, outcome: Outcome, request: HttpRequest | None) -> None:
    try:
        sign_in_record(action, email=email, outcome=outcome, address=client_address(request))
    except Error as error:
        log.error("%s was not recorded: %s", action, type(error).__name__)  # noqa: TRY400 - no values
