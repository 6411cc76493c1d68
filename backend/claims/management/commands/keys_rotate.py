"""`manage.py keys_rotate --organization NAME`: hashes references of claims under the newest key."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from backend.accounts.selectors import organization_named
from backend.claims.key_rotation import ROWS_AT_ONCE, Rotation, keys_rotate, rotation_plan
from backend.core.actor import Actor
from backend.core.errors import AppError


class Command(BaseCommand):
    """Rotates; may be interrupted anywhere, and run again."""

    help = (
        "Hash the references of an organization's claims under the newest key of DRIFTGRAPH_CLAIM_KEYS, in batches,"
        " while imports and reads go on. Interrupted, it goes on where it was when it is run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The organization, dry run, size of a batch."""
        parser.add_argument("--organization", required=True, metavar="NAME")
        parser.add_argument("--dry-run", action="store_true", help="say what would be done")
        parser.add_argument("--batch", type=int, default=ROWS_AT_ONCE, help=f"rows at once (default {ROWS_AT_ONCE})")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Rotates, with a progress bar.

        Raises: CommandError.
        """
        if options["batch"] < 1:
            raise CommandError("--batch must be at least 1.")
        try:
            actor = Actor.system(organization_named(options["organization"]).id, "keys_rotate")
            plan = rotation_plan(actor=actor)
            if plan is None:
                self.stdout.write("All claims are under the newest key; nothing to do.")
            elif options["dry_run"]:
                self.stdout.write(f"{_said(plan)}: {plan.rows:,} rows of claims to go; nothing was changed")
            else:
                self._rotate(actor, plan, options["batch"])
        except AppError as refusal:
            raise CommandError(refusal.message) from refusal

    def _rotate(self, actor: Actor, plan: Rotation, batch: int) -> None:
        columns = (TextColumn("rows of claims"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("rows", total=plan.rows)
            keys_rotate(actor=actor, progress=lambda done: bar.update(task, completed=done), rows_at_once=batch)
        self.stdout.write(f"{_said(plan)}: done")


def _said(plan: Rotation) -> str:
    return f"key {plan.former_id} to key {plan.key_id}{', begun before' if plan.resumed else ''}"
