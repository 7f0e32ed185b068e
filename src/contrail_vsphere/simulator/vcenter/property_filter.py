"""A filter: what a client wants to be told about, and which objects that is at any moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.core.paths import overlap
from contrail_vsphere.simulator.core.session import SessionObject, session_of
from contrail_vsphere.simulator.core.world import Committed
from contrail_vsphere.simulator.vcenter.selection import Resolve, Selection
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.update_stream import UpdateStream
    from contrail_vsphere.simulator.vcenter.views import View

LOG_LENGTH = 100_000


@dataclass(slots=True, eq=False, kw_only=True)
class PropertyFilter(SessionObject):
    """Its members, and the log of who came and went.

    A filter over one view shares the view's live set. Any other one walks its spec once, remembers what it read, and
    walks again only after a commit that touched one of those properties.
    """

    wsdl: ClassVar[str] = "PropertyFilter"

    selection: Selection = field(repr=False)
    partial_updates: bool = False
    stream: UpdateStream = field(repr=False)
    members: Mapping[str, Entity] = field(default_factory=dict, repr=False)
    lost: int = 0
    """Membership changes up to this sequence number are no longer in the log."""
    _resolve: Resolve = field(repr=False)
    _log: deque[tuple[int, Entity, bool]] = field(default_factory=deque, repr=False)
    _view: View | None = field(default=None, repr=False)
    _read: Mapping[str, set[str]] = field(default_factory=dict, repr=False)
    _dirty: bool = False
    _stop: Callable[[], None] | None = field(default=None, repr=False)

    @managed_property("spec")
    def spec(self) -> Any:
        return self.selection.spec

    @managed_property("partialUpdates")
    def _partial_updates(self) -> bool:
        return self.partial_updates

    @operation("DestroyPropertyFilter")
    def destroy_filter(self, call: Call) -> None:
        session_of(call).drop(self)

    def open(self) -> None:
        """Find the members and begin to follow; ManagedObjectNotFound when the spec names an object that is gone."""
        self._view = self.selection.view(self._resolve)
        if self._view is not None:
            self.members = self._view.members
            self._view.listeners.append(self._note)
            return
        found = self.selection.walk(self._resolve)
        if found.missing and not self.selection.lenient:
            raise SoapFault(vmodl.fault.ManagedObjectNotFound(obj=found.missing[0]), "The object does not exist.")
        self.members, self._read = found.objects, found.read
        self._stop = self.world.observe(self._on_commit)

    def close(self) -> None:
        if self._view is not None:
            self._view.listeners.remove(self._note)
            self._view = None
        if self._stop is not None:
            self._stop()
            self._stop = None
        self.stream.forget(self)

    def paths(self, entity: Entity) -> tuple[str, ...]:
        """Property paths wanted of an object."""
        return self.selection.paths(entity) or ()

    def refresh(self) -> None:
        """Walk again if something the last walk read has changed."""
        if not self._dirty:
            return
        self._dirty = False
        before, found = self.members, self.selection.walk(self._resolve)
        self.members, self._read = found.objects, found.read
        for moid, entity in before.items():
            if moid not in self.members:
                self._note(self.world.seq, entity, False)
        for moid, entity in self.members.items():
            if moid not in before:
                self._note(self.world.seq, entity, True)

    def moves_after(self, seq: int) -> Iterator[tuple[Entity, bool]]:
        """Objects that came (True) or went after ``seq``, newest first."""
        for noted, entity, came in reversed(self._log):
            if noted <= seq:
                return
            yield entity, came

    def _note(self, seq: int, entity: Entity, came: bool) -> None:
        if len(self._log) >= LOG_LENGTH:
            self.lost = self._log.popleft()[0]
        self._log.append((seq, entity, came))

    def _on_commit(self, done: Committed) -> None:
        if self._dirty:
            return
        for entry in done.entries:
            read = self._read.get(entry.entity.moid)
            if entry.kind == "leave":
                touched = read is not None or entry.entity.moid in self.members
            else:
                touched = read is not None and any(overlap(path, entry.path) for path in read)
            if touched:
                self._dirty = True
                return
