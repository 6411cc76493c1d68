"""Which client sends a request, as its headers say; none of it is believed to be more than a name."""

import re
from functools import lru_cache
from typing import NamedTuple

from backend.phi.scanner import scan
from schema.http.messages import Headers

_LONGEST = 64  # characters
_NAME = re.compile(rf"[A-Za-z0-9._-]{{1,{_LONGEST}}}")
_HEADERS = ("graphql-client", "apollographql-client")  # each with -name and -version
_REMEMBERED = 1_000
OTHER = "other"


class Client(NamedTuple):
    """A program and its version; empty where it does not say."""

    name: str
    version: str


def client_of(headers: Headers) -> Client:
    """The client of GraphQL-Client-Name and -Version, else of apollographql-client-name and -version.

    What does not look like a name, or could identify a person, is "other".
    """
    for prefix in _HEADERS:
        if name := headers.get(f"{prefix}-name"):
            # One character more than is taken shows that it is too long; the rest need not be remembered.
            return _known(name[: _LONGEST + 1], headers.get(f"{prefix}-version")[: _LONGEST + 1])
    return Client("", "")


@lru_cache(_REMEMBERED)
def _known(name: str, version: str) -> Client:
    return Client(_kept(name), _kept(version) if version else "")


def _kept(text: str) -> str:
    # Words that are joined by a sign are looked at as words, so that a person's name is found among them.
    words = re.sub(r"[._-]", " ", text)
    return text if _NAME.fullmatch(text) and not scan(text) and not scan(words) else OTHER
