"""Processes that do not outlive the one that started them, whatever ended it; on Linux alone."""

import ctypes
import signal
import sys

ENDS_WITH_PARENT = "DRIFTGRAPH_ENDS_WITH_PARENT"  # set by `manage.py serve` for the processes that it starts
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(how: signal.Signals = signal.SIGTERM) -> None:
    """Nothing; the kernel sends this process the signal when its parent has ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, how)
