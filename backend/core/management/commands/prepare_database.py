"""`manage.py prepare_database`: the roles and the database on a PostgreSQL server that is not the embedded one."""

import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from backend.core.errors import AppError
from backend.db.bootstrap import APP, OWNER, create_database, create_roles

SUPERUSER_URL = "DRIFTGRAPH_SUPERUSER_DATABASE_URL"


class Command(BaseCommand):
    """Makes owner, app and auditor and the database; their passwords are those of the two configured addresses."""

    help = f"Make the roles and the database; {SUPERUSER_URL} is the address of a superuser. May run again at any time."
    requires_system_checks = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Prepares the server.

        Raises:
            CommandError: an address is missing, or the user of the address is no superuser.
        """
        superuser = os.environ.get(SUPERUSER_URL, "")
        if not superuser or "owner" not in settings.DATABASES:
            raise CommandError(f"Set {SUPERUSER_URL}, DRIFTGRAPH_OWNER_DATABASE_URL and DRIFTGRAPH_DATABASE_URL.")
        addresses = {OWNER: settings.DATABASES["owner"], APP: settings.DATABASES["default"]}
        for role, address in addresses.items():
            if address["USER"] != role:
                raise CommandError(f"The address of the role {role} names another user.")
        passwords = {role: address["PASSWORD"] for role, address in addresses.items() if address["PASSWORD"]}
        try:
            create_roles(superuser, password=passwords)
            create_database(superuser, addresses[APP]["NAME"])
        except AppError as refusal:
            raise CommandError(refusal.message) from refusal
        self.stdout.write("roles and database are ready")
