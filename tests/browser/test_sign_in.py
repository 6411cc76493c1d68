"""Signing in at an OpenID provider as a person meets it: the button, the way there, and back to GraphiQL."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from backend.accounts.services import organization_create
from tests.chromium import IN_CHROMIUM
from tests.openid_provider import Pair, serving_with_provider

pytestmark = IN_CHROMIUM


EMAIL = "ann@clinic.example.org"


@pytest.fixture(scope="module")
def pair(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both servers; a member with an account at ours is signed in at the provider. Made before Chromium has a loop."""
    organization_create(name="the clinic of a browser", owner_email=EMAIL)
    with serving_with_provider(database, tmp_path_factory.mktemp("openid"), DRIFTGRAPH_OIDC_NAME="Clinic ID") as found:
        found.afresh()
        found.provider.person = "1"
        found.provider.people["1"] = {"email": EMAIL, "email_verified": True}
        yield found


def test_a_person_goes_to_the_provider_and_comes_back_signed_in(pair: Pair, page: Page) -> None:
    """The policy of the page lets forms lead nowhere else, so the way there is another page's."""
    complaints: list[str] = []
    page.on("console", lambda entry: complaints.append(entry.text) if entry.type in {"error", "warning"} else None)

    page.goto(f"{pair.url}/accounts/login/?next=/accounts/organization/")
    page.get_by_role("button", name="Sign in with Clinic ID").click()

    expect(page).to_have_url(f"{pair.url}/accounts/organization/")
    expect(page.get_by_text(f"Signed in as {EMAIL}.")).to_be_visible()
    assert complaints == []
    page.goto(f"{pair.url}/graphql")
    expect(page.locator(".graphiql-query-editor .view-line").first).to_be_visible()
    page.get_by_role("button", name=re.compile("Execute query")).click()
    expect(page.locator(".result-window .view-lines")).to_contain_text('"data"')
