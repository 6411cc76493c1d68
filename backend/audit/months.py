"""Makes the partitions of the months to come: by a function of the owner, since the server can make no table."""

import logging

from django.db import connection

DEFAULT = "audit_entry_default"
log = logging.getLogger("driftgraph.audit")


def months_make() -> list[str]:
    """The partitions that were missing up to three months ahead, which are there now.

    Entries that came before the partition of their month lay in the default one, and move; for those of the last twelve
    months, one is made. The log tells of what stays there. Where another process is at it, nothing is done.

    Raises: OperationalError: readers of the trail held a lock for longer than 100 ms; it can be tried again.
    SQL: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT made, entries FROM audit_months_make()")
        found: dict[str, int] = dict(cursor.fetchall())
    if strays := found.pop(DEFAULT, 0):
        log.error(
            "%s audit entries have ids of no month from a year ago to three months ahead, and are never removed", strays
        )
    for part, moved in found.items():
        log.info("partition %s is there (%s entries came before it)", part, moved)
    return list(found)
