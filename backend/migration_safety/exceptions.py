"""How a migration answers for breaking a rule of the linter or of the rehearsal.

`safety_exceptions = {"rule": "reason"}` on the migration, or on the class of an operation that knows better. A reason
is a sentence; an empty one excuses nothing.
"""

from django.db.migrations import Migration

from backend.migration_safety.nesting import in_the_database


def given(migration: Migration) -> dict[str, str]:
    """The reasons by rule that a migration and its operations give, empty ones included."""
    found: dict[str, str] = {}
    for source in (*in_the_database(migration.operations), migration):
        found |= getattr(source, "safety_exceptions", {})
    return found


def reasons(migration: Migration) -> dict[str, str]:
    """The reasons by rule that count."""
    return {rule: reason.strip() for rule, reason in given(migration).items() if reason.strip()}
