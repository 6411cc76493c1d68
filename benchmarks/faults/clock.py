"""A clock of some processes that can be set, by libfaketime."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

_PLACES = ("/usr/lib", "/usr/local/lib", "/opt/homebrew/lib")


class NoClock(Exception):
    """libfaketime is not installed (Debian and Ubuntu: apt install libfaketime)."""


@dataclass(frozen=True, slots=True)
class Clock:
    """What processes that get its variables take for the time; how long something lasts stays as it is."""

    file: Path
    library: Path

    @classmethod
    def made(cls, file: Path) -> Self:
        """A clock that goes right.

        Raises:
            NoClock: libfaketime is not installed.
        """
        found = [library for place in _PLACES for library in sorted(Path(place).glob("**/libfaketime.so.1"))]
        if not found:
            raise NoClock(NoClock.__doc__)
        clock = cls(file, found[0])
        clock.set("+0")
        file.chmod(0o644)
        return clock

    def set(self, offset: str) -> None:
        """The time is so far from the right one, as "-2h"."""
        self.file.write_text(f"{offset}\n")

    def variables(self) -> dict[str, str]:
        """The environment of processes that have it."""
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Else it changes how long Python waits for its global lock.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }
