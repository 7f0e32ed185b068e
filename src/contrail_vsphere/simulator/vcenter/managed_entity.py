"""What all inventory objects have in common: a name, a place in the tree, and the properties clients ask of any."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction

E = TypeVar("E", bound=Entity)

ADMIN_ROLE = -1
LONGEST_NAME = 80
"""Characters, as vCenter has it for VMs, hosts and folders."""


def fault(cls: Any, message: str = "", **fields: Any) -> SoapFault:
    """A typed fault, ready to be raised."""
    return SoapFault(data_object(cls, **fields), message)


def found(entity: Entity, ref: Any, kind: type[E]) -> E:
    """The object that a reference in a request names; ``entity`` is any object of the same world.

    Raises ManagedObjectNotFound, and InvalidArgument when it is of another type.
    """
    target = ref if isinstance(ref, Entity) else entity.world.get(ref._moId)
    if target is None:
        message = f"The object '{ref._moId}' has already been deleted or has not been completely created"
        raise fault(vmodl.fault.ManagedObjectNotFound, message, obj=ref)
    if not isinstance(target, kind):
        raise fault(vmodl.fault.InvalidArgument, f"{target.moid} is not a {kind.__name__}.")
    return target


def without(items: tuple[E, ...], gone: Entity) -> tuple[E, ...]:
    """The tuple, which has it once at most, without an entity."""
    if gone not in items:
        return items
    at = items.index(gone)
    return items[:at] + items[at + 1 :]


def with_added(items: tuple[E, ...], *new: E) -> tuple[E, ...]:
    """The tuple with these entities behind it, none twice."""
    known = {item.moid for item in items}
    return items + tuple(item for item in new if item.moid not in known)


@dataclass(slots=True, eq=False, kw_only=True)
class ManagedEntity(Entity):
    """Base of folders, hosts, VMs, networks and so on."""

    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "name": ("name",),
        "parent": ("parent",),
        "status": ("overallStatus",),
        "recent_tasks": ("recentTask",),
    }
    volatile: ClassVar[frozenset[str]] = frozenset({"declaredAlarmState", "triggeredAlarmState"})
    rename_event: ClassVar[Any] = None
    """Event with oldName and newName that tells of a rename, where there is one."""
    argument_class: ClassVar[Any] = vim.event.ManagedEntityEventArgument
    """The ``*EventArgument`` that names the object in events, and the field of it that refers to the object."""
    argument_name: ClassVar[str] = "entity"
    event_field: ClassVar[str] = ""
    """Field of ``Event`` that takes the argument, where it is called otherwise."""

    name: str
    parent: ManagedEntity | None = None
    status: str = "green"
    recent_tasks: tuple[Entity, ...] = ()

    # -- tree ---------------------------------------------------------------------------------------------------

    def ancestors(self) -> Iterator[ManagedEntity]:
        """Parent, its parent and so on up to the root folder."""
        above = self.parent
        while above is not None:
            yield above
            above = above.parent

    def ancestor(self, kind: type[E]) -> E | None:
        """Nearest ancestor of that class."""
        return next((entity for entity in self.ancestors() if isinstance(entity, kind)), None)

    def event_places(self) -> Iterator[ManagedEntity]:
        """The object itself and the objects that an event about it names."""
        yield self
        yield from self.ancestors()

    def siblings(self) -> Iterator[ManagedEntity]:
        """Objects whose names must differ from this one's."""
        return iter(())

    def path(self) -> str:
        """Inventory path such as ``/DC0/vm/web-1``."""
        names = [self.name, *(entity.name for entity in self.ancestors() if entity.parent is not None)]
        return "/" + "/".join(reversed(names))

    # -- changing -----------------------------------------------------------------------------------------------

    def start_task(
        self, call: Any, method: str, work: Callable[[Any], Awaitable[Any]], *, cancelable: bool = False
    ) -> Any:
        """Begin ``work`` as a task on this object; ``method`` as in TaskInfo.descriptionId, e.g. ``powerOn``."""
        from contrail_vsphere.simulator.vcenter.task import TaskManager

        return self.world.service(TaskManager).start(
            self, f"{self.wsdl}.{method}", work, call=call, cancelable=cancelable
        )

    def check_new_name(self, name: str) -> None:
        """Raise InvalidName or DuplicateName when this object cannot be called that."""
        if not name or len(name) > LONGEST_NAME:
            raise fault(vim.fault.InvalidName, f"The name '{name}' is invalid.", name=name, entity=self)
        for other in self.siblings():
            if other is not self and other.name == name:
                raise fault(vim.fault.DuplicateName, f"The name '{name}' already exists.", name=name, object=other.ref)

    def apply_rename(self, tx: Transaction, name: str) -> None:
        """Inside a commit: take the new name and tell of it."""
        from contrail_vsphere.simulator.vcenter.inventory_events import inventory_event

        old = self.name
        tx.set(self, name=name)
        if self.rename_event is not None:
            tx.event(inventory_event(self.rename_event, self, oldName=old, newName=name))

    @operation("Rename_Task", privilege="System.View")
    def Rename_Task(self, call: Any, newName: str) -> Any:
        async def work(handle: Any) -> None:
            self.check_new_name(newName)
            with self.world.commit(handle.user, chain=handle.chain) as tx:
                self.apply_rename(tx, newName)

        return self.start_task(call, "rename", work)

    @operation("Reload", note="Re-reads nothing: the simulator's state is never stale.")
    def Reload(self, call: Any) -> None:
        return None

    @operation("Destroy_Task", privilege="System.View")
    def Destroy_Task(self, call: Any) -> Any:
        async def work(handle: Any) -> None:
            await self.destroy(user=handle.user, chain=handle.chain)

        return self.start_task(call, "destroy", work)

    async def destroy(self, *, user: str = "", chain: int | None = None) -> None:
        """Take the object out of the inventory; raises SoapFault when it cannot go."""
        raise fault(vmodl.fault.NotSupported, f"{self.wsdl} {self.name} cannot be destroyed.")

    # -- properties ---------------------------------------------------------------------------------------------

    @managed_property("name")
    def _name(self) -> str:
        return self.name

    @managed_property("parent")
    def _parent(self) -> Any:
        return self.parent

    @managed_property("overallStatus")
    def _overall_status(self) -> str:
        return self.status

    @managed_property("configStatus")
    def _config_status(self) -> str:
        return "green"

    @managed_property("configIssue")
    def _config_issue(self) -> list[Any]:
        return []

    @managed_property("effectiveRole")
    def _effective_role(self) -> list[int]:
        return [ADMIN_ROLE]

    @managed_property("permission")
    def _permission(self) -> list[Any]:
        from contrail_vsphere.simulator.vcenter.authorization_manager import AuthorizationManager

        manager = AuthorizationManager.of(self.world)
        return [item.value(self) for item in manager.granted.get(self.moid, ())] if manager is not None else []

    @managed_property("disabledMethod")
    def _disabled_method(self) -> list[Any]:
        return []

    @managed_property("recentTask")
    def _recent_task(self) -> list[Any]:
        return list(self.recent_tasks)

    @managed_property("declaredAlarmState")
    def _declared_alarm_state(self) -> list[Any]:
        from contrail_vsphere.simulator.vcenter.alarm_manager import AlarmManager

        manager = AlarmManager.of(self.world)
        return manager.declared(self) if manager is not None else []

    @managed_property("triggeredAlarmState")
    def _triggered_alarm_state(self) -> list[Any]:
        from contrail_vsphere.simulator.vcenter.alarm_manager import AlarmManager

        manager = AlarmManager.of(self.world)
        return manager.triggered(self) if manager is not None else []

    @managed_property("alarmActionsEnabled")
    def _alarm_actions_enabled(self) -> bool:
        return True

    @managed_property("tag")
    def _tag(self) -> list[Any]:
        return []

    @managed_property("value")
    def _value(self) -> list[Any]:
        return self._custom_value()

    @managed_property("customValue")
    def _custom_value(self) -> list[Any]:
        from contrail_vsphere.simulator.vcenter.custom_fields_manager import CustomFieldsManager

        manager = CustomFieldsManager.of(self.world)
        return manager.values_of(self) if manager is not None else []

    @managed_property("availableField")
    def _available_field(self) -> list[Any]:
        from contrail_vsphere.simulator.vcenter.custom_fields_manager import CustomFieldsManager

        manager = CustomFieldsManager.of(self.world)
        return manager.fields_of(self) if manager is not None else []
