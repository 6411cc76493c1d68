"""A real server on this process's database, with one organization to look at."""

import datetime
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest
from django.utils import timezone

from backend.accounts.services import organization_create, token_create
from backend.core.actor import Actor, Role
from backend.core.tenancy import acting_for
from backend.db.reads import connection_url
from tests import factories as make

_START_SECONDS = 60


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def live_server_url(database: str) -> Iterator[str]:
    """The address of a running server."""
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--no-ws", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--log-level", "warning", "schema.http.asgi:app"],
        env={**os.environ, "DRIFTGRAPH_DATABASE_URL": connection_url()},
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, server)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=60)


def _wait(url: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(f"the server did not become ready within {_START_SECONDS} s")


@pytest.fixture(scope="session")
def demo_token(database: str) -> str:
    """A token of an organization with drift events and agent runs."""
    organization = organization_create(name="browser tests")
    actor = Actor.system(organization.id, "browser tests")
    with acting_for(organization.id):
        run = make.detection_run(organization)
        for number in range(3):
            make.drift_event(make.payer(organization, f"payer{number}"), run, revenue_at_risk_30d_cents=number * 10_000)
        make.finding(make.agent_run(make.agent(organization)))
    _, secret = token_create(
        actor=actor,
        name="browser",
        role=Role.ADMIN,
        scopes=["read", "agents:read"],
        expires_at=timezone.now() + datetime.timedelta(hours=1),
    )
    return secret
