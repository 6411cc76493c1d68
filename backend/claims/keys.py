"""The key under which an organization's claim numbers are hashed. Hashing itself lives in backend.ingestion.keys."""

import hashlib
import hmac
import uuid

from django.conf import settings

_SALT = b"driftgraph claim numbers, key 1"


def organization_key(organization_id: uuid.UUID) -> bytes:
    """32 bytes that only this organization has, so that equal claim numbers of two organizations cannot be linked.

    Source: RFC 5869 (HKDF with SHA-256, one block), from DRIFTGRAPH_CLAIM_KEY.
    """
    root = settings.ENVIRONMENT.claim_key.encode()
    extracted = hmac.digest(_SALT, root, hashlib.sha256)
    return hmac.digest(extracted, organization_id.bytes + b"\x01", hashlib.sha256)
