"""Monotonic UUIDv7 keys, made in Python because PostgreSQL 15 to 17 have no generator. Nothing else makes ids."""

import os
import threading
import time
import uuid
from datetime import datetime

_RANDOM_BITS = 74  # 12 bits rand_a and 62 bits rand_b
_LOCK = threading.Lock()
_last = 0


def uuid7() -> uuid.UUID:
    """A new UUIDv7, greater than every one that this process made before.

    Source: RFC 9562 section 5.7; monotonic by method 2 of section 6.2 (the random part counts on within a millisecond).
    """
    global _last  # noqa: PLW0603 - the last value is what makes the sequence monotonic
    milliseconds = time.time_ns() // 1_000_000
    # The top random bit stays 0, which leaves room to count on without an overflow into the next millisecond.
    fresh = (milliseconds << _RANDOM_BITS) | (int.from_bytes(os.urandom(10), "big") & ((1 << (_RANDOM_BITS - 1)) - 1))
    with _LOCK:
        _last = max(fresh, _last + 1)
        value = _last
    milliseconds, random = value >> _RANDOM_BITS, value & ((1 << _RANDOM_BITS) - 1)
    rand_a, rand_b = random >> 62, random & ((1 << 62) - 1)
    return uuid.UUID(int=(milliseconds << 80) | (0x7 << 76) | (rand_a << 64) | (0b10 << 62) | rand_b)


def uuid7_floor(moment: datetime) -> uuid.UUID:
    """The smallest UUIDv7 of a moment: ids made before it are less, those made from then on are not."""
    milliseconds = int(moment.timestamp() * 1000)
    return uuid.UUID(int=(milliseconds << 80) | (0x7 << 76) | (0b10 << 62))
