"""A real server on this process's database, with one organization to look at."""

import datetime
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect, sync_playwright

from backend.accounts.services import organization_create, token_create
from backend.core.actor import Actor, Role
from backend.core.tenancy import acting_for
from tests import factories as make
from tests.chromium import CHROMIUM, CHROMIUM_OPTIONS
from tests.serving import serving

expect.set_options(timeout=30_000)  # milliseconds; a busy machine paints late


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield context.new_page()
    context.close()
