"""What psycopg raises where there is no answer, through no fault of the statement."""

import psycopg

UNAVAILABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    # These two end the connection as well, but count as "internal errors".
    psycopg.errors.TransactionTimeout,
    psycopg.errors.IdleInTransactionSessionTimeout,
)


def is_unavailable(error: BaseException | None) -> bool:
    """Whether the database did not answer.

    An error without a code is libpq's own, of a connection that was cut while an answer was being read.
    """
    if isinstance(error, UNAVAILABLE):
        return True
    return type(error) is psycopg.DatabaseError and error.sqlstate is None


def is_outdated_plan(error: BaseException | None) -> bool:
    """Whether a statement that PostgreSQL keeps gives columns of other types now: it must be prepared anew.

    PostgreSQL has no code of its own for that, and its message comes in many languages.
    """
    return (
        isinstance(error, psycopg.errors.FeatureNotSupported) and error.diag.source_function == "RevalidateCachedQuery"
    )
