"""What periodic jobs share: the same work for every organization in turn, each as an actor of its own."""

from collections.abc import Callable

from django.db import close_old_connections

from backend.accounts.selectors import organizations_all
from backend.core.actor import Actor


def for_each_organization(purpose: str, work: Callable[[Actor], object]) -> None:
    """Does the work once per organization, by name; `purpose` is what the audit trail calls it.

    SQL: 1, and what the work asks for.
    """
    close_old_connections()
    try:
        for organization_id in organizations_all().values_list("id", flat=True):
            work(Actor.system(organization_id, f"job:{purpose}"))
    finally:
        close_old_connections()
