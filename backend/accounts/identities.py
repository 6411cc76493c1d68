"""Which account a person has for whom an OpenID provider vouches: one that there is, or none."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.db import IntegrityError, transaction

from backend.accounts.errors import NotAdmitted, UnconfirmedAddress
from backend.accounts.models import Identity, User
from backend.accounts.sign_in import record_if_possible
from backend.audit.door import IDENTITY_LINK, SIGN_IN, sign_in_record
from backend.audit.models import Outcome

BACKEND = "backend.accounts.identities.IdentityBackend"


class IdentityBackend(ModelBackend):
    """What sessions name that began at a provider: they end where the settings name none any more.

    A superuser's do too: what a provider said was enough for who the person was then. So do those of who has no
    identity any more: whoever it was may not have been the person.
    """

    def authenticate(self, *_args: object, **_credentials: object) -> None:
        """Nobody: passwords are for Django's own backend."""

    def get_user(self, user_id: Any) -> Any:
        """The person of a session, unless inactive, a superuser or without an identity. SQL: 2."""
        user = super().get_user(user_id)
        if user is None or user.is_superuser or not Identity.objects.filter(user_id=user.pk).exists():
            return None
        return user


def person_of_identity(*, issuer: str, subject: str) -> User | None:
    """The person whom the provider has vouched for before.

    SQL: 1.
    """
    found = Identity.objects.select_related("user").filter(issuer=issuer, subject=subject).first()
    return found.user if found else None


def person_of_address(email: str) -> User | None:
    """The person of an address that somebody else has confirmed, in whatever case it is written.

    Beyond ASCII it must be written as the account has it: Unicode folds letters together that are not the same to mail.

    SQL: 1.
    """
    address = User.normalize_username(email) if email.isascii() else email
    return User.objects.filter(email=address).first()


def identity_link(user: User, *, issuer: str, subject: str, address: str) -> None:
    """Makes the identity the person's for good, and records it, unless it is theirs already.

    Raises: NotAdmitted (the provider vouches for another subject as this person).
    SQL: BEGIN, 1, INSERT, 1, COMMIT.
    """
    with transaction.atomic():
        try:
            identity, is_new = Identity.objects.get_or_create(issuer=issuer, subject=subject, defaults={"user": user})
        except IntegrityError:  # of user and issuer
            raise NotAdmitted from None
        if identity.user_id != user.pk:
            raise NotAdmitted
        if is_new:
            sign_in_record(IDENTITY_LINK, email=user.email, outcome=Outcome.OK, address=address)


def person_admit(*, issuer: str, subject: str, email: str, email_verified: bool, address: str) -> User:
    """The account that is open to whom the provider vouches for; `address` is whence they come, for the trail.

    By the subject, once it is known; at first by an e-mail address that the provider has confirmed. No account is made.
    Those of superusers are not open: what a provider says shall not be enough to set everybody's passwords. A refusal
    is recorded, with the account as its object if there is one.

    Raises: UnconfirmedAddress, NotAdmitted.
    SQL: 1; where the subject is new 1 and those of `identity_link` more; 1 for a refusal.
    """
    known = person_of_identity(issuer=issuer, subject=subject)
    person = known or person_of_address(email)
    try:
        if known is None and not (email and email_verified):
            raise UnconfirmedAddress
        if person is None or not person.is_active or person.is_superuser:
            raise NotAdmitted
        if known is None:
            identity_link(person, issuer=issuer, subject=subject, address=address)
    except (UnconfirmedAddress, NotAdmitted):
        account = person.email if person else User.normalize_username(email)
        record_if_possible(SIGN_IN, email=account, outcome=Outcome.DENIED, address=address)
        raise
    return person
