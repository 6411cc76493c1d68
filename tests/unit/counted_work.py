"""How much work a call is, in steps: a busy machine does not change them, as it does seconds."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")


class TooMuchWork(AssertionError):
    """The work went past its bound."""


def counted(call: Callable[[], T], *, at_most: int) -> tuple[T, int]:
    """What a call gives, and its steps: functions entered, generators resumed, characters of the texts whose methods
    are called, for those take their time by the length.

    Raises:
        TooMuchWork: at the step after `at_most`, so that a test of what would take hours fails at once.
    """
    steps = 0

    def count(_: FrameType, event: str, called: Any) -> None:
        nonlocal steps
        if event == "call":
            steps += 1
        elif event == "c_call":
            owner = getattr(called, "__self__", None)
            steps += 1 + (len(owner) if isinstance(owner, str) else 0)
        if steps > at_most:
            raise TooMuchWork(f"more than {at_most} steps")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        result = call()
    finally:
        sys.setprofile(before)
    return result, steps
