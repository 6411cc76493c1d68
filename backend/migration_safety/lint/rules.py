"""Rules about the operations of a migration. A message says what to do instead."""

import re
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Any

from django.db import migrations, models
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import NOT_PROVIDED

from backend.migration_safety.nesting import in_the_database, in_the_state
from backend.migration_safety.operations import ForgetField
from backend.migration_safety.scratch import options

Rule = Callable[[Migration, Operation, ProjectState], Iterator[str]]  # the state is the one after the operation

_WRITES = re.compile(r"\b(?:UPDATE\s+\S+\s+SET|DELETE\s+FROM|INSERT\s+INTO)\b", re.IGNORECASE)
_NAME = r'(?:(?:"[^"]+"|\w+)\.)?"?((?<=")[^"]+|\w+)"?'  # of a table; its schema is left out
_POLICY = re.compile(rf'CREATE\s+POLICY\s+(?:"[^"]+"|\w+)\s+ON\s+{_NAME}', re.IGNORECASE)
_ENABLE = re.compile(
    rf"ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?{_NAME}\s[^;]*?\bENABLE\s+ROW\s+LEVEL\s+SECURITY", re.IGNORECASE
)
_DOLLAR_QUOTED = re.compile(r"\$(\w*)\$.*?\$\1\$", re.DOTALL)
_OF_TRANSACTIONS = re.compile(
    r"(?:^|;)\s*(?:BEGIN|START\s+TRANSACTION|COMMIT|END|ROLLBACK)\b(?:\s+(?:WORK|TRANSACTION))?[^;]*(?:;|$)",
    re.IGNORECASE,
)


def _irreversible(_migration: Migration, operation: Operation, _state: ProjectState) -> Iterator[str]:
    if isinstance(operation, migrations.RunPython) and operation.reverse_code is None:
        yield "RunPython without reverse_code; RunPython.noop says that nothing is to be done"
    if isinstance(operation, migrations.RunSQL) and operation.reverse_sql is None:
        yield "RunSQL without reverse_sql; RunSQL.noop says that nothing is to be done"


def _default_lost(migration: Migration, operation: Operation, _state: ProjectState) -> Iterator[str]:
    if not isinstance(operation, migrations.AddField) or _made_here(migration, operation):
        return
    field = operation.field
    kept = field.db_default is not NOT_PROVIDED or field.null or field.many_to_many or field.generated
    if not kept:
        yield (
            f"{operation.model_name}.{operation.name} is NOT NULL without db_default: Django drops the default after it"
            " added the column, and every INSERT of the deployed code fails; give it db_default"
        )


def _data_with_schema(migration: Migration, operation: Operation, _state: ProjectState) -> Iterator[str]:
    if not migration.atomic or not _writes(operation):
        return
    if others := [
        other
        for other in in_the_database(migration.operations)
        if not _is_raw(other) and not _made_here(migration, other)
    ]:
        yield (
            f"rows are changed while the lock of {others[0].describe()!r} is held;"
            " put them into a migration of their own, with atomic = False"
        )


def _not_resumable(migration: Migration, operation: Operation, _state: ProjectState) -> Iterator[str]:
    if migration.atomic or len(list(in_the_database(migration.operations))) == 1:
        return
    if not getattr(operation, "resumable", False):
        yield (
            "outside of a transaction a part may be done when the migration is interrupted, and this operation does not"
            " look before it acts; use one of migration_safety.operations, or give it a migration of its own"
        )


def _atomic(migration: Migration, operation: Operation, _state: ProjectState) -> Iterator[str]:
    if migration.atomic and getattr(operation, "outside_transactions", False):
        yield f"{type(operation).__name__} cannot be executed inside a transaction: set atomic = False"


def _own_transactions(_migration: Migration, operation: Operation, _state: ProjectState) -> Iterator[str]:
    if isinstance(operation, migrations.RunSQL) and any(map(_ends_transactions, _scripts(operation.sql))):
        yield (
            "a script that begins or ends transactions cannot be tried again when it does not get a lock, because the"
            " session is left in an aborted transaction; set atomic = False and give each statement a RunSQL of its own"
        )


def _tenant_key(migration: Migration, operation: Operation, state: ProjectState) -> Iterator[str]:
    column = options()["TENANT_COLUMN"]
    about: str = getattr(operation, "model_name", "") or getattr(operation, "name", "")
    model = state.models.get((migration.app_label, about.lower()))
    if not column or model is None or (tenant := _tenant_field(model, column)) is None:
        return
    fields: dict[str, Any] = {}
    constraints: list[Any] = []
    if isinstance(operation, migrations.CreateModel):
        fields, constraints = model.fields, model.options.get("constraints", [])
    elif isinstance(operation, migrations.AddField | migrations.AlterField):
        fields = {operation.name: operation.field}
    elif isinstance(operation, migrations.AddConstraint):
        constraints = [operation.constraint]
    for name, field in fields.items():
        if name == tenant or field.primary_key:
            continue
        if field.is_relation and getattr(field, "db_constraint", False) and _target_has(field, state, column):
            yield f"{model.name}.{name} refers to a row without {column}: one tenant could point at another's"
        elif field.unique:
            yield f"{model.name}.{name} is unique without {column}: one tenant would learn what another has"
    for constraint in constraints:
        if isinstance(constraint, models.UniqueConstraint) and constraint.fields and tenant not in constraint.fields:
            yield f"{constraint.name} is unique without {column}: one tenant would learn what another has"


# What each rule is about is its name; the rules of squawk have names of their own.
OPERATION_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "irreversible": _irreversible,
        "default-without-db-default": _default_lost,
        "data-with-schema": _data_with_schema,
        "not-resumable": _not_resumable,
        "needs-atomic-false": _atomic,
        "own-transactions": _own_transactions,
        "tenant-key": _tenant_key,
    }
)


def forgotten_without_default(migration: Migration, operation: Operation, before: ProjectState) -> Iterator[str]:
    """A message for each NOT NULL column that the models forget and the database does not fill in."""
    forgotten: list[Any] = []
    if isinstance(operation, ForgetField) and not operation.default:
        forgotten = [operation]
    elif isinstance(operation, migrations.SeparateDatabaseAndState) and not operation.database_operations:
        forgotten = [item for item in in_the_state([operation]) if isinstance(item, migrations.RemoveField)]
    for removal in forgotten:
        model = before.models.get((migration.app_label, removal.model_name_lower))
        field = model and model.fields.get(removal.name)
        if field and not field.null and not field.many_to_many and field.db_default is NOT_PROVIDED:
            yield (
                f"{removal.model_name}.{removal.name} is NOT NULL without a default: every INSERT of the code that has"
                " forgotten it fails; use ForgetField with a default"
            )


def rls_without_policy(sql: str, there: AbstractSet[str] = frozenset()) -> Iterator[str]:
    """A message for each table whose row-level security is enabled before it has a policy; `there` have one already."""
    for enabled in _ENABLE.finditer(sql):
        before = there | {policy[1] for policy in _POLICY.finditer(sql, 0, enabled.start())}
        if enabled[1] not in before:
            yield (
                f"row-level security of {enabled[1]} is enabled before a policy is there: its rows vanish, without an"
                " error; create the policy first (EnableRowLevelSecurity)"
            )


def _tenant_field(model: ModelState, column: str) -> str | None:
    return next((name for name in model.fields if column in (name, f"{name}_id")), None)


def _target_has(field: Any, state: ProjectState, column: str) -> bool:
    target = field.remote_field.model
    label = target if isinstance(target, str) else target._meta.label
    app, _dot, name = label.lower().partition(".")
    model = state.models.get((app, name))
    return model is not None and _tenant_field(model, column) is not None


def _made_here(migration: Migration, operation: Operation) -> bool:
    """Whether the operation is about a table that the migration makes: nobody uses it yet."""
    made = {
        other.name.lower()
        for listed in (in_the_database, in_the_state)
        for other in listed(migration.operations)
        if isinstance(other, migrations.CreateModel)
    }
    about: str = getattr(operation, "model_name", "")
    return isinstance(operation, migrations.CreateModel) or about.lower() in made


def _is_raw(operation: Operation) -> bool:
    return isinstance(operation, migrations.RunPython | migrations.RunSQL)


def _scripts(sql: Any) -> list[str]:
    parts = [sql] if isinstance(sql, str) else sql
    return [part if isinstance(part, str) else part[0] for part in parts]


def _ends_transactions(script: str) -> bool:
    return _OF_TRANSACTIONS.search(_DOLLAR_QUOTED.sub("''", script)) is not None


def _writes(operation: Operation) -> bool:
    if isinstance(operation, migrations.RunSQL):
        return bool(_WRITES.search(str(operation.sql)))
    return isinstance(operation, migrations.RunPython) and operation.code is not migrations.RunPython.noop
