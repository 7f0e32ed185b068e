"""Many values in little memory: each folded into one bytes object, and made anew when it is read.

A site of 50,000 VMs has half a dozen values of each, and as a Python object one of them takes up to a kilobyte: 112
bytes for a UUID, 90 for a text, a reference for each field. Folded, it is what tells it from the others: 16 bytes for a
UUID, also where it is written as text, and a small number for what thousands share. Reading costs some microseconds and
gives an equal value, never the same object; equal values have equal rows.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import fields
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from operator import attrgetter
from typing import Any, Generic, Literal, NamedTuple, TypeVar, overload
from uuid import UUID

import msgspec

from contrail_vsphere.model.contrail import Annotations

K = TypeVar("K", bound=str)
T = TypeVar("T")
Turn = Callable[[Any], Any]
UUID_LENGTH = 36
_ENCODER = msgspec.msgpack.Encoder(uuid_format="bytes")


class _Part(NamedTuple):
    """How one field is folded: its type in a row, and what is done to it on the way there and back."""

    wire: Any
    fold: Turn | None = None
    unfold: Turn | None = None


class Folding(Generic[T]):
    """How values of a frozen dataclass become rows and values again.

    ``key``: the field that the table's key tells; rows are without it. ``shared``: fields of which thousands of rows
    have few different values. ``paths``: tuples of text of which that is true but for the last element (``fq_name``).
    ``nested``: fields with several values of another dataclass. What was once shared is kept as long as the folding is.
    """

    def __init__(
        self,
        of: type[T],
        *,
        key: str = "",
        shared: Collection[str] = (),
        paths: Collection[str] = (),
        nested: Mapping[str, Folding[Any]] = types.MappingProxyType({}),
    ) -> None:
        self._of = of
        names = [each.name for each in fields(of)]  # type: ignore[arg-type]
        self._key_at = names.index(key) if key else None
        self._words: dict[Any, int] = {}
        self._by_number: list[Any] = []
        hints = typing.get_type_hints(of)
        names = [name for name in names if name != key]
        self._get: Turn = attrgetter(*names)
        parts = []
        for name in names:
            if name in shared:
                parts.append(_Part(int, self._number, self._by_number.__getitem__))
            elif name in paths:
                parts.append(_Part(tuple[int, Any], self._fold_path, self._unfold_path))
            elif name in nested:
                parts.append(_rows_of(nested[name]))
            else:
                parts.append(self._part(hints[name]))
        self._folds = [(at, part.fold) for at, part in enumerate(parts) if part.fold is not None]
        self._unfolds = [(at, part.unfold) for at, part in enumerate(parts) if part.unfold is not None]
        self.wire = tuple.__class_getitem__(tuple(part.wire for part in parts))
        self._one: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(self.wire)
        self._all: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(tuple[self.wire, ...])  # type: ignore[name-defined]

    def fold(self, value: T) -> bytes:
        """Its row."""
        return _ENCODER.encode(self.parts(value))

    def unfold(self, row: bytes, key: Any = None) -> T:
        """The value of a row."""
        return self.value(self._one.decode(row), key)

    def fold_all(self, values: Iterable[T]) -> bytes:
        """Several in one row."""
        return _ENCODER.encode([self.parts(value) for value in values])

    def unfold_all(self, row: bytes) -> tuple[T, ...]:
        """All of a row that ``fold_all`` gave."""
        return tuple([self.value(parts) for parts in self._all.decode(row)])

    def parts(self, value: T) -> list[Any]:
        """What its row is made of."""
        parts = list(self._get(value))
        for at, fold in self._folds:
            parts[at] = fold(parts[at])
        return parts

    def value(self, parts: Iterable[Any], key: Any = None) -> T:
        """The value that they are the parts of."""
        found = list(parts)
        for at, unfold in self._unfolds:
            found[at] = unfold(found[at])
        if self._key_at is not None:
            found.insert(self._key_at, key)
        return self._of(*found)

    # -- parts --------------------------------------------------------------------------------------------------

    def _number(self, value: Any) -> int:
        number = self._words.setdefault(value, len(self._by_number))
        if number == len(self._by_number):
            self._by_number.append(value)
        return number

    def _fold_path(self, path: tuple[str, ...]) -> tuple[int, Any]:
        return self._number(path[:-1]), _fold_text(path[-1])

    def _unfold_path(self, parts: tuple[int, Any]) -> tuple[str, ...]:
        return (*self._by_number[parts[0]], _unfold_text(parts[1]))

    def _fold_annotations(self, found: Mapping[str, str]) -> list[Any]:
        texts = found if isinstance(found, Annotations) else Annotations(found.items())
        return [self._number(tuple(texts)), *(_fold_text(text) for text in texts.values())]

    def _unfold_annotations(self, parts: tuple[Any, ...]) -> Annotations:
        return Annotations(zip(self._by_number[parts[0]], map(_unfold_text, parts[1:]), strict=True))

    def _part(self, hint: Any) -> _Part:
        """Of a field, by its type."""
        while hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if hint is str or origin is Literal:
            return _Part(Any, _fold_text, _unfold_text)
        if hint in (int, bool, float, UUID, datetime):
            return _Part(hint)
        if isinstance(hint, type) and issubclass(hint, tuple):  # a NamedTuple
            return _Part(hint)
        if origin is tuple and arguments[-1] is Ellipsis:
            return _several(self._part(arguments[0]))
        if origin is Mapping:
            return _Part(tuple[Any, ...], self._fold_annotations, self._unfold_annotations)
        if origin in (typing.Union, types.UnionType):
            some = [each for each in arguments if each is not types.NoneType]
            part = _ADDRESS if set(some) == {IPv4Address, IPv6Address} else self._part(some[0])
            return _optional(part) if len(some) < len(arguments) else part
        raise TypeError(f"{self._of.__name__} has a field of type {hint}, which nobody knows how to fold")


class Folded(MutableMapping[UUID, T]):
    """Values by UUID, as rows."""

    def __init__(self, folding: Folding[T]) -> None:
        self._folding = folding
        self._rows: dict[int, bytes] = {}

    def holds(self, key: UUID, value: T) -> bool:
        """Whether it has exactly this value: costs less than looking at it."""
        return self._rows.get(key.int) == self._folding.fold(value)

    def mentioning(self, other: UUID) -> Iterator[T]:
        """All values that refer to another UUID; by rare chance one too many."""
        needle = other.bytes
        found = [number for number, row in self._rows.items() if needle in row]
        return (self[UUID(int=number)] for number in found)

    def __getitem__(self, key: UUID) -> T:
        return self._folding.unfold(self._rows[key.int], key)

    def __setitem__(self, key: UUID, value: T) -> None:
        self._rows[key.int] = self._folding.fold(value)

    def __delitem__(self, key: UUID) -> None:
        del self._rows[key.int]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, UUID) and key.int in self._rows

    def __iter__(self) -> Iterator[UUID]:
        return (UUID(int=number) for number in self._rows)

    def __len__(self) -> int:
        return len(self._rows)


class FoldedById(MutableMapping[K, T]):
    """Values by an id that is a text, as rows."""

    def __init__(self, folding: Folding[T]) -> None:
        self._folding = folding
        self._rows: dict[K, bytes] = {}

    def same(self, key: K, other: Mapping[K, T]) -> bool:
        """Whether another table has the same value: of two of one folding the rows say it."""
        if isinstance(other, FoldedById) and other._folding is self._folding:
            return self._rows.get(key) == other._rows.get(key)
        return self.get(key) == other.get(key)

    def __getitem__(self, key: K) -> T:
        return self._folding.unfold(self._rows[key], key)

    def __setitem__(self, key: K, value: T) -> None:
        self._rows[key] = self._folding.fold(value)

    def __delitem__(self, key: K) -> None:
        del self._rows[key]

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __iter__(self) -> Iterator[K]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


class FoldedSequence(Sequence[T]):
    """Values in their order, as rows."""

    def __init__(self, folding: Folding[T], rows: Sequence[bytes]) -> None:
        self._folding = folding
        self._rows = rows

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[T]: ...
    def __getitem__(self, at: int | slice) -> T | Sequence[T]:
        if isinstance(at, slice):
            return FoldedSequence(self._folding, self._rows[at])
        return self._folding.unfold(self._rows[at])

    def __len__(self) -> int:
        return len(self._rows)


def _several(part: _Part) -> _Part:
    wire = tuple[part.wire, ...]  # type: ignore[name-defined]
    fold, unfold = part.fold, part.unfold
    if fold is None or unfold is None:
        return _Part(wire)
    return _Part(wire, lambda values: [fold(each) for each in values], lambda found: tuple(map(unfold, found)))


def _optional(part: _Part) -> _Part:
    wire = part.wire if part.wire is Any else part.wire | None
    fold, unfold = part.fold, part.unfold
    if fold is None or unfold is None:
        return _Part(wire)
    return _Part(
        wire,
        lambda value: None if value is None else fold(value),
        lambda found: None if found is None else unfold(found),
    )


def _rows_of(folding: Folding[Any]) -> _Part:
    return _Part(
        tuple[folding.wire, ...],  # type: ignore[name-defined]
        lambda values: [folding.parts(each) for each in values],
        lambda found: tuple(folding.value(each) for each in found),
    )


def _fold_text(text: str) -> str | bytes:
    """Sixteen bytes for a UUID in its usual form; anything else as it is."""
    return bytes.fromhex(text.replace("-", "")) if len(text) == UUID_LENGTH and _UUID.fullmatch(text) else text


def _unfold_text(found: str | bytes) -> str:
    if isinstance(found, str):
        return found
    text = found.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ADDRESS = _Part(str, str, ip_address)
