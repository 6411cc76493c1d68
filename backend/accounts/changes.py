"""Which changes of an account are recorded, and who made them: those that decide who gets in, and how far."""

import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from backend.accounts.models import User

_RIGHTS = ("is_staff", "is_superuser")
_WATCHED = ("email", "is_active", *_RIGHTS, "password")
_administrator: ContextVar[uuid.UUID | None] = ContextVar("administrator", default=None)


@contextmanager
def administered_by(user_id: uuid.UUID | None) -> Iterator[None]:
    """Whoever is signed in to the admin; changes of accounts inside are theirs."""
    before = _administrator.set(user_id)
    try:
        yield
    finally:
        _administrator.reset(before)


def administrator() -> uuid.UUID | None:
    """Who is signed in to the admin here; None in a command."""
    return _administrator.get()


def changes_of(user: User, saved: Collection[str] | None) -> list[str]:
    """The columns whose change is recorded, before the account is saved; `saved` are those that will be, None: all.

    Of a new account they are the rights that it is made with. A password that is hashed anew as it is typed at a
    sign-in is none.

    SQL: 1, or none where no such column is saved.
    """
    watched = [name for name in _WATCHED if saved is None or name in saved]
    if not watched:
        return []
    before = User.objects.filter(pk=user.pk).values(*watched).first()
    if before is None:
        return [name for name in _RIGHTS if getattr(user, name)]
    changed = [name for name in watched if before[name] != getattr(user, name)]
    # Django keeps a password that was set as `_password` until it is saved, and none that it only hashes anew.
    if "password" in changed and vars(user).get("_password") is None and user.has_usable_password():
        changed.remove("password")
    return changed
