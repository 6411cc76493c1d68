"""Which migrations a command is about: named ones, those new since a git revision, or those not yet applied."""

import inspect
import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from django.core.management.base import CommandError, CommandParser
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.exceptions import AmbiguityError
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from backend.migration_safety.scratch import owner_connection

Key = tuple[str, str]
BASE = ""  # --since without a revision: compare with what is released
_MAIN = ("main", "origin/main")
_LIBRARIES = {"site-packages", "dist-packages"}
_NO_BASE = "git knows neither main nor a tag here (a shallow clone, or no repository): all migrations of the project"


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
    parser.add_argument(
        "--since",
        metavar="REF",
        nargs="?",
        const=BASE,
        help="those that this git revision does not have, or has otherwise; without REF: main, or the last tag where"
        " main is checked out, or every migration of the project where git knows neither",
    )


def choose(names: Sequence[str], since: str | None, *, say: Callable[[str], None]) -> frozenset[Key]:
    """The keys of the migrations that the arguments mean; without any those of the project that its database lacks.

    `say` is told what `BASE` stands for.

    Raises:
        CommandError: there is no such migration or revision, or an app has several last migrations.
    """
    loader = MigrationLoader(None)
    refuse_conflicts(loader)
    if names:
        return frozenset(_named(loader, name) for name in names)
    if since is not None:
        own = _own(loader)
        # Not where the command is called: that may be another repository, which knows none of them.
        folder = Path(os.path.commonpath([path.parent for path in own.values()])) if own else Path.cwd()
        reference = since or released(folder)
        if not since:
            say(f"migrations since {reference}" if reference else _NO_BASE)
        changed = changed_files(reference, folder) if reference else own.values()
        return frozenset(key for key, path in own.items() if path in changed)
    # A squash of which the database has a part is not what it lacks: the rest of those that it replaces is.
    there = MigrationLoader(owner_connection())
    return frozenset(_own(there).keys() - there.applied_migrations.keys())


def refuse_conflicts(loader: MigrationLoader) -> None:
    """Returns where every app has one last migration: of several, each would be judged and applied without the others.

    Raises:
        CommandError: an app has several.
    """
    for app, names in sorted(loader.detect_conflicts().items()):
        found = f"{app} has several last migrations: {', '.join(sorted(names))}. Let one depend on the other"
        raise CommandError(f"{found}, or merge them: python manage.py makemigrations --merge", returncode=2)


def plan(executor: MigrationExecutor, chosen: frozenset[Key]) -> Plan:
    """All migrations of the project in an order in which the chosen ones come as late as they can; the executor knows
    squashes from now on as the plan does.

    Raises:
        CommandError: a squash is chosen together with one that it replaces.
    """
    executor.loader = _as_if_begun(executor.connection, chosen)
    graph = executor.loader.graph
    for app, name in sorted(chosen - graph.nodes.keys()):
        raise CommandError(f"{app}.{name} is a squash: choose it without those that it replaces.", returncode=2)
    base: list[Migration] = []
    rest: list[Migration] = []
    for migration, _backward in executor.migration_plan(graph.leaf_nodes(), clean_start=True):
        later = chosen.intersection(graph.forwards_plan((migration.app_label, migration.name)))
        (rest if later else base).append(migration)
    while rest and keys(rest[-1:])[0] not in chosen:
        rest.pop()
    return Plan(base, rest)


def _as_if_begun(connection: BaseDatabaseWrapper, chosen: frozenset[Key]) -> MigrationLoader:
    """The migrations of a database that has a part of what squashes replace, where that part is chosen."""
    loader = MigrationLoader(connection, replace_migrations=False)
    for key, squash in loader.replacements.items():
        is_begun = not chosen.isdisjoint(squash.replaces)
        remove = loader.graph.remove_replacement_node if is_begun else loader.graph.remove_replaced_nodes
        remove(key, squash.replaces)
    loader.graph.validate_consistency()
    return loader


def path_of(migration: Migration) -> Path:
    """The file that a migration was written in."""
    return Path(inspect.getfile(type(migration))).resolve()


def _own(loader: MigrationLoader) -> dict[Key, Path]:
    """The files of the migrations that are not those of a library."""
    paths = {key: path_of(migration) for key, migration in loader.graph.nodes.items()}
    return {key: path for key, path in paths.items() if _LIBRARIES.isdisjoint(path.parts)}


def released(folder: Path) -> str | None:
    """The git revision that new migrations are compared with: main, here or at the origin; the last tag where main is
    what is checked out; None where there is neither, as in a shallow clone. `folder` is in the repository.
    """
    git = partial(_git, cwd=folder)
    try:
        here, branch = git("rev-parse", "HEAD"), git("rev-parse", "--abbrev-ref", "HEAD").strip()
    except CommandError:
        return None
    on_a_branch = branch not in ("HEAD", *_MAIN)  # HEAD: a commit by itself, which may be that of main
    for name in _MAIN:
        with suppress(CommandError):
            if git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}") != here or on_a_branch:
                return name
    with suppress(CommandError):
        return git("describe", "--tags", "--abbrev=0").strip()
    return None


def changed_files(since: str, folder: Path) -> frozenset[Path]:
    """The files of the repository of a folder that are new or different since a git revision, those that git does not
    know yet included.

    Raises:
        CommandError: no git, no repository or no such revision.
    """
    top = Path(_git("rev-parse", "--show-toplevel", cwd=folder).strip())
    try:
        commit = _git("rev-parse", "--verify", "--end-of-options", f"{since}^{{commit}}", cwd=top).strip()
    except CommandError:
        raise CommandError(f"--since: the repository {top} has no revision {since}.", returncode=2) from None
    listed = _git("diff", "--name-only", "--diff-filter=AMR", "-z", commit, "--", cwd=top)
    listed += _git("ls-files", "--others", "--exclude-standard", "-z", cwd=top)
    return frozenset((top / name).resolve() for name in listed.split("\0") if name)


def _git(*arguments: str, cwd: Path) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and a revision is checked before it is used
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
