"""Artifact locations of a SARIF run as paths relative to the repository. No file is opened, no address visited."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from backend.agents.sarif_text import without_controls

MAX_PATH = 1_000  # characters
_MAX_URI = 2_000  # characters; a longer one is no file
_MAX_HOPS = 16  # base ids that refer to base ids
_MAX_BASE_PARTS = 100  # directories; a deeper base is shortened to its first ones
_MAX_ROOTS = 20  # base ids taken as candidates for the root
_MIN_REDACTED_PARTS = 2  # "/src" may be a word of a message, "/home/ann" is a place

_DRIVE = re.compile(r"/*(?P<drive>[A-Za-z]):[\\/]")
_SOURCE_ROOT_ID = re.compile(
    r"%?(?:(?:SRC|SOURCE|REPO|REPOSITORY|PROJECT|CHECKOUT|WORKSPACE)_?(?:ROOT|DIR)|ROOT|REPO|WORKSPACE)%?",
    re.IGNORECASE,
)
_LINES_TO_NOTHING = str.maketrans("", "", "\n\t")
_HOMES = frozenset({"home", "users"})

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Path parts, and whether they count from the root of the scanning machine (True) or of the repository (False).

    Parts may hold ".." until `normal` takes them out.
    """

    absolute: bool
    parts: Parts

    def __truediv__(self, other: "Place") -> "Place":
        """The other place seen from this one."""
        return other if other.absolute else Place(self.absolute, (*self.parts, *other.parts))

    @property
    def normal(self) -> "Place":
        """The place without parent references; those that lead above its root end there."""
        kept: list[str] = []
        for part in self.parts:
            if part == "..":
                del kept[-1:]
            else:
                kept.append(part)
        return Place(self.absolute, tuple(kept))


def place_of(uri: str) -> Place | None:
    """Where a URI reference, or a file name written in its stead, points; None when it names nothing.

    Query, fragment and host are dropped. Of addresses that are no files (http, pkg) the path is kept as if in
    the repository.
    """
    text = uri[:_MAX_URI]
    if drive := _DRIVE.match(text):
        return Place(True, (f"{drive['drive'].lower()}:", *_decoded(text[drive.end() :])))
    try:
        split = urlsplit(text.replace("\\", "/"))
    except ValueError:
        return None
    if split.scheme not in {"", "file"}:
        parts = _decoded(split.path)
        return Place(False, parts) if parts else None
    decoded = unquote(split.path, errors="replace")
    if drive := _DRIVE.match(decoded):
        return Place(True, (f"{drive['drive'].lower()}:", *_parts(decoded[drive.end() :])))
    parts = _parts(decoded)
    server = split.netloc.rpartition("@")[2].lower()
    if not parts or server in {"", "localhost"}:
        return Place(split.path.startswith("/"), parts)
    return Place(True, (server, *parts))


def place_of_path(path: str) -> Place:
    """Where a path points that is written as a path, not as a URI: nothing in it is percent-encoded."""
    if drive := _DRIVE.match(path):
        return Place(True, (f"{drive['drive'].lower()}:", *_parts(path[drive.end() :])))
    return Place(path.startswith(("/", "\\")), _parts(path))


def _decoded(path: str) -> Parts:
    """Parts of a percent-encoded path; decoding comes first, so that an encoded slash or dot cannot climb."""
    return _parts(unquote(path, errors="replace"))


def _parts(path: str) -> Parts:
    text = without_controls(path).translate(_LINES_TO_NOTHING).replace("\\", "/")
    return tuple(part for part in text.split("/") if part not in {"", "."})


class PathResolver:
    """Turns the artifact locations of one run into places, and the directories of the scanning machine into nothing.

    Roots are tried in this order: the given root, `versionControlProvenance.mappedTo`, base ids named like a
    source root, the base id of the location itself, other base ids (longest first), the working directories
    of the invocations.
    """

    def __init__(self, run: Mapping[str, Any], root: str | None) -> None:
        self._bases: Mapping[str, Any] = run.get("originalUriBaseIds", {})
        self._artifacts = run.get("artifacts", ())
        self._resolved_bases: dict[str, tuple[Place, Place]] = {}
        self._first_roots, self._last_roots = self._candidates(run, root)

    def place(self, location: Mapping[str, Any]) -> Place | None:
        """Where a location is: relative, or absolute when no known root holds it. None when it has no URI."""
        if "uri" not in location:
            location = _item(self._artifacts, location.get("index", -1)).get("location", {})
        target = place_of(location.get("uri", ""))
        if target is None or not target.parts:
            return None
        base, own = self._base(location.get("uriBaseId", ""))
        full = (base / target).normal
        if full.absolute:
            full = next(self._under((*self._first_roots, *_absolute([own]), *self._last_roots), full), full)
        return full if full.parts else None

    def machine_directories(self) -> Iterator[str]:
        """Directories of the scanning machine, longest first, each ending in a slash; for removal from messages."""
        roots = {parts for parts in (*self._first_roots, *self._last_roots) if len(parts) >= _MIN_REDACTED_PARTS}
        for parts in sorted(roots, key=len, reverse=True):
            yield directory_text(parts)

    @staticmethod
    def _under(roots: Iterable[Parts], place: Place) -> Iterator[Place]:
        for root in roots:
            if len(place.parts) > len(root) and place.parts[: len(root)] == root:
                yield Place(False, place.parts[len(root) :])

    def _base(self, base_id: str) -> tuple[Place, Place]:
        """The place of a base id, and that of the outermost base it refers to."""
        if base_id not in self._resolved_bases:
            self._resolved_bases[base_id] = self._resolve_base(base_id)
        return self._resolved_bases[base_id]

    def _resolve_base(self, base_id: str) -> tuple[Place, Place]:
        place = outermost = Place(False, ())
        for _ in range(_MAX_HOPS):
            base = self._bases.get(base_id)
            if base is None or place.absolute:
                break
            outermost = place_of(base.get("uri", "")) or Place(False, ())
            place = outermost / place
            place = Place(place.absolute, place.parts[:_MAX_BASE_PARTS])
            base_id = base.get("uriBaseId", "")
        return place, outermost

    def _candidates(self, run: Mapping[str, Any], root: str | None) -> tuple[list[Parts], list[Parts]]:
        given = [place_of(quote(root, safe="/\\:"))] if root else []
        mapped = [
            self._directory(item.get("mappedTo")) for item in run.get("versionControlProvenance", ())[:_MAX_ROOTS]
        ]
        names = list(self._bases)[:_MAX_ROOTS]
        named = [self._base(name)[0] for name in names if _SOURCE_ROOT_ID.fullmatch(name)]
        others = sorted((self._base(name)[0] for name in names), key=lambda place: -len(place.parts))
        invocations = run.get("invocations", ())[:_MAX_ROOTS]
        working = [self._directory(item.get("workingDirectory")) for item in invocations]
        return _absolute((*given, *mapped, *named)), _absolute((*others, *working))

    def _directory(self, location: Mapping[str, Any] | None) -> Place | None:
        if location is None:
            return None
        base, _ = self._base(location.get("uriBaseId", ""))
        return base / (place_of(location.get("uri", "")) or Place(False, ()))


def common_directory(places: Iterable[Place]) -> Parts | None:
    """The directory that holds all of some absolute places; None when that says nothing of a project.

    The root directory and the directory of all homes are such: what is below them names people and machines.
    """
    common: Parts | None = None
    for place in places:
        directory = place.parts[:-1]
        common = directory if common is None else _shared(common, directory)
    if not common or common[-1].endswith(":") or common[-1].lower() in _HOMES:
        return None
    return common


def directory_text(parts: Parts) -> str:
    """An absolute directory as a scanner writes it, with a slash at its end."""
    start = "" if parts[0].endswith(":") else "/"
    return start + "/".join(parts) + "/"


def shown_path(place: Place, directory: Parts | None) -> str:
    """The path to show: relative to the repository, else to the run's common directory, else the file name."""
    if not place.absolute:
        parts = place.parts
    elif directory is not None and place.parts[: len(directory)] == directory:
        parts = place.parts[len(directory) :]
    else:
        parts = place.parts[-1:]
    return "/".join(parts)[:MAX_PATH]


def _shared(left: Parts, right: Parts) -> Parts:
    length = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    return left[:length]


def _absolute(places: Iterable[Place | None]) -> list[Parts]:
    """Normal parts of the absolute places among some; the root of a file system is no root of a repository."""
    normal = (place.normal.parts for place in places if place is not None and place.absolute)
    return [parts for parts in normal if parts]


def _item(items: Any, index: int) -> Mapping[str, Any]:
    return items[index] if 0 <= index < len(items) else {}
