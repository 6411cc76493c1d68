"""`manage.py schema_diff [REF]`: what clients must know of the changes since a commit; 1 where one breaks them."""

import datetime
import subprocess
from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError
from graphql import GraphQLError, GraphQLSchema, build_schema

from backend.core.errors import AppError
from backend.usage.selectors import Asked, first_day, usage_everywhere
from schema.build import core_schema
from schema.changes import changes, coordinate_of, deprecations
from schema.management.commands.export_sdl import SDL
from schema.management.commands.schema_usage import client_text

_DAYS = 30


class Command(BaseCommand):
    """Compares the running schema with schema/schema.graphql of a commit."""

    help = (
        "Show what changed in the schema since REF. Not given: since the last tag; where there is none, since main was"
        " left; on main itself since the commit before."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The commit, and whether safe changes are listed too."""
        parser.add_argument("ref", nargs="?", metavar="REF", help="a tag, branch or commit")
        parser.add_argument("--safe", action="store_true", help="list the safe changes too")
        parser.add_argument(
            "--usage", action="store_true", help=f"say who used what breaks in the last {_DAYS} days, by the database"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Prints the changes.

        Raises:
            CommandError: a change breaks clients, a deprecation has no day of removal, or there is no such commit.
        """
        undated = [one.coordinate for one in deprecations(core_schema()) if one.removal is None]
        if undated:
            raise CommandError(
                f"Deprecated without a day of removal: {', '.join(undated)}. End the reason with"
                ' "Removed on 2027-01-31.".'
            )
        ref = options["ref"] or _base()
        if ref is None:
            self.stdout.write("Nothing to compare with: there is neither a tag nor a commit of main before this one.")
            return
        old = _schema_of(ref)
        found = changes(old, core_schema(), datetime.datetime.now(tz=datetime.UTC).date())
        shown = {"breaking": found.breaking, "announced": found.announced, "dangerous": found.dangerous}
        if options["safe"]:
            shown["safe"] = found.safe
        for kind, lines in shown.items():
            for line in lines:
                self.stdout.write(f"{kind}: {line}")
                part = coordinate_of(line, old) if options["usage"] and kind in ("breaking", "announced") else None
                if part is not None:
                    self.stdout.write(f"  {_usage(part)}")
        self.stdout.write(
            f"Since {ref}: {len(found.breaking)} breaking, {len(found.announced)} announced, "
            f"{len(found.dangerous)} dangerous, {len(found.safe)} safe."
        )
        if found.breaking:
            raise CommandError("Clients would break. Deprecate first, with a day of removal, and remove after it.")


def _usage(part: str) -> str:
    """How often a part and all below it were used lately, and by whom."""
    try:
        rows = usage_everywhere(Asked(first_day(_DAYS), part))
    except (DatabaseError, InterfaceError, AppError) as error:
        return f"how often {part} was used is not known: the database does not tell ({type(error).__name__})"
    if not rows:
        return f"{part} was not used in the last {_DAYS} days"
    clients = Counter[str]()
    for row in rows:
        clients[client_text(row)] += row.uses
    texts = [f"{uses} times {client}" for client, uses in clients.most_common()]
    return f"{part} was used in the last {_DAYS} days: {', '.join(texts)}"


def _git(*words: str) -> str | None:
    done = subprocess.run(  # noqa: S603 - constants, and a ref that git itself checks
        ["git", *words],  # noqa: S607 - the one of the path, as in the Makefile
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout if done.returncode == 0 else None


def _base() -> str | None:
    tag = _git("describe", "--tags", "--abbrev=0")
    if tag is not None:
        return tag.strip()
    for branch in ("main", "origin/main"):
        # Not its tip: what it got since this branch began was not removed here.
        if (found := _git("merge-base", "HEAD", branch)) is not None:
            # On main that is the commit itself, which would be compared with nothing but what is not committed yet.
            before = found if found != _git("rev-parse", "HEAD") else _git("rev-parse", "--verify", "HEAD^")
            return before.strip()[:12] if before else None
    return None


def _schema_of(ref: str) -> GraphQLSchema:
    name = SDL.relative_to(settings.BASE_DIR)
    commit = _git("rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}")
    text = _git("show", f"{commit.strip()}:{name}") if commit else None
    if text is None:
        raise CommandError(f"{ref} names no commit with the file {name}.")
    try:
        return build_schema(text)
    except (GraphQLError, TypeError) as error:
        raise CommandError(f"{name} of {ref} is no schema: {type(error).__name__}.") from None
