"""A real server on this process's database, with one organization to look at."""

import datetime
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.utils import timezone

from backend.accounts.services import organization_create, token_create
from backend.core.actor import Actor, Role
from backend.core.tenancy import acting_for
from tests import factories as make
from tests.serving import serving


@pytest.fixture(scope="session")
def live_server_url(database: str) -> Iterator[str]:
    """The address of a running server."""
    with serving(database, settings.ENVIRONMENT.data_dir) as server:
        yield server.url


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
