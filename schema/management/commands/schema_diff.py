"""`manage.py schema_diff [REF]`: what clients must know of the changes since a commit; 1 where one breaks them."""

import datetime
import subprocess
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from graphql import GraphQLSchema, build_schema

from schema.build import core_schema
from schema.changes import changes, deprecations
from schema.management.commands.export_sdl import SDL


class Command(BaseCommand):
    """Compares the running schema with schema/schema.graphql of a commit."""

    help = "Show what changed in the schema since REF: since the last tag, or since main was left where there is none."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The commit, and whether safe changes are listed too."""
        parser.add_argument("ref", nargs="?", metavar="REF", help="a tag, branch or commit")
        parser.add_argument("--safe", action="store_true", help="list the safe changes too")

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
            self.stdout.write("Nothing to compare with: there is neither a tag nor a branch main.")
            return
        found = changes(_schema_of(ref), core_schema(), datetime.datetime.now(tz=datetime.UTC).date())
        shown = {"breaking": found.breaking, "announced": found.announced, "dangerous": found.dangerous}
        if options["safe"]:
            shown["safe"] = found.safe
        for kind, lines in shown.items():
            for line in lines:
                self.stdout.write(f"{kind}: {line}")
        self.stdout.write(
            f"Since {ref}: {len(found.breaking)} breaking, {len(found.announced)} announced, "
            f"{len(found.dangerous)} dangerous, {len(found.safe)} safe."
        )
        if found.breaking:
            raise CommandError("Clients would break. Deprecate first, with a day of removal, and remove after it.")


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
            return found.strip()[:12]
    return None


def _schema_of(ref: str) -> GraphQLSchema:
    name = SDL.relative_to(settings.BASE_DIR)
    text = None if ref.startswith("-") else _git("show", f"{ref}:{name}")
    if text is None:
        raise CommandError(f"{ref} names no commit with the file {name}.")
    return build_schema(text)
