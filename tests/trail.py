"""A database with an audit trail of its own, whose clock tests can set."""

import uuid
from typing import Any

import psycopg

from backend.audit.verification import Report, verify
from tests import server
from tests.scratch import ORGANIZATION
from tests.sealing import wait_until_all_can_be_sealed

FIRST, SECOND = uuid.UUID(int=1), uuid.UUID(int=2)
PAYER = (
    "INSERT INTO payer (id, organization_id, code, name, kind, active, mapped)"
    " VALUES (gen_random_uuid(), %s, %s, 'P', 'OTHER', true, true)"
)
_CLOCK = "(clock_timestamp() + coalesce(nullif(current_setting('test.shift', true), ''), '0')::interval)"
_TELL_THE_TIME = ("audit_entry_stamp", "audit_change_write", "audit_months_make", "audit_seal_make")


class Trail:
    """The database, as its owner (all power) and as the server."""

    def __init__(self, name: str) -> None:
        self.owner = psycopg.connect(server.url("postgres", name), autocommit=True)
        self.app = psycopg.connect(server.url("app", name), autocommit=True)
        for number, key in enumerate((FIRST, SECOND)):
            self.owner.execute(ORGANIZATION, [key, f"o{number}"])

    def act(self, organization: uuid.UUID, *codes: str) -> None:
        for code in codes:
            with self.app.transaction():
                self.app.execute("SELECT set_config('app.organization_id', %s, true)", [str(organization)])
                self.app.execute(PAYER, [organization, code])

    def seal(self) -> dict[int, str]:
        """What is published of the new seal over all that was written."""
        wait_until_all_can_be_sealed(self.owner)
        return self.attempt()

    def attempt(self) -> dict[int, str]:
        """The same over what can be sealed by now, if anything."""
        return dict(self.app.execute("SELECT seq, encode(hash, 'hex') FROM audit_seal_make()").fetchall())

    def verify(self, published: dict[int, str] | None = None) -> Report:
        return verify(self.app, (published or {}).items())

    def spoil(self, statement: str) -> None:
        """What only somebody with all power over the database can do."""
        with self.owner.transaction():
            self.owner.execute("SET LOCAL session_replication_role = replica")
            assert self.owner.execute(statement.encode()).rowcount > 0

    def spoiled(self, statement: str) -> Report:
        """What is found after it; nothing of it stays."""
        with self.owner.transaction(force_rollback=True):
            self.spoil(statement)
            return verify(self.owner, ())

    def without_what_was_there(self) -> None:
        """Months alone, and functions that tell the time that `at` sets."""
        self.owner.execute("DROP TABLE audit_entry_before")
        for (text,) in self.owner.execute(
            "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = ANY(%s)", [list(_TELL_THE_TIME)]
        ).fetchall():
            assert "clock_timestamp()" in text
            self.owner.execute(text.replace("clock_timestamp()", _CLOCK))

    def at(self, shift: str) -> None:
        """From now on it is so much later, such as "-7 years"."""
        for connection in (self.owner, self.app):
            connection.execute("SELECT set_config('test.shift', %s, false)", [shift])

    def months(self) -> dict[str, int]:
        """Which partitions the server made, with the entries that moved into them; what stays in the default one."""
        return dict(self.app.execute("SELECT made, entries FROM audit_months_make()").fetchall())

    def partitions(self) -> dict[str, int]:
        """The entries of each partition."""
        names = self.owner.execute("SELECT part FROM audit_partitions()").fetchall()
        return {name: self.rows(f"SELECT count(*) FROM {name}")[0][0] for (name,) in names}

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        return self.owner.execute(statement.encode()).fetchall()

    def close(self) -> None:
        self.owner.close()
        self.app.close()
