"""Positions of the answer, many at a time: the objects of one level, and where values are to be put."""

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any

from graphql.pyutils import Path

from schema.execution.compiled.plan import FieldPlan, ObjectPlan

Paths = Callable[[], list[Path]]


class Places:
    """Where the values of one column stand: in an object under a key, or in a list at an index.

    Paths are made when somebody asks: most answers need none.
    """

    def __init__(self, containers: Sequence[Any], keys: "Sequence[Any] | repeat[str]", paths: Paths) -> None:
        self.containers, self.keys = containers, keys
        self._make = paths
        self._paths: list[Path] | None = None

    def paths(self) -> list[Path]:
        """The paths of the positions."""
        if self._paths is None:
            self._paths = self._make()
        return self._paths

    def put(self, values: Iterable[Any]) -> None:
        """Writes values at the positions."""
        for container, key, value in zip(self.containers, self.keys, values, strict=False):  # one key may serve all
            container[key] = value

    def pick(self, indices: list[int]) -> "Places":
        """Some of the positions."""
        keys = self.keys
        if not isinstance(keys, repeat):
            keys = [keys[index] for index in indices]
        containers = [self.containers[index] for index in indices]
        return Places(containers, keys, lambda: [self.paths()[index] for index in indices])


def in_lists(lists: list[list[Any]], places: Places) -> Places:
    """The positions of all items of lists that stand at places."""
    containers = [one for one in lists for _ in one]
    keys = [index for one in lists for index in range(len(one))]

    def paths() -> list[Path]:
        return [
            path.add_key(index) for path, one in zip(places.paths(), lists, strict=True) for index in range(len(one))
        ]

    return Places(containers, keys, paths)


class Level:
    """Objects of one type at one position of the document: what they are made from, and what has become of them."""

    def __init__(self, plan: ObjectPlan, sources: Sequence[Any], paths: Callable[[], Sequence[Path | None]]) -> None:
        self.plan, self.sources = plan, sources
        template = plan.template
        self.results = [template.copy() for _ in sources]
        self._paths = paths

    def places(self, field: FieldPlan) -> Places:
        """Where the values of a field belong."""
        key, name = field.key, self.plan.kind.name
        return Places(self.results, repeat(key), lambda: [Path(path, key, name) for path in self._paths()])

    def repeat(self, key: str, other: str) -> None:
        """Puts the values of one key under another, too."""
        for result in self.results:
            result[other] = result[key]
