"""`manage.py documents_build DIR [--output FILE]`: the manifest of a client's documents, which a server can trust."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from backend.core.errors import AppError
from schema.execution.trusted import manifest_of


class Command(BaseCommand):
    """Checks every document against the schema and the limits, and writes them with their ids."""

    help = "Write a manifest of the *.graphql files below DIR, for DRIFTGRAPH_DOCUMENTS_MANIFEST and for clients."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The folder and the file."""
        parser.add_argument("folder", type=Path, metavar="DIR")
        parser.add_argument("--output", type=Path, metavar="FILE", help="DIR/manifest.json if not given")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Writes the manifest, and says how many operations it has.

        Raises:
            CommandError: no documents, or one that is refused; nothing is written then. Or the file cannot be written.
        """
        folder: Path = options["folder"]
        files = sorted(folder.rglob("*.graphql"))
        if not files:
            raise CommandError(f"{folder} holds no .graphql file.")
        try:
            manifest = manifest_of(files)
        except AppError as refusal:
            raise CommandError(refusal.message) from None
        output: Path = options["output"] or folder / "manifest.json"
        try:
            output.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{output} cannot be written: {error.strerror}.") from None
        self.stdout.write(f"{output}: {len(files)} operations")
