"""Which document a request means: by its text, by the id of a trusted one, or by the hash of one sent before."""

from collections.abc import Mapping
from sys import getsizeof
from typing import Any

from django.conf import settings

from backend.core.errors import AppError, BadUserInput, Forbidden
from backend.core.least_recent import LeastRecent
from schema.execution.trusted import document_id, trusted_documents

_REMEMBERED, _REMEMBERED_BYTES = 512, 8_000_000  # texts of automatic persisted queries, and their memory
# Of those that only who is not signed in has sent: a flood of them pushes out no others.
_OF_STRANGERS, _OF_STRANGERS_BYTES = 32, 1_000_000
_PREFIX = "sha256:"


class PersistedQueryNotFound(AppError):
    """PersistedQueryNotFound"""

    # The message is the word that clients wait for before they send the text.
    code = "PERSISTED_QUERY_NOT_FOUND"


class PersistedQueryNotSupported(AppError):
    """PersistedQueryNotSupported"""

    # The message is the word after which clients send texts alone.
    code = "PERSISTED_QUERY_NOT_SUPPORTED"


class UnknownDocument(AppError):
    """There is no trusted document of this id. Build the manifest anew, and set DRIFTGRAPH_DOCUMENTS_MANIFEST."""

    code = "PERSISTED_QUERY_NOT_FOUND"


class NotTrusted(Forbidden):
    """Only trusted documents are executed here (DRIFTGRAPH_DOCUMENTS is trusted)."""


class HashDiffers(BadUserInput):
    """The hash in extensions.persistedQuery is not the SHA-256 of the query."""


def _texts(size: int, capacity: int) -> LeastRecent[str, str]:
    return LeastRecent(size, weight=lambda _hash, text: getsizeof(text), capacity=capacity)


class Documents:
    """Finds the text of a request; remembers what was sent with its hash where DRIFTGRAPH_DOCUMENTS is automatic."""

    def __init__(self) -> None:
        self._sent = _texts(_REMEMBERED, _REMEMBERED_BYTES)
        self._sent_by_strangers = _texts(_OF_STRANGERS, _OF_STRANGERS_BYTES)

    def text(self, query: str | None, named: str | None, persisted: str | None) -> str:
        """The text that is meant by `query`, by `documentId` or by the hash of Apollo's persistedQuery.

        Raises:
            PersistedQueryNotFound, PersistedQueryNotSupported, UnknownDocument: the text is not known here.
            NotTrusted: it is none of the trusted ones, and no other is executed.
            HashDiffers: the hash is of another text.
        """
        trusted, way = trusted_documents(), settings.ENVIRONMENT.documents
        if query is None:
            return self._known(trusted, way, named, persisted)
        if persisted is not None and document_id(query) != persisted:
            raise HashDiffers
        if way == "trusted" and document_id(query) not in trusted:
            raise NotTrusted
        return query

    def remember(self, text: str, persisted: str | None, *, is_known: bool) -> None:
        """Nothing; a valid text can be asked for by its hash from here on. Those of strangers are kept apart."""
        if persisted is not None and settings.ENVIRONMENT.documents == "automatic":
            (self._sent if is_known else self._sent_by_strangers).get(persisted, lambda: text)

    def _known(self, trusted: Mapping[str, str], way: str, named: str | None, persisted: str | None) -> str:
        key = named.removeprefix(_PREFIX) if named is not None else persisted or ""
        found = trusted.get(key)
        if found is None and named is None and way == "automatic":
            found = self._sent.peek(key) or self._sent_by_strangers.peek(key)
        if found is not None:
            return found
        if named is not None:
            raise UnknownDocument
        raise PersistedQueryNotSupported if way == "any" else PersistedQueryNotFound


def persisted_hash(extensions: Mapping[str, Any] | None) -> str | None:
    """The hash in a request's extensions, as Apollo's and urql's clients send it; None without one.

    Raises:
        BadUserInput: there is one that is not of version 1.
    """
    found = (extensions or {}).get("persistedQuery")
    if found is None:
        return None
    if not isinstance(found, dict) or found.get("version") != 1 or not isinstance(found.get("sha256Hash"), str):
        raise BadUserInput('extensions.persistedQuery must be {"version": 1, "sha256Hash": "..."}.')
    digits: str = found["sha256Hash"]
    return digits
