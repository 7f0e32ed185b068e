"""A relation that nearly always has one end: 50,000 times one VM of an instance UUID, one interface of a VM.

One end is kept as it is, only several as a tuple: a tuple of one is dearer than the entry it is in.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=int | str)


class Few(Generic[K, V]):
    """From each key to the few values that belong to it, the first one added first."""

    def __init__(self) -> None:
        self._values: dict[K, V | tuple[V, ...]] = {}

    def of(self, key: K) -> tuple[V, ...]:
        """Those of a key."""
        found = self._values.get(key, ())
        return found if isinstance(found, tuple) else (found,)

    def __iter__(self) -> Iterator[K]:
        """Keys that have any."""
        return iter(self._values)

    def shared(self) -> Iterator[tuple[K, tuple[V, ...]]]:
        """Keys with several values."""
        return ((key, found) for key, found in self._values.items() if isinstance(found, tuple))

    def note(self, key: K, value: V, *, add: bool) -> None:
        """Add a value, last, or take it away."""
        values = tuple(each for each in self.of(key) if each != value)
        if add:
            values = (*values, value)
        if values:
            self._values[key] = values if len(values) > 1 else values[0]
        else:
            self._values.pop(key, None)
