"""GraphiQL as a person meets it, in Debian's Chromium against a running server; not the HTTP surface itself."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Request, expect

from tests.chromium import IN_CHROMIUM

REFUSED = "The server refused this API token"
pytestmark = IN_CHROMIUM


@dataclass
class Watch:
    """What the page did beside what it shows: addresses asked for, complaints, workers started."""

    requests: list[Request] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    workers: list[str] = field(default_factory=list)

    def hosts(self) -> set[str]:
        """Host and port of every request; data: addresses have none and are left out."""
        return {urlsplit(r.url).netloc for r in self.requests if not r.url.startswith("data:")}


@pytest.fixture
def watch(page: Page) -> Watch:
    seen = Watch()

    # Playwright marks the handlers it is given, which a built-in method does not allow.
    def note_request(request: Request) -> None:
        seen.requests.append(request)

    page.context.on("request", note_request)
    page.on("worker", lambda worker: seen.workers.append(worker.url))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    # Violations of the content security policy are console errors too.
    page.on(
        "console",
        lambda entry: seen.complaints.append(entry.text) if entry.type in {"error", "warning"} else None,
    )
    return seen


def _open(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator(".graphiql-query-editor .view-line").first).to_be_visible()


def _run(page: Page) -> None:
    page.get_by_role("button", name=re.compile("Execute query")).click()


def _result(page: Page) -> str:
    """The text of the result pane that is in view, with Monaco's fixed-width spaces made plain."""
    return page.locator(".result-window .view-lines").inner_text().replace("\N{NO-BREAK SPACE}", " ")


def _wait_for_result(page: Page, text: str) -> None:
    expect(page.locator(".result-window .view-lines")).to_contain_text(text)


def test_example_query_runs_with_the_token_from_the_address_and_nothing_leaves_the_server(
    page: Page, watch: Watch, live_server_url: str, demo_token: str
) -> None:
    _open(page, f"{live_server_url}/graphql#token={demo_token}")

    _run(page)
    _wait_for_result(page, '"driftEvents"')

    assert '"data"' in _result(page)
    assert '"errors"' not in _result(page)
    assert '"driftType"' in _result(page)
    assert watch.hosts() == {urlsplit(live_server_url).netloc}
    assert watch.complaints == []
    assert watch.workers
    assert all(worker.startswith(f"{live_server_url}/graphql/static/assets/") for worker in watch.workers)


def test_page_comes_with_a_policy_that_forbids_inline_and_evaluated_script(page: Page, live_server_url: str) -> None:
    answer = page.goto(f"{live_server_url}/graphql")

    assert answer is not None
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))

    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["worker-src"] == "'self'"
    assert policy["connect-src"] == "'self'"
    assert page.evaluate("document.querySelectorAll('script:not([src])').length") == 0


def test_second_tab_lists_agent_runs(page: Page, live_server_url: str, demo_token: str) -> None:
    _open(page, f"{live_server_url}/graphql#token={demo_token}")

    page.get_by_role("tab", name="LatestAgentRuns").click()
    _run(page)
    _wait_for_result(page, '"agentRuns"')

    assert '"errors"' not in _result(page)
    assert '"conclusion"' in _result(page)


def test_explorer_lists_the_fields_of_the_schema_and_writes_the_query(
    page: Page, watch: Watch, live_server_url: str, demo_token: str
) -> None:
    _open(page, f"{live_server_url}/graphql#token={demo_token}")

    page.get_by_label("Show GraphiQL Explorer").click()
    explorer = page.locator(".graphiql-explorer-root")
    expect(explorer).to_contain_text("driftEvents")
    expect(explorer).to_contain_text("agentRuns")
    explorer.get_by_text("hasPreviousPage", exact=True).click()

    expect(page.locator(".graphiql-query-editor .view-lines")).to_contain_text("hasPreviousPage")
    assert watch.complaints == []


def test_documentation_opens_with_the_types_of_the_schema(
    page: Page, watch: Watch, live_server_url: str, demo_token: str
) -> None:
    _open(page, f"{live_server_url}/graphql#token={demo_token}")

    page.get_by_label("Show Documentation Explorer").click()
    docs = page.locator(".graphiql-doc-explorer")
    docs.get_by_role("link", name="Query", exact=True).first.click()

    expect(docs).to_contain_text("driftEvents")
    assert watch.complaints == []


def test_token_leaves_the_address_bar_and_stays_in_the_session_only(
    page: Page, watch: Watch, live_server_url: str, demo_token: str
) -> None:
    _open(page, f"{live_server_url}/graphql#token={demo_token}")

    assert page.url == f"{live_server_url}/graphql"
    assert demo_token not in page.evaluate("JSON.stringify({...localStorage}) + document.cookie")
    assert demo_token in page.evaluate("JSON.stringify({...sessionStorage})")
    assert not any(demo_token in request.url.partition("#")[0] for request in watch.requests)

    page.reload()
    expect(page.get_by_label("API token")).to_have_value(demo_token)


def test_token_field_hides_what_is_typed_until_asked(page: Page, live_server_url: str, demo_token: str) -> None:
    _open(page, f"{live_server_url}/graphql")
    entry = page.get_by_label("API token")

    entry.fill(demo_token)
    expect(entry).to_have_attribute("type", "password")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(entry).to_have_attribute("type", "text")
    page.get_by_role("button", name="Hide", exact=True).click()
    expect(entry).to_have_attribute("type", "password")

    expect(page.get_by_role("status")).to_have_text("Using the API token")


def test_refused_token_is_told_plainly_and_the_next_one_works(
    page: Page, live_server_url: str, demo_token: str
) -> None:
    _open(page, f"{live_server_url}/graphql#token=dg_unknown")

    _run(page)
    expect(page.get_by_role("status")).to_contain_text(REFUSED)

    page.get_by_label("API token").fill(demo_token)
    page.get_by_role("button", name="Use", exact=True).click()
    expect(page.get_by_role("status")).to_have_text("Using the API token")
    _run(page)
    _wait_for_result(page, '"driftEvents"')


def test_without_token_or_session_the_page_says_how_to_sign_in(page: Page, live_server_url: str) -> None:
    _open(page, f"{live_server_url}/graphql")

    _run(page)

    expect(page.get_by_role("status")).to_contain_text("You are not signed in")


def test_requests_carry_the_negotiated_type_and_the_csrf_token(
    page: Page, watch: Watch, live_server_url: str, demo_token: str
) -> None:
    page.context.add_cookies([{"name": "csrftoken", "value": "abc123", "url": live_server_url}])
    _open(page, f"{live_server_url}/graphql#token={demo_token}")

    _run(page)
    _wait_for_result(page, '"driftEvents"')

    posted = [request for request in watch.requests if request.method == "POST"]
    assert posted
    for request in posted:
        assert urlsplit(request.url).path == "/graphql"
        headers = request.all_headers()
        assert headers["accept"] == "application/graphql-response+json, application/json"
        assert headers["x-csrftoken"] == "abc123"
        assert headers["authorization"] == f"Bearer {demo_token}"
