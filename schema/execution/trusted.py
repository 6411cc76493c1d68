"""Trusted documents: those of the product, and those of a client's manifest; found by the SHA-256 of their text."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from graphql import GraphQLError

from backend.core.errors import AppError, ConfigurationError
from schema.execution.documents import OPERATIONS, Prepared, prepare

_FORMAT = {"format": "apollo-persisted-query-manifest", "version": 1}


class ManifestNotReadable(ConfigurationError):
    """DRIFTGRAPH_DOCUMENTS_MANIFEST names no manifest of trusted documents: {reason}. Make one with documents_build."""


class DocumentRefused(AppError):
    """{file}: {reason}"""


def document_id(text: str) -> str:
    """The id of a document: the SHA-256 of its text, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def trusted_documents() -> Mapping[str, str]:
    """The texts by id: those of the product, and those of DRIFTGRAPH_DOCUMENTS_MANIFEST.

    Raises:
        ManifestNotReadable: there is no such file, or it is no manifest.
    """
    texts = [path.read_text(encoding="utf-8") for path in sorted(OPERATIONS.glob("*.graphql"))]
    found = {document_id(text): text for text in texts}
    name: str = settings.ENVIRONMENT.documents_manifest
    return {**found, **read_manifest(Path(name))} if name else found


def read_manifest(path: Path) -> dict[str, str]:
    """The texts of a manifest by id: one that documents_build or Apollo's tools wrote, or Relay's {id: text}.

    Raises:
        ManifestNotReadable: it is neither.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ManifestNotReadable(reason=type(error).__name__) from None
    if isinstance(content, dict) and "operations" in content:
        content = {one.get("id"): one.get("body") for one in content["operations"] if isinstance(one, dict)}
    if not isinstance(content, dict):
        raise ManifestNotReadable(reason="it is no JSON object")
    for key, text in content.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise ManifestNotReadable(reason="an operation lacks its id or its body")
    return content


def manifest_of(files: Iterable[Path]) -> dict[str, Any]:
    """The manifest of a client's documents, one operation in a file, in the format of Apollo's tools.

    Raises:
        DocumentRefused: a file cannot be read, is not valid, or not within the limits; with its name and the reason.
    """
    operations = [_entry(path) for path in files]
    return {**_FORMAT, "operations": sorted(operations, key=lambda one: (one["name"], one["id"]))}


def _entry(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DocumentRefused(file=path.name, reason=f"it cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise DocumentRefused(file=path.name, reason="it is not UTF-8.") from None
    operation = _checked(path, text)
    return {
        "id": document_id(text),
        "name": operation.name or path.stem,
        "type": operation.kind.value,
        "body": text,
    }


def _checked(path: Path, text: str) -> Prepared:
    try:
        operation = prepare(text, None)
    except (GraphQLError, AppError) as error:
        raise DocumentRefused(file=path.name, reason=error.message) from None
    if operation.errors:
        raise DocumentRefused(file=path.name, reason=operation.errors[0].message)
    return operation
