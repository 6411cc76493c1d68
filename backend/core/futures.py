"""What asyncio leaves to whoever uses futures."""

import asyncio
from typing import Any


def heard(future: "asyncio.Future[Any]") -> None:
    """Nothing; as a callback of a future: an error that nobody waits for any more is not to be complained of.

    asyncio would write it to the log with its text, which may repeat what a client sent.
    """
    if not future.cancelled():
        future.exception()
