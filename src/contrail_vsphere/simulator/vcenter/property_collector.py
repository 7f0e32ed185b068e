"""The PropertyCollector: how clients read state, once or continuously."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, ClassVar

from contrail_vsphere.simulator.core.calls import Call, current_call
from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.core.session import Session, SessionObject, session_of
from contrail_vsphere.simulator.core.world import World
from contrail_vsphere.simulator.vcenter import authorization, sight
from contrail_vsphere.simulator.vcenter.property_filter import PropertyFilter
from contrail_vsphere.simulator.vcenter.property_wire import contents
from contrail_vsphere.simulator.vcenter.selection import Selection
from contrail_vsphere.simulator.vcenter.service_switches import Switches
from contrail_vsphere.simulator.vcenter.update_stream import UpdateStream, UpdateStreams
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.metadata import VIM
from contrail_vsphere.wire.soap.types import vmodl
from contrail_vsphere.wire.soap.values import build

MAX_TOKENS = 64
OPEN_TO_ALL = frozenset({"ServiceInstance"})
"""What may be read before login."""


@dataclass(frozen=True, slots=True)
class Paging:
    """Most objects in one answer, whatever the client asks for; 0: no limit. vCenter's policy is 100."""

    page: int = 100


class Resolver:
    """How references of a client in this session are resolved: its own views and collectors, then the inventory."""

    def __init__(self, world: World, session: Session | None) -> None:
        self._world, self._session = world, session

    def __call__(self, reference: Any) -> Entity | None:
        """None too for what the user does not see."""
        moid = reference._moId
        found: Entity | None = self._session.objects.get(moid) if self._session is not None else None
        found = found or self._world.get(moid)
        return found if found is not None and found.namespace == VIM and self.sees(found) else None

    def sees(self, entity: Entity) -> bool:
        """Permissions are asked each time: they may change while a filter lives."""
        return sight.sight(self._world, self._session)(entity)


@dataclass(slots=True)
class _Pages:
    """Answers to RetrievePropertiesEx that are not fully read; a token is good for one use."""

    waiting: OrderedDict[str, tuple[list[tuple[Entity, tuple[str, ...]]], int]] = field(default_factory=OrderedDict)

    def keep(self, rest: list[tuple[Entity, tuple[str, ...]]], size: int) -> str:
        token = str(uuid.uuid4())
        self.waiting[token] = (rest, size)
        while len(self.waiting) > MAX_TOKENS:
            self.waiting.popitem(last=False)
        return token

    def end(self) -> None:
        self.waiting.clear()

    def take(self, token: str) -> tuple[list[tuple[Entity, tuple[str, ...]]], int]:
        found = self.waiting.pop(token, None)
        if found is None:
            raise SoapFault(vmodl.fault.InvalidArgument(invalidProperty="token"), "The token is not valid.")
        return found


@dataclass(slots=True, eq=False, kw_only=True)
class PropertyCollector(Entity):
    """The one that ServiceContent names: every session has its own filters and versions behind it."""

    wsdl: ClassVar[str] = "PropertyCollector"
    volatile: ClassVar[frozenset[str]] = frozenset({"filter"})

    @managed_property("filter")
    def filter(self) -> list[Entity]:
        """Of the session that asks."""
        call = current_call.get()
        return list(self._stream(call).filters.values()) if call is not None and call.session is not None else []

    # -- reading once -------------------------------------------------------------------------------------------

    @operation("RetrieveProperties")
    def retrieve_properties(self, call: Call, specSet: list[Any]) -> list[Any]:
        """Everything at once; the old form, without pages."""
        return [contents(entity, paths, call.version) for entity, paths in self._select(call, specSet)]

    @operation("RetrievePropertiesEx")
    def retrieve_properties_ex(self, call: Call, specSet: list[Any], options: Any = None) -> Any:
        """At most 100 objects, with a token for the next page."""
        asked = options.maxObjects if options is not None else None
        if asked is not None and asked <= 0:
            raise SoapFault(vmodl.fault.InvalidArgument(invalidProperty="options.maxObjects"), "Must be positive.")
        found = self._select(call, specSet)
        policy = call.world.service(Paging).page
        if asked and Switches.of(call.world).pages_above_policy:
            policy = 0
        size = min(size for size in (asked or len(found), policy or len(found), len(found)) if size) if found else 1
        return self._page(call, found, size)

    @operation("ContinueRetrievePropertiesEx")
    def continue_retrieve(self, call: Call, token: str) -> Any:
        """The next page; the objects were selected by the first call, their values are read now."""
        return self._page(call, *self._pages(call).take(token))

    @operation("CancelRetrievePropertiesEx")
    def cancel_retrieve(self, call: Call, token: str) -> None:
        """The rest is not wanted."""
        self._pages(call).take(token)

    def _select(self, call: Call, specs: list[Any]) -> list[tuple[Entity, tuple[str, ...]]]:
        resolve = Resolver(call.world, call.session)
        found: dict[str, tuple[Entity, dict[str, None]]] = {}
        for spec in specs:
            selection = Selection(spec, keyed_paths=Switches.of(call.world).keyed_paths)
            if call.session is None:
                for root in spec.objectSet:
                    if root.obj._moId not in OPEN_TO_ALL or root.selectSet:
                        authorization.check(call, authorization.VIEW, resolve(root.obj) or self)
            walked = selection.walk(resolve)
            if walked.missing and not selection.lenient:
                raise SoapFault(
                    vmodl.fault.ManagedObjectNotFound(obj=walked.missing[0]),
                    f"The object '{walked.missing[0]._moId}' has already been deleted or was not completely created",
                )
            for moid, entity in walked.objects.items():
                paths = found.setdefault(moid, (entity, {}))[1]
                paths.update(dict.fromkeys(selection.paths(entity) or ()))
        return [(entity, tuple(paths)) for entity, paths in found.values()]

    def _page(self, call: Call, found: list[tuple[Entity, tuple[str, ...]]], size: int) -> Any:
        if not found:
            return None
        resolve = Resolver(call.world, call.session)
        objects = [
            contents(entity, paths, call.version) for entity, paths in found[:size] if resolve(entity.ref) is entity
        ]
        token = self._pages(call).keep(found[size:], size) if len(found) > size else None
        return build(vmodl.query.PropertyCollector.RetrieveResult, token=token, objects=objects)

    # -- reading continuously -----------------------------------------------------------------------------------

    @operation("CreateFilter")
    def create_filter(self, call: Call, spec: Any, partialUpdates: bool) -> Entity:
        """With ``partialUpdates`` a change names the nested property or array element it is in."""
        session, stream = session_of(call), self._stream(call)
        made = PropertyFilter(
            world=self.world,
            moid=session.new_id(""),
            session=session,
            selection=Selection(spec, keyed_paths=Switches.of(call.world).keyed_paths),
            partial_updates=bool(partialUpdates),
            stream=stream,
            _resolve=Resolver(self.world, session),
        )
        made.open()
        session.add(made)
        stream.add(made)
        return made

    @operation("WaitForUpdatesEx")
    async def wait_for_updates_ex(self, call: Call, version: str | None = None, options: Any = None) -> Any:
        """An UpdateSet of at most 100 objects, or nothing when ``maxWaitSeconds`` pass without a change."""
        seconds = options.maxWaitSeconds if options is not None else None
        most = options.maxObjectUpdates if options is not None else None
        if seconds is not None and seconds < 0:
            raise SoapFault(
                vmodl.fault.InvalidArgument(invalidProperty="options.maxWaitSeconds"), "Must not be negative."
            )
        if most is not None and most <= 0:
            raise SoapFault(
                vmodl.fault.InvalidArgument(invalidProperty="options.maxObjectUpdates"), "Must be positive."
            )
        return await self._stream(call).wait(version or "", seconds=seconds, most=most, api=call.version)

    @operation("WaitForUpdates")
    async def wait_for_updates(self, call: Call, version: str | None = None) -> Any:
        """The old form: no pages, no time-out."""
        return await self._stream(call).wait(version or "", seconds=None, most=0, api=call.version)

    @operation("CheckForUpdates")
    async def check_for_updates(self, call: Call, version: str | None = None) -> Any:
        """The old form that does not wait."""
        return await self._stream(call).wait(version or "", seconds=0, most=0, api=call.version)

    @operation("CancelWaitForUpdates")
    def cancel_wait(self, call: Call) -> None:
        """Waits of this collector fail with RequestCanceled."""
        self._stream(call).cancel()

    @operation("CreatePropertyCollector")
    def create_property_collector(self, call: Call) -> Entity:
        """A collector of the session's own, with filters and versions of its own."""
        session = session_of(call)
        return session.add(PrivateCollector(world=self.world, moid=session.new_id(""), session=session))

    @operation("DestroyPropertyCollector")
    def destroy_property_collector(self, call: Call) -> None:
        """Not for the one that every session has."""
        raise SoapFault(vmodl.fault.NotSupported(), "The default property collector cannot be destroyed.")

    def _stream(self, call: Call) -> UpdateStream:
        streams = session_of(call).part(UpdateStreams).by_collector
        if self.moid not in streams:
            streams[self.moid] = UpdateStream(self.world, self.world.service(Paging).page)
        return streams[self.moid]

    def _pages(self, call: Call) -> _Pages:
        return session_of(call).part(_Pages)


@dataclass(slots=True, eq=False, kw_only=True)
class PrivateCollector(PropertyCollector, SessionObject):
    """A collector made by CreatePropertyCollector; its filters go with it."""

    @operation("DestroyPropertyCollector")
    def destroy_property_collector(self, call: Call) -> None:
        session_of(call).drop(self)

    def close(self) -> None:
        stream = self.session.part(UpdateStreams).by_collector.pop(self.moid, None)
        if stream is not None:
            stream.cancel()
            for item in list(stream.filters.values()):
                self.session.drop(item)
