"""`manage.py schema_usage`: which clients use which parts of the schema, over all organizations."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from backend.usage.selectors import Asked, DaysOutOfRange, Used, first_day, usage_everywhere
from schema.build import core_schema
from schema.changes import deprecations


class Command(BaseCommand):
    """Sums the counts of the usage ledger."""

    help = "Show which clients used which fields, arguments, input fields and enum values: deprecated ones first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which days, which parts, and how they are shown."""
        parser.add_argument("--since", type=int, default=30, metavar="DAYS", help="up to today; 30 if not given")
        parser.add_argument("--deprecated", action="store_true", help="deprecated parts alone")
        parser.add_argument("--field", default="", metavar="X", help="Payer.name, say, or Payer with all its fields")
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Prints a line for each part and version of a client.

        Raises:
            CommandError: no such number of days.
        """
        reasons = {one.coordinate: one for one in deprecations(core_schema())}
        try:
            since = first_day(options["since"])
        except DaysOutOfRange as refusal:
            raise CommandError(refusal.message) from None
        rows = usage_everywhere(Asked(since, options["field"], sorted(reasons), options["deprecated"]))
        if options["format"] == "json":
            self.stdout.write(json.dumps([_fields(row, row.coordinate in reasons) for row in rows], indent=2))
            return
        for row in rows:
            note = f" (deprecated: {reasons[row.coordinate].reason})" if row.coordinate in reasons else ""
            self.stdout.write(f"{row.uses:>10} {row.coordinate} {client_text(row)}, last on {row.last_on}{note}")
        if not rows:
            self.stdout.write(f"Nothing was used since {since}.")


def client_text(row: Used) -> str:
    """A client with its version, for people."""
    return " ".join(filter(None, ["by", row.client_name or "a client without a name", row.client_version]))


def _fields(row: Used, deprecated: bool) -> dict[str, object]:
    return {
        "coordinate": row.coordinate,
        "clientName": row.client_name or None,
        "clientVersion": row.client_version or None,
        "uses": row.uses,
        "firstOn": row.first_on.isoformat(),
        "lastOn": row.last_on.isoformat(),
        "deprecated": deprecated,
    }
