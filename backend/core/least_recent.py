"""A bounded mapping that forgets what was used longest ago."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from sys import getsizeof
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


def bytes_of(value: object) -> int:
    """Bytes of memory of a value, with what is in it where it is a tuple or a list."""
    inner = sum(map(bytes_of, value)) if isinstance(value, (tuple, list)) else 0
    return getsizeof(value) + inner


class LeastRecent(Generic[Key, Value]):
    """Values by key, made when first asked for. For one event loop or thread: making a value twice must do no harm."""

    def __init__(self, size: int, *, weight: Callable[[Key, Value], int] | None = None, capacity: int = 0) -> None:
        """At most `size` values, and with `weight` at most `capacity` in all of their weights."""
        self._size, self._weight, self._capacity = size, weight, capacity
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._weights: dict[Key, int] = {}
        self.weighed = 0
        """The weights of all values, as they were when each was weighed."""

    def __len__(self) -> int:
        return len(self._values)

    def peek(self, key: Key) -> Value | None:
        """The value of a key if it is known."""
        found = self._values.get(key)
        if found is not None:
            self._values.move_to_end(key)
        return found

    def forget(self, key: Key) -> None:
        """Drops the value of a key, if there is one."""
        if self._values.pop(key, None) is not None:
            self.weighed -= self._weights.pop(key, 0)

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of a key; what `make` raises is not kept, nor what is heavier than all may be."""
        found = self.peek(key)
        if found is None:
            found = self._values[key] = make()
            self.weigh(key)
        return found

    def weigh(self, key: Key) -> None:
        """Weighs a value anew, which may have grown; those that were used longest ago make room for it."""
        if self._weight is not None and (found := self._values.get(key)) is not None:
            weight = self._weight(key, found)
            if weight > self._capacity:
                self.forget(key)  # else all others would have to go
                return
            self.weighed += weight - self._weights.get(key, 0)
            self._weights[key] = weight
        while len(self._values) > self._size or self.weighed > self._capacity:
            self.forget(next(iter(self._values)))
