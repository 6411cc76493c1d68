"""What is kept of an address on the network, and of an account's address: keyed hashes, never the address."""

import hashlib
import hmac
import ipaddress
import re

from django.conf import settings

_SALT = b"driftgraph addresses of the audit trail, key 1"
_REFERENCE_BYTES = 16
_HOST_BITS = 64  # of IPv6: whoever has one address has all of its network
_WITH_PORT = re.compile(r"\[([^\[\]]+)\](?::\d*)?|(\d+(?:\.\d+){3}):\d*")


def plain_address(text: str) -> str:
    """The address of `IPv4:port`, `[IPv6]:port` or `[IPv6]`, as some proxies write it; other text as it is.

    IPv4 as IPv6 has it, as a socket for both tells it, is plain IPv4.
    """
    found = _WITH_PORT.fullmatch(text)
    address = (found[1] or found[2]) if found else text
    try:
        return str(getattr(ipaddress.ip_address(address), "ipv4_mapped", None) or address)
    except ValueError:
        return address


def network_of(address: str) -> str:
    """The part of an IP address that tells who it is: of IPv4 all, of IPv6 the first 64 bits; other text as it is."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(found) >> _HOST_BITS << _HOST_BITS, _HOST_BITS)))
    return str(found)


def ip_hash(address: str) -> bytes | None:
    """16 bytes that stand for the network of an IP address; None where none is known, as on a socket of the machine."""
    return _keyed(b"ip", network_of(address)) if address else None


def account_hash(email: str) -> bytes:
    """16 bytes that stand for an address that somebody typed as that of an account, and that may be anything."""
    return _keyed(b"account", email)


def _keyed(kind: bytes, value: str) -> bytes:
    """HMAC-SHA-256 under a key of its kind, from DRIFTGRAPH_CLAIM_KEY: few as they are, addresses could be guessed."""
    root = hmac.digest(_SALT, settings.ENVIRONMENT.claim_key.encode(), hashlib.sha256)
    key = hmac.digest(root, kind, hashlib.sha256)
    return hmac.digest(key, value.encode(), hashlib.sha256)[:_REFERENCE_BYTES]
