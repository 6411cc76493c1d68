"""Which client sends a request, as its headers say; none of it is believed to be more than a name."""

from typing import NamedTuple

from backend.phi.labels import label_of
from schema.http.messages import Headers

_LONGEST = 64  # characters
_HEADERS = ("graphql-client", "apollographql-client")  # each with -name and -version


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
            version = headers.get(f"{prefix}-version")
            return Client(_kept(name), _kept(version) if version else "")
    return Client("", "")


def _kept(text: str) -> str:
    return label_of(text[: _LONGEST + 1], _LONGEST)
