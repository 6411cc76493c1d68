"""Signing in at an OpenID provider: both are real servers on this machine, and the browser is a client with cookies."""

import re
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.conf import settings

from backend.accounts.authentication import authenticate_session
from backend.accounts.errors import SignedOut
from backend.accounts.identities import BACKEND
from backend.accounts.models import Identity, Membership, Organization, User
from backend.audit.addresses import account_hash, ip_hash
from backend.audit.models import AuditEntry
from backend.core.tenancy import acting_for
from tests.openid_browser import (
    NAME,
    a_browser,
    address_at_provider,
    address_of_return,
    at_provider,
    is_signed_in,
    network,
    press,
    reason,
    sign_in,
)
from tests.openid_provider import Pair, new_key, serving_with_provider

NOWHERE = uuid.UUID(int=0)
VIEWER = {"query": "{ viewer { role organization { name } } }"}
FAILURES = 3  # log-ins that may fail from one address
STALE = "was not begun in this browser"
AWAY = "cannot be reached, or does not answer as it should"
REFUSED = "did not let you in, or its answer could not be verified"
NOT_ADMITTED = "No account here is open to you this way"
UNCONFIRMED = "says no e-mail address of yours, or has not confirmed it"


@pytest.fixture(scope="module")
def servers(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    variables = {
        "DRIFTGRAPH_OIDC_NAME": NAME,
        "DRIFTGRAPH_OIDC_TIMEOUT_SECONDS": "2",
        "DRIFTGRAPH_SIGN_IN_FAILURES_PER_ADDRESS": str(FAILURES),
    }
    with serving_with_provider(database, tmp_path_factory.mktemp("openid"), **variables) as pair:
        yield pair


@pytest.fixture
def pair(servers: Pair) -> Pair:
    servers.afresh()
    return servers


@pytest.fixture
def ann(organization: Organization, pair: Pair) -> User:
    """A member with an account, who is signed in at the provider."""
    ann = User.objects.create_user(f"ann.{organization.id.hex}@example.org", "a long enough passphrase")
    with acting_for(organization.id):
        Membership.objects.create(organization=organization, user=ann, role="ANALYST")
    at_provider(pair, organization, ann.email)
    return ann


@pytest.fixture
def browser(pair: Pair, organization: Organization) -> Iterator[httpx.Client]:
    with a_browser(pair, organization) as client:
        yield client


def entries(organization_id: uuid.UUID, organization: Organization) -> list[AuditEntry]:
    """Those of this test's address, or of nobody's."""
    with acting_for(organization_id):
        found = AuditEntry.objects.filter(object_type="user_account", ip_hash=ip_hash(network(organization)))
        return list(found.order_by("at", "id"))


def acts(found: list[AuditEntry]) -> list[tuple[str, str]]:
    return [(entry.action, entry.outcome) for entry in found]


def test_a_member_signs_in_and_asks(pair: Pair, browser: httpx.Client, organization: Organization, ann: User) -> None:
    answer = sign_in(browser, "/graphql?a=1")
    told = browser.post("/graphql", json=VIEWER, headers={"origin": pair.url}).json()

    assert (answer.status_code, answer.headers["location"]) == (302, "/graphql?a=1")
    assert told["data"]["viewer"] == {"role": "ANALYST", "organization": {"name": organization.name}}
    linked, came = entries(organization.id, organization)
    assert acts([linked, came]) == [("identity.link", "OK"), ("sign_in", "OK")]
    assert (linked.object_ids, came.actor_id) == ([ann.id], ann.id)
    assert ann.email not in pair.log.read_text()
    [cookie] = [one for one in browser.cookies.jar if one.name == settings.SESSION_COOKIE_NAME]
    assert cookie.has_nonstandard_attr("HttpOnly")
    [ends] = re.findall(r"sessionid=.*?Max-Age=(\d+);", answer.headers["set-cookie"])
    assert settings.SESSION_COOKIE_AGE - 60 < int(ends) <= settings.SESSION_COOKIE_AGE


def test_a_session_ends_where_the_settings_name_no_provider(browser: httpx.Client, ann: User) -> None:
    sign_in(browser)

    assert BACKEND not in settings.AUTHENTICATION_BACKENDS
    with pytest.raises(SignedOut):
        authenticate_session(browser.cookies[settings.SESSION_COOKIE_NAME])


def test_what_is_sent_to_the_provider_proves_who_asks(browser: httpx.Client, pair: Pair) -> None:
    sent = httpx.URL(address_at_provider(browser)).params

    assert (sent["response_type"], sent["scope"], sent["code_challenge_method"]) == ("code", "openid email", "S256")
    assert sent["redirect_uri"] == pair.provider.callback
    assert min(len(sent[name]) for name in ("state", "nonce", "code_challenge")) >= 20


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", ""])
def test_signing_in_leads_to_local_addresses_alone(browser: httpx.Client, ann: User, target: str) -> None:
    assert sign_in(browser, target).headers["location"] == "/graphql"


def test_who_belongs_to_two_organizations_is_asked_for_one(
    browser: httpx.Client, ann: User, other_organization: Organization
) -> None:
    with acting_for(other_organization.id):
        Membership.objects.create(organization=other_organization, user=ann, role="VIEWER")

    assert sign_in(browser).headers["location"] == "/accounts/organization/?next=%2Fgraphql"


def test_a_stranger_gets_no_account(pair: Pair, browser: httpx.Client, organization: Organization) -> None:
    email, before = f"stranger.{organization.id.hex}@example.org", User.objects.count()
    at_provider(pair, organization, email)

    page = sign_in(browser)

    assert (page.status_code, NOT_ADMITTED in page.text, email in page.text) == (403, True, False)
    assert reason(pair, page) == "NotAdmitted"
    assert (User.objects.count(), is_signed_in(browser)) == (before, False)
    [entry] = entries(NOWHERE, organization)
    assert (entry.action, entry.outcome, entry.object_ids) == ("sign_in", "DENIED", [])
    assert bytes(entry.objects_digest or b"") == account_hash(email)
    assert email not in pair.log.read_text()


@pytest.mark.parametrize("verified", [False, None, "yes", 0])
def test_an_address_that_is_not_confirmed_proves_nothing(
    pair: Pair, browser: httpx.Client, organization: Organization, ann: User, verified: object
) -> None:
    at_provider(pair, organization, ann.email, email_verified=verified)

    page = sign_in(browser)

    assert (page.status_code, UNCONFIRMED in page.text, is_signed_in(browser)) == (403, True, False)
    [entry] = entries(organization.id, organization)
    assert (entry.action, entry.outcome, entry.actor_id, entry.object_ids) == ("sign_in", "DENIED", None, [ann.id])
    assert not Identity.objects.filter(user=ann).exists()


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_superuser": True}])
@pytest.mark.parametrize("linked", [False, True])
def test_accounts_that_are_closed_stay_closed(
    pair: Pair, browser: httpx.Client, organization: Organization, ann: User, change: dict[str, bool], linked: bool
) -> None:
    if linked:
        Identity.objects.create(user=ann, issuer=pair.provider.issuer, subject=pair.provider.person or "")
    User.objects.filter(id=ann.id).update(**change)

    page = sign_in(browser)

    assert (page.status_code, NOT_ADMITTED in page.text, is_signed_in(browser)) == (403, True, False)
    assert Identity.objects.filter(user=ann).exists() == linked
    where = organization.id if "is_superuser" in change else NOWHERE  # who is inactive has no memberships
    assert acts(entries(where, organization)) == [("sign_in", "DENIED")]


@pytest.mark.parametrize(("is_superuser", "is_linked"), [(True, True), (False, False)])
def test_a_session_of_the_provider_ends_with_what_it_rested_on(
    pair: Pair, browser: httpx.Client, ann: User, is_superuser: bool, is_linked: bool
) -> None:
    """What the provider said is not enough for a superuser, and the identity may have been somebody else's."""
    sign_in(browser)
    before = is_signed_in(browser)
    User.objects.filter(id=ann.id).update(is_superuser=is_superuser)
    if not is_linked:
        Identity.objects.get(user=ann).delete()

    told = browser.post("/graphql", json=VIEWER, headers={"origin": pair.url}).json()
    page = browser.get("/accounts/organization/")

    assert (before, is_signed_in(browser), page.status_code) == (True, False, 302)
    assert [error["extensions"]["code"] for error in told["errors"]] == ["UNAUTHENTICATED"]


def test_who_is_known_keeps_the_account_whatever_the_address(
    pair: Pair, browser: httpx.Client, organization: Organization, ann: User
) -> None:
    bob = User.objects.create_user(f"bob.{organization.id.hex}@example.org")
    sign_in(browser)
    at_provider(pair, organization, bob.email, email_verified=False)  # the same subject, by another address

    with a_browser(pair, organization) as second:
        answer = sign_in(second)

    assert answer.status_code == 302
    assert [entry.actor_id for entry in entries(organization.id, organization)] == [ann.id] * 3
    assert not Identity.objects.filter(user=bob).exists()


def test_who_comes_to_have_the_address_of_somebody_known_gets_nothing(
    pair: Pair, browser: httpx.Client, organization: Organization, ann: User
) -> None:
    sign_in(browser)
    at_provider(pair, organization, ann.email, subject="2")

    with a_browser(pair, organization) as second:
        page = sign_in(second)

    assert (page.status_code, NOT_ADMITTED in page.text) == (403, True)
    assert acts(entries(organization.id, organization))[2:] == [("sign_in", "DENIED")]
    assert Identity.objects.filter(user=ann).count() == 1


@pytest.mark.parametrize(
    ("planted", "why"),
    [
        ({"nonce": "of another time"}, "InvalidClaimError"),
        ({"nonce": None}, "InvalidClaimError"),
        ({"exp": 1_700_000_000}, "ExpiredTokenError"),
        ({"iss": "https://another.example"}, "InvalidClaimError"),
        ({"aud": "another client"}, "InvalidClaimError"),
        ({"aud": ["driftgraph", "another client"]}, "MissingClaimError"),
        ({"azp": "another client"}, "InvalidClaimError"),
        ({"sub": ""}, "subject"),
        ({"sub": "x" * 256}, "subject"),
        ({"sub": "\0"}, "subject"),
        ({"email": "ann\0@example.org"}, "email"),
    ],
)
def test_a_token_that_is_not_meant_proves_nothing(
    pair: Pair, browser: httpx.Client, organization: Organization, ann: User, planted: dict[str, Any], why: str
) -> None:
    pair.provider.planted = planted

    page = sign_in(browser)

    assert (page.status_code, REFUSED in page.text, is_signed_in(browser)) == (403, True, False)
    assert reason(pair, page) == why
    assert acts(entries(NOWHERE, organization)) == [("sign_in", "DENIED")]


def test_a_token_of_another_key_proves_nothing(pair: Pair, browser: httpx.Client, ann: User) -> None:
    pair.provider.published = new_key()  # of the same id

    page = sign_in(browser)

    assert (page.status_code, reason(pair, page), is_signed_in(browser)) == (403, "BadSignatureError", False)


@pytest.mark.parametrize("wrong", [{"is_unsigned": True}, {"algorithm": "HS256"}])
def test_a_token_that_others_could_sign_proves_nothing(
    pair: Pair, browser: httpx.Client, ann: User, wrong: dict[str, Any]
) -> None:
    vars(pair.provider).update(wrong)

    page = sign_in(browser)

    assert (page.status_code, reason(pair, page), is_signed_in(browser)) == (403, "UnsupportedAlgorithmError", False)


def test_a_new_key_of_the_provider_holds_at_once(
    pair: Pair, browser: httpx.Client, organization: Organization, ann: User
) -> None:
    sign_in(browser)
    pair.provider.key = new_key("2")

    with a_browser(pair, organization) as second:
        assert sign_in(second).status_code == 302


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_the_secret_is_said_as_the_provider_wants_it(pair: Pair, browser: httpx.Client, ann: User, method: str) -> None:
    pair.provider.methods = (method,)

    assert sign_in(browser).status_code == 302


@pytest.mark.parametrize(("elsewhere", "status"), [({}, 302), ({"sub": "another"}, 403), ({"email": None}, 403)])
def test_an_address_may_be_told_elsewhere_but_of_the_same_person(
    pair: Pair, browser: httpx.Client, ann: User, elsewhere: dict[str, Any], status: int
) -> None:
    pair.provider.elsewhere = elsewhere

    assert sign_in(browser).status_code == status


@pytest.mark.parametrize("how", ["twice", "another browser", "made up", "no state"])
def test_a_return_is_good_once_and_in_the_browser_that_was_sent(
    pair: Pair, browser: httpx.Client, organization: Organization, ann: User, how: str
) -> None:
    returned = address_of_return(browser)
    changed = {"made up": re.sub("state=[^&]+", "state=guessed", returned), "no state": pair.provider.callback}
    with a_browser(pair, organization) as another:
        used = another if how == "another browser" else browser
        if how == "twice":
            used.get(returned)
            used.post("/accounts/logout/")
        pages = [used.get(changed.get(how, returned)) for _ in range(FAILURES + 1)]

    assert {page.status_code for page in pages} == {400}  # and never too many
    assert STALE in pages[0].text
    assert reason(pair, pages[0]) == "state"
    assert [act for act in acts(entries(NOWHERE, organization)) if act[1] == "DENIED"] == []


def test_who_is_not_let_in_there_is_not_let_in_here(
    pair: Pair, browser: httpx.Client, organization: Organization
) -> None:
    page = sign_in(browser)  # nobody is signed in there

    assert (page.status_code, REFUSED in page.text, "access_denied" in page.text) == (403, True, False)
    assert acts(entries(NOWHERE, organization)) == [("sign_in", "DENIED")]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"is_broken": True}, "HTTPError"),
        ({"says": {"issuer": "https://another.example"}}, "another issuer"),
        ({"says": {"authorization_endpoint": None}}, "RuntimeError"),
        ({"says": {"authorization_endpoint": 5}}, "AttributeError"),
        ({"says": {"token_endpoint_auth_methods_supported": None}}, "TypeError"),
    ],
)
def test_a_provider_that_does_not_answer_is_said_to_be_away(
    pair: Pair, browser: httpx.Client, wrong: dict[str, Any], why: str
) -> None:
    vars(pair.provider).update(wrong)

    page = press(browser)

    assert (page.status_code, AWAY in page.text) == (502, True)
    assert reason(pair, page) == why
    assert page.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("wrong", "why"), [({"is_broken": True}, "HTTPError"), ({"client_secret": "x"}, "invalid_client")]
)
def test_a_provider_that_fails_on_the_way_back_is_held_against_nobody(
    pair: Pair, browser: httpx.Client, organization: Organization, ann: User, wrong: dict[str, Any], why: str
) -> None:
    returns = []
    for _ in range(FAILURES + 1):
        vars(pair.provider).update(is_broken=False)
        returned = address_of_return(browser)
        vars(pair.provider).update(wrong)
        returns.append(browser.get(returned))

    assert {page.status_code for page in returns} == {502}
    assert {reason(pair, page) for page in returns} == {why}
    assert entries(NOWHERE, organization) == []


def test_failures_are_counted_with_those_of_passwords(
    pair: Pair, browser: httpx.Client, organization: Organization, ann: User
) -> None:
    at_provider(pair, organization, "stranger@example.org")
    returned = address_of_return(browser)
    failed = [sign_in(browser).status_code for _ in range(FAILURES)]
    late, refused = browser.get(returned), press(browser)
    [token] = set(re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', browser.get("/accounts/login/").text))
    typed = {"username": ann.email, "password": "a long enough passphrase", "csrfmiddlewaretoken": token}

    assert failed == [403] * FAILURES
    assert [late.status_code, refused.status_code] == [429, 429]
    assert "DRIFTGRAPH_SIGN_IN_FAILURES_PER_ADDRESS" in late.text
    assert int(late.headers["retry-after"]) > 0
    assert browser.post("/accounts/login/", data=typed).status_code == 429
    assert acts(entries(NOWHERE, organization))[-1] == ("sign_in.throttled", "DENIED")


def test_no_link_and_no_other_site_begins_it(pair: Pair, browser: httpx.Client) -> None:
    assert browser.get("/accounts/oidc/").status_code == 405
    assert browser.post("/accounts/oidc/", data={"next": ""}).status_code == 403
    assert browser.post(pair.provider.callback).status_code in (403, 405)


def test_the_page_of_administrators_has_the_button(pair: Pair, browser: httpx.Client) -> None:
    page = browser.get("/admin/", follow_redirects=True).text

    assert '<button class="button">Sign in with Clinic &lt;ID&gt;</button>' in page
    assert '<input type="hidden" name="next" value="/admin/">' in page


@pytest.mark.parametrize("address", ["signup", "password/reset", "oidc/signup", "email"])
def test_no_other_page_comes_with_it(browser: httpx.Client, address: str) -> None:
    assert browser.get(f"/accounts/{address}/").status_code == 404
