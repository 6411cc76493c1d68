"""What periodic jobs share: the same work for every organization in turn, each as an actor of its own."""

import logging
from collections.abc import Callable

from django.db import close_old_connections

from backend.accounts.selectors import organizations_all
from backend.core.actor import Actor

log = logging.getLogger("driftgraph.jobs")


class OrganizationsFailed(Exception):
    """The work failed for some organizations; the log names them."""


def for_each_organization(purpose: str, work: Callable[[Actor], object]) -> None:
    """Does the work once per organization, by name; `purpose` is what the audit trail calls it.

    An organization whose work fails keeps no other from its turn.

    Raises:
        OrganizationsFailed: after the last, if any failed.
    SQL: 1, and what the work asks for.
    """
    close_old_connections()
    failed = 0
    try:
        for organization_id in organizations_all().values_list("id", flat=True):
            try:
                work(Actor.system(organization_id, f"job:{purpose}"))
            except Exception as error:  # noqa: BLE001 - whatever it is, the others must have their turn
                kind = type(error).__name__
                log.error("%s failed for organization %s: %s", purpose, organization_id, kind)  # noqa: TRY400 - a traceback repeats values of the statement
                failed += 1
                close_old_connections()
        if failed:
            raise OrganizationsFailed(f"{purpose} failed for {failed} organizations")
    finally:
        close_old_connections()
