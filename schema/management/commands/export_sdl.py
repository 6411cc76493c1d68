"""`manage.py export_sdl [--check]`: the schema as text, in git, always equal to the running one."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from schema.build import build_schema

SDL = Path(__file__).resolve().parents[2] / "schema.graphql"


class Command(BaseCommand):
    """Writes or compares schema/schema.graphql."""

    help = "Write schema/schema.graphql from the running schema, or compare them."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """`--check`."""
        parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if the file is out of date")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Writes the file.

        Raises:
            CommandError: `--check` found a difference.
        """
        text = build_schema().as_str() + "\n"
        if not options["check"]:
            SDL.write_text(text, encoding="utf-8")
            self.stdout.write(f"{SDL.name}: {text.count(chr(10))} lines")
        elif not SDL.exists() or SDL.read_text(encoding="utf-8") != text:
            raise CommandError("schema/schema.graphql is out of date: run `make sdl` and look at the difference.")
