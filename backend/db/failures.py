"""What psycopg raises where the database did not answer, through no fault of the statement."""

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
