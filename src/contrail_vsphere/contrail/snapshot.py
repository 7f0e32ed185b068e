"""What we know of Contrail's objects, and which of two pieces of news is the newer one.

Lists, re-reads and the replies to our own writes overtake each other: a page that was asked for before a network was
deleted may arrive after we have seen it gone. Every reading therefore takes a number when it is *sent*; news about an
object is taken only from a reading that was sent after the last thing we learnt about it. What is ignored that way is
never lost: a change after the newer reading has its own notification.

Objects of which there is one for each VM are kept folded.

Pure: no I/O, no clock.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any
from uuid import UUID

from contrail_vsphere.contrail.values import READINGS, TYPES
from contrail_vsphere.model.contrail import ContrailChange, ContrailObject, ContrailVm, InstanceIp, Vmi
from contrail_vsphere.model.errors import ProtocolError
from contrail_vsphere.model.folded import Folded, Folding

Subscriber = Callable[[ContrailChange], None]


FOLDINGS: Mapping[str, Folding[Any]] = MappingProxyType(
    {
        "virtual-machine": Folding(ContrailVm, key="uuid", shared=("owner", "creator")),
        "virtual-machine-interface": Folding(
            Vmi,
            key="uuid",
            shared=("parent_uuid", "network", "security_groups", "address_pairs", "device_owner", "host", "creator"),
            paths=("fq_name",),
        ),
        "instance-ip": Folding(InstanceIp, key="uuid", shared=("family", "network", "subnet_uuid", "creator")),
    }
)
"""By dashed type."""


class Snapshot:
    """Objects by dashed type and uuid; ``wanted`` says which belong in it."""

    def __init__(self, kinds: Iterable[str], *, wanted: Callable[[ContrailObject], bool]) -> None:
        self.kinds = tuple(kinds)
        self._wanted = wanted
        self._objects: dict[str, MutableMapping[UUID, ContrailObject]] = {
            kind: Folded(FOLDINGS[kind]) if kind in FOLDINGS else {} for kind in self.kinds
        }
        self._unreadable: dict[UUID, str] = {}
        self._numbers = itertools.count(1)
        self._under_way: set[int] = set()
        self._learnt: dict[UUID, int] = {}
        """Number of the last news of an object; kept only while an older reading is under way."""
        self._subscribers: list[Subscriber] = []

    def of(self, kind: str) -> Mapping[UUID, Any]:
        """A live, read-only view of one type's objects; looking at the same one twice may give two equal values."""
        return MappingProxyType(self._objects[kind])

    def mentioning(self, kind: str, other: UUID) -> Iterable[ContrailObject]:
        """Objects of a type that may refer to another."""
        objects = self._objects[kind]
        return objects.mentioning(other) if isinstance(objects, Folded) else objects.values()

    @property
    def unreadable(self) -> Mapping[UUID, str]:
        """Objects whose last state could not be understood, and why; what was known of them before is kept."""
        return MappingProxyType(self._unreadable)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call ``subscriber`` for every change from now on; returns the way to stop."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    @contextmanager
    def reading(self) -> Iterator[int]:
        """The time of a reading, from before its first request is sent; gives its number."""
        number = next(self._numbers)
        self._under_way.add(number)
        try:
            yield number
        finally:
            self._under_way.discard(number)
            if not self._under_way:
                self._learnt.clear()

    def take(self, kind: str, rows: Iterable[Mapping[str, Any]], *, number: int) -> set[UUID]:
        """Take in rows that a reading brought; returns whom they were about, readable or not."""
        reading, seen = READINGS[kind], set()
        for row in rows:
            uuid = _uuid(row)
            if uuid is None:
                continue
            seen.add(uuid)
            if not self._newer(uuid, number):
                continue
            try:
                value = reading.read(row)
            except ProtocolError as error:
                self._unreadable[uuid] = str(error)
                continue
            self._unreadable.pop(uuid, None)
            self._set(kind, uuid, value if self._wanted(value) else None, number=number)
        return seen

    def gone(self, kind: str, uuids: Iterable[UUID], *, number: int) -> None:
        """A reading that asked for these did not find them."""
        for uuid in uuids:
            if self._newer(uuid, number):
                self._unreadable.pop(uuid, None)
                self._set(kind, uuid, None, number=number)

    def sweep(self, kind: str, seen: set[UUID], *, number: int) -> None:
        """A whole list was read and brought ``seen``: what it did not bring is gone."""
        self.gone(kind, [uuid for uuid in self._objects[kind] if uuid not in seen], number=number)

    def fold(self, change: ContrailChange) -> None:
        """Take in what the reply to a write of ours told: it is newer than every reading that is under way."""
        known = change.after or change.before
        if known is not None and TYPES[type(known)] in self._objects:
            number = next(self._numbers)
            self._set(TYPES[type(known)], known.uuid, change.after, number=number)

    def _newer(self, uuid: UUID, number: int) -> bool:
        return self._learnt.get(uuid, 0) < number

    def _set(self, kind: str, uuid: UUID, after: ContrailObject | None, *, number: int) -> None:
        if min(self._under_way, default=number) < number:
            self._learnt[uuid] = number
        objects = self._objects[kind]
        if isinstance(objects, Folded) and after is not None and objects.holds(uuid, after):
            return
        before = objects.get(uuid)
        if after == before:
            return
        if after is None:
            del objects[uuid]
        else:
            objects[uuid] = after
        change = ContrailChange(before, after)
        for subscriber in tuple(self._subscribers):
            subscriber(change)


def _uuid(row: Mapping[str, Any]) -> UUID | None:
    try:
        return UUID(str(row.get("uuid")))
    except ValueError:
        return None
