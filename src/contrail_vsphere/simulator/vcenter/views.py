"""Views: named sets of inventory objects that keep themselves up to date.

A ContainerView knows its members as a live set: it follows the journal and looks only at objects that came, went or
moved, so a change costs the same in a view of ten objects and of a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.core.session import Session, SessionObject, session_of
from contrail_vsphere.simulator.core.types import conforms, is_managed_entity
from contrail_vsphere.simulator.core.world import Committed, JournalEntry
from contrail_vsphere.simulator.vcenter import sight
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import managed_class, vim, vmodl, wsdl_name

Listener = Callable[[int, Entity, bool], None]
"""Called with (sequence number, object, whether it came) for every change of a view's membership."""

MOVES = frozenset({"parent", "runtime.host", "resourcePool", "parentVApp"})
"""Property paths whose change may move an object from one container to another."""

CONTAINERS = ("Folder", "Datacenter", "ComputeResource", "ResourcePool", "HostSystem")


def containers(entity: Entity) -> Iterator[Entity]:
    """What directly contains an object: its parent, and for a VM its host and resource pool as well."""
    for name in ("parent", "host", "resource_pool"):
        found = getattr(entity, name, None)
        if isinstance(found, Entity):
            yield found


@dataclass(slots=True, eq=False, kw_only=True)
class View(SessionObject):
    """Base of all views. ``members`` is in the order in which objects came."""

    wsdl: ClassVar[str] = "ManagedObjectView"
    volatile: ClassVar[frozenset[str]] = frozenset({"view"})

    members: dict[str, Entity] = field(default_factory=dict, repr=False)
    listeners: list[Listener] = field(default_factory=list, repr=False)
    _stop: Callable[[], None] | None = field(default=None, repr=False)

    @managed_property("view")
    def view(self) -> list[Entity]:
        return list(self.members.values())

    @operation("DestroyView")
    def destroy_view(self, call: Call) -> None:
        """The view goes; filters over it keep no members."""
        session_of(call).drop(self)

    def follow(self) -> None:
        """Begin to follow the world's commits."""
        self._stop = self.world.observe(self._on_commit)

    def close(self) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None
        if self.listeners and self.members:
            seq = self._mark()
            for entity in list(self.members.values()):
                self._leave(seq, entity)
        self.world.service(ViewManager).views.pop(self.moid, None)

    def _mark(self) -> int:
        """A number of its own for a membership change that no commit made."""
        with self.world.commit() as tx:
            tx.touch(self, "view")
        return self.world.seq

    def _on_commit(self, done: Committed) -> None:
        for entry in done.entries:
            self._on_entry(entry)

    def _on_entry(self, entry: JournalEntry) -> None:
        if entry.kind == "leave" and entry.entity.moid in self.members:
            self._leave(entry.seq, entry.entity)

    def _enter(self, seq: int, entity: Entity) -> None:
        self.members[entity.moid] = entity
        for listener in tuple(self.listeners):
            listener(seq, entity, True)

    def _leave(self, seq: int, entity: Entity) -> None:
        del self.members[entity.moid]
        for listener in tuple(self.listeners):
            listener(seq, entity, False)


@dataclass(slots=True, eq=False, kw_only=True)
class ContainerView(View):
    """Everything of some types in a container, at any depth if ``recursive``."""

    wsdl: ClassVar[str] = "ContainerView"

    container: Entity
    types: tuple[str, ...]
    recursive: bool
    _wanted: tuple[Any, ...] = field(default=(), repr=False)

    @managed_property("container")
    def _container(self) -> Entity:
        return self.container

    @managed_property("type")
    def _type(self) -> list[str]:
        return list(self.types)

    @managed_property("recursive")
    def _recursive(self) -> bool:
        return self.recursive

    def fill(self) -> None:
        """Collect the members once, then follow the journal."""
        self._wanted = tuple(managed_class(name) for name in self.types)
        for entity in self.world.of_type(Entity):
            if self._holds(entity):
                self.members[entity.moid] = entity
        self.follow()

    def _on_entry(self, entry: JournalEntry) -> None:
        entity = entry.entity
        if entry.kind == "modify":
            if entry.path == "permission" and sight.restricted(self.world, self.session):
                self._review_all(entry.seq)
                return
            if entry.path not in MOVES or not is_managed_entity(entity):
                return
            if conforms(entity, vim.VirtualMachine) or not self.recursive:
                self._review(entry.seq, entity)
            else:  # a whole branch moved
                self._review_all(entry.seq)
        else:
            self._review(entry.seq, entity)

    def _review_all(self, seq: int) -> None:
        for other in list(self.world.of_type(Entity)):
            self._review(seq, other)

    def _review(self, seq: int, entity: Entity) -> None:
        inside = self.world.get(entity.moid) is entity and self._holds(entity)
        if inside and entity.moid not in self.members:
            self._enter(seq, entity)
        elif not inside and entity.moid in self.members:
            self._leave(seq, entity)

    def _holds(self, entity: Entity) -> bool:
        if not is_managed_entity(entity) or entity is self.container:
            return False
        if not sight.sight(self.world, self.session)(entity):
            return False
        if self._wanted and not any(conforms(entity, wanted) for wanted in self._wanted):
            return False
        if not self.recursive:
            return any(above is self.container for above in containers(entity))
        return self._below(entity)

    def _below(self, entity: Entity) -> bool:
        """Whether the container is above the object along any of its chains; most end at once at the root folder."""
        waiting = list(containers(entity))
        seen = set()
        while waiting:
            above = waiting.pop(0)
            if above is self.container:
                return True
            if above.moid not in seen:
                seen.add(above.moid)
                waiting.extend(containers(above))
        return False


@dataclass(slots=True, eq=False, kw_only=True)
class ListView(View):
    """Objects that the client named; those that are removed from the world fall out."""

    wsdl: ClassVar[str] = "ListView"

    @operation("ModifyListView")
    def modify(self, call: Call, add: list[Any] | None = None, remove: list[Any] | None = None) -> list[Any]:
        """Returns the references in ``add`` that could not be resolved."""
        for reference in remove or ():
            entity = self.members.get(reference._moId)
            if entity is not None:
                self._leave(self._mark(), entity)
        return self._add(call, add or ())

    @operation("ResetListView")
    def reset(self, call: Call, obj: list[Any] | None = None) -> list[Any]:
        """Replaces all members; returns the references that could not be resolved."""
        wanted = {reference._moId for reference in obj or ()}
        for entity in [entity for moid, entity in self.members.items() if moid not in wanted]:
            self._leave(self._mark(), entity)
        return self._add(call, obj or ())

    @operation("ResetListViewFromView")
    def reset_from_view(self, call: Call, view: Any) -> None:
        """Replaces all members by those of another view."""
        self.reset(call, [entity.ref for entity in _find_view(call, view).members.values()])

    def _add(self, call: Call, references: Iterable[Any]) -> list[Any]:
        unresolved = []
        for reference in references:
            entity = self.world.get(reference._moId) or session_of(call).objects.get(reference._moId)
            if entity is None:
                unresolved.append(reference)
            elif entity.moid not in self.members:
                self._enter(self._mark(), entity)
        return unresolved


@dataclass(slots=True, eq=False, kw_only=True)
class ViewManager(Entity):
    """Makes views; they live in the session that asked."""

    wsdl: ClassVar[str] = "ViewManager"
    volatile: ClassVar[frozenset[str]] = frozenset({"viewList"})
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    views: dict[str, View] = field(default_factory=dict, repr=False)

    @managed_property("viewList")
    def view_list(self) -> list[Entity]:
        return list(self.views.values())

    @operation("CreateContainerView")
    def create_container_view(
        self, call: Call, container: Any, recursive: bool, type: list[Any] | None = None
    ) -> Entity:
        """Members of the given types (all inventory objects without any) in a folder, datacenter, host or pool."""
        found = self.world.get(container._moId)
        if found is None:
            raise SoapFault(vmodl.fault.ManagedObjectNotFound(obj=container))
        if not any(conforms(found, managed_class(name)) for name in CONTAINERS):
            raise SoapFault(vmodl.fault.InvalidArgument(invalidProperty="container"), "Not a container.")
        session = session_of(call)
        view = ContainerView(
            world=self.world,
            moid=session.new_id(""),
            session=session,
            container=found,
            types=tuple(_type_name(kind) for kind in type or ()),
            recursive=bool(recursive),
        )
        view.fill()
        return self._keep(session, view)

    @operation("CreateListView")
    def create_list_view(self, call: Call, obj: list[Any] | None = None) -> Entity:
        """A view of exactly these objects; references that cannot be resolved are left out."""
        session = session_of(call)
        view = ListView(world=self.world, moid=session.new_id(""), session=session)
        view.follow()
        view._add(call, obj or ())
        return self._keep(session, view)

    @operation("CreateListViewFromView")
    def create_list_view_from_view(self, call: Call, view: Any) -> Entity:
        """A view of what another one contains now."""
        return self.create_list_view(call, [entity.ref for entity in _find_view(call, view).members.values()])

    def _keep(self, session: Session, view: View) -> View:
        self.views[view.moid] = view
        return session.add(view)


def _find_view(call: Call, reference: Any) -> View:
    found = session_of(call).objects.get(reference._moId)
    if not isinstance(found, View):
        raise SoapFault(vmodl.fault.ManagedObjectNotFound(obj=reference))
    return found


def _type_name(kind: Any) -> str:
    """Type parameters arrive as pyVmomi classes; as plain text where the API has no such type."""
    if isinstance(kind, str):
        raise SoapFault(vmodl.fault.InvalidArgument(invalidProperty="type"), f"There is no type {kind}.")
    return wsdl_name(kind)
