"""What psycopg raises where the database did not answer, through no fault of the statement."""

import psycopg

UNAVAILABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    # These two end the connection as well, but count as "internal errors".
    psycopg.errors.TransactionTimeout,
    psycopg.errors.IdleInTransactionSessionTimeout,
)
