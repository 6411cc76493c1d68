"""People and threads for tests; accounts belong to no organization, so their addresses carry the test's one."""

import threading
from collections.abc import Callable
from typing import Any

from django.db import connections

from backend.accounts.models import Membership, Organization, User
from backend.core.actor import Role
from backend.core.tenancy import acting_for


def person(organization: Organization, name: str) -> User:
    return User.objects.create_user(f"{name}.{organization.id.hex}@example.org")


def member(organization: Organization, user: User, role: Role) -> Membership:
    with acting_for(organization.id):
        return Membership.objects.create(organization=organization, user=user, role=role)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What each call returned or raised, all begun at the same moment, each on its own connection."""
    start = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)

    def run(index: int) -> None:
        start.wait()
        try:
            results[index] = calls[index]()
        except Exception as error:  # noqa: BLE001 - the outcome is what is looked at
            results[index] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
