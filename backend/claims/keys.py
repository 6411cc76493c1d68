"""The keys under which an organization's claim numbers are hashed. Hashing itself lives in backend.ingestion.keys."""

import hashlib
import hmac
import uuid

from django.conf import settings

from backend.core.errors import ConfigurationError


class KeyMissing(ConfigurationError):
    """The claims of this organization are hashed under the key {key_id}, which is not among the keys of this process
    (DRIFTGRAPH_CLAIM_KEYS).
    """

    retryable = True  # by another worker, which has it


def first_key_id() -> str:
    """The id of the key that hashed every claim before there was a choice."""
    return next(iter(settings.ENVIRONMENT.claim_keyring))


def newest_key_id() -> str:
    """The id of the key that rotation leads to, and that new organizations begin with."""
    return list(settings.ENVIRONMENT.claim_keyring)[-1]


def organization_key(organization_id: uuid.UUID, key_id: str) -> bytes:
    """32 bytes that only this organization has, so that equal claim numbers of two organizations cannot be linked.

    Raises: KeyMissing.
    Source: RFC 5869 (HKDF with SHA-256, one block), from DRIFTGRAPH_CLAIM_KEY or the key of that id.
    """
    root = settings.ENVIRONMENT.claim_keyring.get(key_id)
    if root is None:
        raise KeyMissing(key_id=key_id)
    extracted = hmac.digest(f"driftgraph claim numbers, key {key_id}".encode(), root.encode(), hashlib.sha256)
    return hmac.digest(extracted, organization_id.bytes + b"\x01", hashlib.sha256)
