"""A person at a browser, who signs in at the provider of `tests.openid_provider`."""

import html
import re
from typing import Any

import httpx

from backend.accounts.models import Organization
from tests.openid_provider import Pair

NAME = "Clinic <ID>"  # of the provider, on the button


def at_provider(pair: Pair, organization: Organization, email: str, subject: str = "1", **claims: Any) -> None:
    """Signs a person in at the provider, who is known there by what only this test says."""
    pair.provider.person = f"{subject} {organization.id.hex}"
    pair.provider.people[pair.provider.person] = {"email": email, "email_verified": True, **claims}


def network(organization: Organization) -> str:
    """An address that no other test uses."""
    digits = organization.id.hex
    return f"2001:{digits[:4]}:{digits[4:8]}:{digits[8:12]}::1"


def a_browser(pair: Pair, organization: Organization) -> httpx.Client:
    return httpx.Client(base_url=pair.url, timeout=30, headers={"x-forwarded-for": network(organization)})


def press(browser: httpx.Client, target: str = "") -> httpx.Response:
    """Presses the button of the page of signing in."""
    page = browser.get("/accounts/login/", params={"next": target})
    [token] = set(re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text))
    assert '<button class="button">Sign in with Clinic &lt;ID&gt;</button>' in page.text
    return browser.post("/accounts/oidc/", data={"csrfmiddlewaretoken": token, "next": target})


def address_at_provider(browser: httpx.Client, target: str = "") -> str:
    left = press(browser, target)
    assert left.status_code == 200
    [address] = re.findall(r'<a href="([^"]+)">go there', left.text)
    assert f'<meta http-equiv="refresh" content="0; url={address}">' in left.text
    return html.unescape(address)


def address_of_return(browser: httpx.Client, target: str = "") -> str:
    """The address to which the provider sends the person back."""
    return httpx.get(address_at_provider(browser, target)).headers["location"]


def sign_in(browser: httpx.Client, target: str = "") -> httpx.Response:
    return browser.get(address_of_return(browser, target))


def reason(pair: Pair, page: httpx.Response) -> str:
    """Why a page says no, by the line of the log that has the page's number."""
    number = page.headers["x-request-id"]
    assert f"<code>{number}</code>" in page.text
    [line] = [line for line in pair.log.read_text().splitlines() if number in line]
    return line.partition(f"{number}: ")[2]


def is_signed_in(browser: httpx.Client) -> bool:
    return browser.get("/accounts/organization/").status_code == 200
