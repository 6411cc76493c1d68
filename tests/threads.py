"""Runs blocking code of a test beside the event loop, and leaves no connection behind."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import connections

T = TypeVar("T")


def closing(function: Callable[..., T], *args: Any) -> T:
    """The function's answer; the thread's database connections are closed after it."""
    try:
        return function(*args)
    finally:
        connections.close_all()


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """The same on a thread of its own."""
    return await asyncio.to_thread(closing, function, *args)
