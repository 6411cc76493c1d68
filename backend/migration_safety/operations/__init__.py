"""Operations for migrations that run while the server does. All need `atomic = False` on the migration.

Each is a list of steps; a step looks into the catalog whether it is still to be done, has a transaction of its own,
waits at most 100 ms for its locks and is tried again (locking.py). So each can be interrupted anywhere and run again,
and none makes a live statement wait for more than a lock that it holds for a moment.
"""

from backend.migration_safety.operations.columns import (
    AddForeignKey,
    DropColumn,
    ForgetField,
    MirrorColumns,
    RenameFieldOnly,
    SetNotNull,
    UnmirrorColumns,
)
from backend.migration_safety.operations.constraints import (
    AddConstraint,
    AddUnique,
    AddUniqueIndex,
    UseUniqueIndex,
)
from backend.migration_safety.operations.indexes import AddIndex, RemoveIndex
from backend.migration_safety.operations.partitions import AddKeyBound, AttachPartition, DetachPartition
from backend.migration_safety.operations.policies import EnableRowLevelSecurity
from backend.migration_safety.operations.rows import Backfill

__all__ = [
    "AddConstraint",
    "AddForeignKey",
    "AddIndex",
    "AddKeyBound",
    "AddUnique",
    "AddUniqueIndex",
    "AttachPartition",
    "Backfill",
    "DetachPartition",
    "DropColumn",
    "EnableRowLevelSecurity",
    "ForgetField",
    "MirrorColumns",
    "RemoveIndex",
    "RenameFieldOnly",
    "SetNotNull",
    "UnmirrorColumns",
    "UseUniqueIndex",
]
