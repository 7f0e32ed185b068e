"""What the simulated config API knows, and the one way to change it.

``with store.commit() as tx`` collects changes; leaving the block numbers them, tells observers and sends the
notifications, all at once. An exception inside undoes everything and nobody hears of it. There is no await inside a
commit, so concurrent requests are as atomic as the real server's are through its locks.

Indexes (names, children, back references) belong to the store; nobody else writes them.
"""

from __future__ import annotations

import bisect
import uuid as uuids
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any

from contrail_vsphere.wire.contrail.messages import Notification, Operation
from contrail_vsphere.wire.contrail.names import back_ref_field, joined
from contrail_vsphere.wire.contrail.schema import ResourceType, resource, resources_by_name

FIRST_NETWORK_ID, FIRST_GROUP_ID = 1, 8_000_000
LOST_NAME = ("ERROR",)
"""What a reference says of an object that is gone (it was relaxed before the delete)."""


@dataclass(slots=True, eq=False)
class ApiObject:
    """One object. Its state is changed through a ``Transaction`` only."""

    uuid: str
    type: ResourceType
    fq_name: tuple[str, ...]
    parent_uuid: str = ""
    parent_type: str = ""
    """Both empty for objects without parent."""
    properties: dict[str, Any] = field(default_factory=dict)
    """What is set, by field name; what is unset is absent."""
    references: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Field -> uuid of the other object -> the reference's attr (or None)."""
    relaxed: set[str] = field(default_factory=set)
    """Objects that may be deleted although this one refers to them."""
    fragments: dict[str, str] = field(default_factory=dict, repr=False)
    """JSON of fields, made when first asked for."""

    @property
    def name(self) -> str:
        """Last element of the fully qualified name."""
        return self.fq_name[-1]

    @property
    def creator(self) -> str:
        """Who made it, as it said itself; empty for what the server made."""
        return str(self.properties.get("id_perms", {}).get("creator") or "")

    def referred(self, field_name: str) -> list[str]:
        """UUIDs of the objects it refers to."""
        return list(self.references.get(field_name, ()))


def marker(item: ApiObject) -> str:
    """Where an object stands in a paged list; ends in its uuid."""
    return f"{joined(item.fq_name)}:{item.uuid}"


@dataclass(frozen=True, slots=True)
class Committed:
    """What one commit did."""

    seq: int
    notifications: tuple[Notification, ...]


Observer = Callable[[Committed], None]


@dataclass(slots=True)
class Transaction:
    """The open commit. Changes are visible inside the block at once and undone if it fails."""

    store: Store
    request_id: str
    _undo: list[Callable[[], None]] = field(default_factory=list)
    _messages: list[tuple[Operation, ApiObject, Mapping[str, Any] | None] | Notification] = field(default_factory=list)

    def insert(self, made: ApiObject) -> None:
        """Put a new object in."""
        self.store._insert(made)
        self._undo.append(lambda: self.store._discard(made))

    def remove(self, gone: ApiObject) -> None:
        """Take an object out; what refers to it keeps a reference to nothing."""
        self.store._discard(gone)
        self._undo.append(lambda: self.store._insert(gone))

    def set_property(self, changed: ApiObject, name: str, value: Any) -> None:
        """Set a property, or unset it with None."""
        before = changed.properties.get(name)

        def put(value: Any) -> None:
            if value is None:
                changed.properties.pop(name, None)
            else:
                changed.properties[name] = value
            changed.fragments.clear()

        put(value)
        self._undo.append(lambda: put(before))

    def set_references(self, changed: ApiObject, name: str, references: Mapping[str, Any]) -> None:
        """Replace all references of one field; an empty mapping clears it."""
        before = changed.references.get(name, {})
        self.store._refer(changed, name, references)
        self._undo.append(lambda: self.store._refer(changed, name, before))

    def touch(self, changed: ApiObject) -> None:
        """Note the time of the change in ``id_perms``."""
        perms = {**changed.properties.get("id_perms", {}), "last_modified": self.store.stamp()}
        self.set_property(changed, "id_perms", perms)

    def undo(self, action: Callable[[], None]) -> None:
        """Have something undone with the rest, should the commit fail."""
        self._undo.append(action)

    def tell(self, operation: Operation, about: ApiObject, extra: Mapping[str, Any] | None = None) -> None:
        """Send a notification when the commit is done; ``CREATE`` and ``DELETE`` show the object as it then is."""
        message = (operation, about, extra)
        self._messages.append(self._notification(*message) if operation == "DELETE" else message)

    def _notification(self, operation: Operation, about: ApiObject, extra: Mapping[str, Any] | None) -> Notification:
        whole = self.store.as_dict(about) if operation in {"CREATE", "DELETE"} else None
        return Notification(
            operation=operation,
            type=about.type.underscored,
            uuid=about.uuid,
            fq_name=about.fq_name,
            request_id=self.request_id,
            obj_dict=whole,
            extra_dict=extra,
        )

    def _finish(self) -> tuple[Notification, ...]:
        return tuple(item if isinstance(item, Notification) else self._notification(*item) for item in self._messages)

    def _roll_back(self) -> None:
        for action in reversed(self._undo):
            action()


class Store:
    """All objects and their indexes."""

    def __init__(self, *, now: Callable[[], datetime], seed: int = 0) -> None:
        self._now = now
        self._random = Random(seed)
        self.objects: dict[str, ApiObject] = {}
        self.seq = 0
        """Number of the last commit."""
        self.user_agent_values: dict[str, Any] = {}
        """The key-value store of ``/useragent-kv``."""
        self.network_ids = FIRST_NETWORK_ID
        self.group_ids = FIRST_GROUP_ID
        self._by_type: dict[str, dict[str, ApiObject]] = {name: {} for name in resources_by_name()}
        self._names: dict[tuple[str, tuple[str, ...]], str] = {}
        self._children: dict[str, dict[str, dict[str, None]]] = {}
        self._back: dict[str, dict[str, dict[str, None]]] = {}
        self._ordered: dict[str, list[str]] = {}
        self._observers: list[Observer] = []
        self._open: Transaction | None = None

    # -- reading ------------------------------------------------------------------------------------------------

    def __getitem__(self, uuid: str) -> ApiObject:
        return self.objects[uuid]

    def of_type(self, name: str) -> Mapping[str, ApiObject]:
        """The objects of a type (dashed or underscored) by uuid, oldest first. KeyError for no such type."""
        return self._by_type[resource(name).name]

    def find(self, type_name: str, fq_name: Sequence[str]) -> ApiObject | None:
        """The object of that type and name."""
        uuid = self._names.get((type_name, tuple(fq_name)))
        return self.objects[uuid] if uuid is not None else None

    def ordered(self, type_name: str) -> list[str]:
        """Markers (see ``marker``) of all objects of a type, sorted; kept in order once it was asked for.

        Not to be changed by the caller.
        """
        known = self._ordered.get(type_name)
        if known is None:
            known = self._ordered[type_name] = sorted(map(marker, self._by_type[type_name].values()))
        return known

    def children(self, parent: str, type_name: str = "") -> list[ApiObject]:
        """Children of an object, of one type or of all."""
        by_type = self._children.get(parent, {})
        chosen = [by_type.get(type_name, {})] if type_name else by_type.values()
        return [self.objects[uuid] for group in chosen for uuid in group]

    def referrers(self, target: str, type_name: str = "") -> list[ApiObject]:
        """Objects that refer to a uuid, of one type or of all."""
        by_type = self._back.get(target, {})
        chosen = [by_type.get(type_name, {})] if type_name else by_type.values()
        return [self.objects[uuid] for group in chosen for uuid in group]

    def name_of(self, uuid: str) -> tuple[str, ...]:
        """The name that a reference shows."""
        found = self.objects.get(uuid)
        return found.fq_name if found is not None else LOST_NAME

    def counts(self) -> Counter[str]:
        """How many objects there are of each type that has any."""
        return Counter({name: len(found) for name, found in self._by_type.items() if found})

    def as_dict(self, shown: ApiObject) -> dict[str, Any]:
        """An object as notifications carry it."""
        made: dict[str, Any] = {"uuid": shown.uuid, "fq_name": list(shown.fq_name)}
        if shown.parent_uuid:
            made |= {"parent_type": shown.parent_type, "parent_uuid": shown.parent_uuid}
        made |= shown.properties
        for name, references in shown.references.items():
            if references:
                made[name] = [
                    {"to": list(self.name_of(uuid)), "attr": attr, "uuid": uuid} for uuid, attr in references.items()
                ]
        return made

    def stamp(self) -> str:
        """Now, as ``id_perms`` has it: UTC without saying so."""
        return self._now().replace(tzinfo=None).isoformat(timespec="microseconds")

    def new_uuid(self) -> str:
        """One the server makes up."""
        return str(uuids.UUID(int=self._random.getrandbits(128), version=4))

    # -- changing -----------------------------------------------------------------------------------------------

    @contextmanager
    def commit(self, request_id: str = "") -> Iterator[Transaction]:
        """Change something; a commit inside a commit is part of it."""
        if self._open is not None:
            yield self._open
            return
        tx = self._open = Transaction(self, request_id or f"req-{self.new_uuid()}")
        try:
            yield tx
            sent = tx._finish()
        except BaseException:
            tx._roll_back()
            raise
        finally:
            self._open = None
        self.seq += 1
        committed = Committed(self.seq, sent)
        for observer in list(self._observers):
            observer(committed)

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Be called after every commit; the returned function ends it."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    def _insert(self, made: ApiObject) -> None:
        self.objects[made.uuid] = made
        self._by_type[made.type.name][made.uuid] = made
        self._names[made.type.name, made.fq_name] = made.uuid
        ordered = self._ordered.get(made.type.name)
        if ordered is not None:
            bisect.insort(ordered, marker(made))
        if made.parent_uuid:
            self._children.setdefault(made.parent_uuid, {}).setdefault(made.type.name, {})[made.uuid] = None
        for references in made.references.values():
            for target in references:
                self._back.setdefault(target, {}).setdefault(made.type.name, {})[made.uuid] = None
        self._forget_name(made.uuid)

    def _discard(self, gone: ApiObject) -> None:
        del self.objects[gone.uuid]
        del self._by_type[gone.type.name][gone.uuid]
        del self._names[gone.type.name, gone.fq_name]
        ordered = self._ordered.get(gone.type.name)
        if ordered is not None:
            del ordered[bisect.bisect_left(ordered, marker(gone))]
        if gone.parent_uuid:
            self._children[gone.parent_uuid][gone.type.name].pop(gone.uuid)
        for references in gone.references.values():
            for target in references:
                self._back[target][gone.type.name].pop(gone.uuid, None)
        self._forget_name(gone.uuid)

    def _refer(self, changed: ApiObject, name: str, references: Mapping[str, Any]) -> None:
        for target in changed.references.get(name, ()):
            self._back[target][changed.type.name].pop(changed.uuid, None)
        if references:
            changed.references[name] = dict(references)
        else:
            changed.references.pop(name, None)
        for target in references:
            self._back.setdefault(target, {}).setdefault(changed.type.name, {})[changed.uuid] = None
        changed.fragments.clear()

    def _forget_name(self, uuid: str) -> None:
        """References show the name of what they lead to; an object that comes or goes changes them."""
        for group in self._back.get(uuid, {}).values():
            for referrer in group:
                self.objects[referrer].fragments.clear()

    def back_references(self, target: ApiObject) -> Mapping[str, list[ApiObject]]:
        """Field -> referrers, for the fields that have any."""
        return {
            back_ref_field(name): [self.objects[uuid] for uuid in group]
            for name, group in self._back.get(target.uuid, {}).items()
            if group
        }
