"""A running server with payers to page through, who may ask it, and what examples print of it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backend.accounts.services import organization_create
from backend.core.tenancy import acting_for
from tests.asgi import bearer
from tests.factories import payer
from tests.serving import serving

NAMES = [f"Payer {number}" for number in range(7)]


@dataclass(frozen=True, slots=True)
class Asked:
    """Where the server answers, and the header that lets one ask."""

    url: str
    header: dict[str, str]

    @property
    def variables(self) -> dict[str, str]:
        """The environment of an example."""
        return {"DRIFTGRAPH_URL": self.url, "DRIFTGRAPH_TOKEN": self.header["authorization"].removeprefix("Bearer ")}


@contextmanager
def payers_served(database: str, data_dir: Path, **variables: str) -> Iterator[Asked]:
    """A server of a new organization with the payers NAMES; `variables` are its settings."""
    organization = organization_create(name=f"clients of {data_dir.name}")
    with acting_for(organization.id):
        for name in NAMES:
            payer(organization, name.lower(), name=name)
    with serving(database, data_dir, **variables) as server:
        yield Asked(f"{server.url}/graphql", bearer(organization))


def printed_by(command: list[str], asked: Asked) -> list[str]:
    """The lines that an example printed; one that fails shows what it complained of."""
    run = subprocess.run(
        command,
        check=False,
        cwd=Path(__file__).parent,
        env={**os.environ, **asked.variables},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()
