"""Keyed hashes that stand for claim numbers and people; no clear value is kept. Where keys come from is elsewhere."""

import hmac
import unicodedata
from typing import NamedTuple

from backend.core.errors import ConfigurationError

KEY_BYTES = 32
REFERENCE_BYTES = 16


class WeakHashKey(ConfigurationError):
    """The organization's hash key must have at least 32 bytes."""


def normalised(value: str) -> str:
    """The form of an identifier that is hashed: compatibility-composed, without outer blanks, upper case.

    X12 writers put identifiers in upper case, so a claim must have one key whether it comes by CSV or 835.
    """
    if value.isascii():
        return value.strip().upper()
    return unicodedata.normalize("NFKC", value).strip().upper()


class ClaimHasher:
    """References of one organization: HMAC-SHA-256 under (organization key, kind), cut to 16 bytes.

    The payer is left out of the claim's key on purpose. Uniqueness is (payer, claim_key, line_no) anyway, and a key
    over the number alone survives it when two payer names turn out to be one payer.
    """

    __slots__ = ("_claim", "_patient", "_provider")

    def __init__(self, key: bytes) -> None:
        if len(key) < KEY_BYTES:
            raise WeakHashKey
        self._claim = _subkey(key, b"claim")
        self._patient = _subkey(key, b"patient")
        self._provider = _subkey(key, b"provider")

    def claim_key(self, claim_number: str) -> bytes:
        """16 bytes that stand for a claim number."""
        return hmac.digest(self._claim, normalised(claim_number).encode(), "sha256")[:REFERENCE_BYTES]

    def patient_ref(self, value: str) -> bytes:
        """16 bytes that stand for a patient."""
        return hmac.digest(self._patient, normalised(value).encode(), "sha256")[:REFERENCE_BYTES]

    def provider_ref(self, value: str) -> bytes:
        """16 bytes that stand for a provider."""
        return hmac.digest(self._provider, normalised(value).encode(), "sha256")[:REFERENCE_BYTES]


class References(NamedTuple):
    """What of a claim line is made with keys; the last is SHA-256 over its values, the other references among them."""

    claim_key: bytes
    patient_ref: bytes | None
    provider_ref: bytes | None
    row_sha256: bytes


class KeyOver:
    """A later key of an organization, laid over references made under the ones before.

    The identifiers themselves are not kept, so a new key can hash only what the former one made of them. The hash of
    the row is made anew too: with the former key alone it would tell which claim number it was made of.
    """

    __slots__ = ("_claim", "_patient", "_provider", "_row")

    def __init__(self, key: bytes) -> None:
        if len(key) < KEY_BYTES:
            raise WeakHashKey
        self._claim, self._patient = _subkey(key, b"claim"), _subkey(key, b"patient")
        self._provider, self._row = _subkey(key, b"provider"), _subkey(key, b"row")

    def laid_over(self, former: References) -> References:
        """The references under this key; equal ones stay equal, and what was unknown stays unknown."""
        claim, patient, provider, row = former
        return References(
            hmac.digest(self._claim, claim, "sha256")[:REFERENCE_BYTES],
            None if patient is None else hmac.digest(self._patient, patient, "sha256")[:REFERENCE_BYTES],
            None if provider is None else hmac.digest(self._provider, provider, "sha256")[:REFERENCE_BYTES],
            hmac.digest(self._row, row, "sha256"),
        )


def _subkey(key: bytes, kind: bytes) -> bytes:
    """The key of one kind of value, so that equal values of different kinds have unrelated references."""
    return hmac.digest(key, kind, "sha256")
