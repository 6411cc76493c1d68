"""A bounded mapping that forgets what was used longest ago."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class LeastRecent(Generic[Key, Value]):
    """Values by key, made when first asked for. For one event loop or thread: making a value twice must do no harm."""

    def __init__(self, size: int, *, weight: Callable[[Key], int] | None = None, capacity: int = 0) -> None:
        """At most `size` values, and with `weight` at most `capacity` in all of their keys' weights."""
        self._size, self._weight, self._capacity = size, weight, capacity
        self._weighed = 0
        self._values: OrderedDict[Key, Value] = OrderedDict()

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
        if self._values.pop(key, None) is not None and self._weight:
            self._weighed -= self._weight(key)

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of a key; what `make` raises is not kept, nor what is heavier than all may be."""
        found = self.peek(key)
        if found is not None:
            return found
        found = make()
        if self._weight and self._weight(key) > self._capacity:
            return found  # all others would have to go
        if key not in self._values:
            self._weighed += self._weight(key) if self._weight else 0
        self._values[key] = found
        while len(self._values) > self._size or self._weighed > self._capacity:
            forgotten, _ = self._values.popitem(last=False)
            self._weighed -= self._weight(forgotten) if self._weight else 0
        return found
