"""The files of a checkout, for the text of a line that a scanner names and does not quote. Nothing outside is read."""

from functools import lru_cache
from pathlib import Path

MAX_FILE_BYTES = 5_000_000  # a larger file has no lines that a person wrote
_FILES_KEPT = 16


class Checkout:
    """A directory with the sources that a scanner saw."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve(strict=True)
        self._lines = lru_cache(_FILES_KEPT)(self._read)

    def line(self, path: str, number: int) -> str | None:
        """A line by its number, from 1, of a file by its path in the checkout; None where there is none.

        Links are followed inside the checkout only; files above 5 MB, and what is no regular file, have no lines.
        """
        lines = self._lines(path)
        return lines[number - 1] if 1 <= number <= len(lines) else None

    def _read(self, path: str) -> list[str]:
        try:
            file = (self.root / path).resolve()
            if not file.is_relative_to(self.root) or not file.is_file() or file.stat().st_size > MAX_FILE_BYTES:
                return []
            with file.open("rb") as source:
                text = source.read(MAX_FILE_BYTES).decode("utf-8", "replace")
        except (OSError, ValueError):
            return []
        # As scanners count them: str.splitlines would also end lines at form feeds and the like.
        return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
