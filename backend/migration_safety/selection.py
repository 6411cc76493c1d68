"""Which migrations a command is about: named ones, those new since a git revision, or those not yet applied."""

import inspect
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.core.management.base import CommandError, CommandParser
from django.db import connections
from django.db.migrations import Migration
from django.db.migrations.exceptions import AmbiguityError
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from backend.migration_safety.scratch import options

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """`base` comes first and is not looked at; `rest` holds the chosen ones and, between them, what depends on them."""

    base: list[Migration]
    rest: list[Migration]


def add_arguments(parser: CommandParser) -> None:
    """The arguments that choose migrations."""
    parser.add_argument(
        "migrations", nargs="*", metavar="app.migration", help="the first characters of the name are enough"
    )
    parser.add_argument("--since", metavar="REF", help="those that this git revision does not have, or has otherwise")


def choose(names: Sequence[str], since: str | None) -> frozenset[Key]:
    """The keys of the migrations that the arguments mean; without any those that the project's database lacks.

    Raises:
        CommandError: there is no such migration or revision.
    """
    loader = MigrationLoader(None)
    if names:
        return frozenset(_named(loader, name) for name in names)
    if since is not None:
        changed = changed_files(since)
        return frozenset(key for key, migration in loader.graph.nodes.items() if path_of(migration) in changed)
    applied = MigrationLoader(connections[options()["OWNER"]]).applied_migrations
    return frozenset(loader.graph.nodes.keys() - applied.keys())


def plan(executor: MigrationExecutor, chosen: frozenset[Key]) -> Plan:
    """All migrations of the project in an order in which the chosen ones come as late as they can."""
    graph = executor.loader.graph
    base: list[Migration] = []
    rest: list[Migration] = []
    for migration, _backward in executor.migration_plan(graph.leaf_nodes(), clean_start=True):
        later = chosen.intersection(graph.forwards_plan((migration.app_label, migration.name)))
        (rest if later else base).append(migration)
    while rest and keys(rest[-1:])[0] not in chosen:
        rest.pop()
    return Plan(base, rest)


def path_of(migration: Migration) -> Path:
    """The file that a migration was written in."""
    return Path(inspect.getfile(type(migration))).resolve()


def changed_files(since: str) -> frozenset[Path]:
    """The files that are new or different since a git revision, those that git does not know yet included.

    Raises:
        CommandError: no git, no repository or no such revision.
    """
    top = Path(_git("rev-parse", "--show-toplevel").strip())
    listed = _git("diff", "--name-only", "--diff-filter=AMR", "-z", f"{since}", "--", cwd=top)
    listed += _git("ls-files", "--others", "--exclude-standard", "-z", cwd=top)
    return frozenset((top / name).resolve() for name in listed.split("\0") if name)


def _git(*arguments: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - no shell; git takes the revision as one argument
            ["git", *arguments],  # noqa: S607 - whichever git the developer uses
            cwd=cwd,
            capture_output=True,
            text=True,
            check=True,
        )
    except FileNotFoundError:
        raise CommandError("--since needs git.", returncode=2) from None
    except subprocess.CalledProcessError as error:
        raise CommandError(f"git {arguments[0]}: {error.stderr.strip()}", returncode=2) from error
    return done.stdout


def _named(loader: MigrationLoader, name: str) -> Key:
    app, _dot, prefix = name.partition(".")
    try:
        found = loader.get_migration_by_prefix(app, prefix)
    except (KeyError, AmbiguityError):
        raise CommandError(f"There is not exactly one migration {name}.", returncode=2) from None
    return found.app_label, found.name


def keys(found: Iterable[Migration]) -> list[Key]:
    """App and name of each."""
    return [(migration.app_label, migration.name) for migration in found]
