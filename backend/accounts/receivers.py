"""What accounts do when Django tells of a sign-in; connected when the application is ready."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models.signals import pre_delete, pre_save
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

from backend.accounts.authentication import memberships_of
from backend.accounts.changes import administrator, changes_of
from backend.accounts.models import Identity, User
from backend.accounts.services import tokens_end
from backend.accounts.sign_in import client_address, forgive, record_if_possible
from backend.audit.door import IDENTITY_UNLINK, SIGN_IN, SIGN_OUT, account_change_record, sign_in_record
from backend.audit.models import Outcome
from backend.core.operators import os_operator


@receiver(user_logged_in, dispatch_uid="accounts.record_sign_in")
def record_sign_in(request: HttpRequest, user: User, **_: Any) -> None:
    """Records it, and gives back what the attempt took. Nobody is signed in without a record."""
    address = client_address(request)
    sign_in_record(SIGN_IN, email=user.email, outcome=Outcome.OK, address=address)
    forgive(address, user.email)


@receiver(user_logged_in, dispatch_uid="accounts.end_session")
def end_session(request: HttpRequest, **_: Any) -> None:
    """Sets the time when the session ends, which would move with each page that saves it otherwise."""
    request.session.set_expiry(timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE))


@receiver(user_logged_out, dispatch_uid="accounts.record_sign_out")
def record_sign_out(request: HttpRequest, user: User | None, **_: Any) -> None:
    """Records it, where somebody was signed in. A session ends in any case."""
    if user is not None:
        record_if_possible(SIGN_OUT, email=user.email, outcome=Outcome.OK, address=client_address(request))


@receiver(user_login_failed, dispatch_uid="accounts.record_failure")
def record_failure(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """Records it. It has failed in any case."""
    email = User.normalize_username(str(credentials.get("username") or ""))
    record_if_possible(SIGN_IN, email=email, outcome=Outcome.DENIED, address=client_address(request))


@receiver(pre_delete, sender=Identity, dispatch_uid="accounts.record_unlink")
def record_unlink(instance: Identity, **_: Any) -> None:
    """Records that a provider vouches for the person no more. An identity does not go without a record."""
    sign_in_record(IDENTITY_UNLINK, email=instance.user.email, outcome=Outcome.OK, address="")


@receiver(pre_save, sender=User, dispatch_uid="accounts.record_change")
def record_change(instance: User, update_fields: Collection[str] | None = None, **_: Any) -> None:
    """Records that password, address or rights of a person change, in the admin or by a command; none do without.

    An account that is closed takes the tokens along that the person has made.
    """
    if columns := changes_of(instance, update_fields):
        organizations = [organization for organization, _name, _role in memberships_of(instance.pk)]
        account_change_record(instance.pk, organizations, columns, by=administrator(), operator=os_operator())
        if "is_active" in columns and not instance.is_active:
            tokens_end(user_id=instance.pk, organizations=organizations, by=administrator())
