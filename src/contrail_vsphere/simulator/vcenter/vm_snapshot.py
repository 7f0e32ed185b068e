"""Snapshots of VMs: what a client sees of one, and the methods it calls on it and on its VM.

A snapshot holds the configuration of one moment. It is a managed object of its own, but no inventory object: it has no
name in a folder and no permissions; the tree of them is a property of the VM.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity, found
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine


@dataclass(slots=True, eq=False, kw_only=True)
class VmSnapshot(Entity):
    """One moment of a VM; ``above`` is the snapshot it was made after."""

    wsdl: ClassVar[str] = "VirtualMachineSnapshot"
    prefix: ClassVar[str] = "snapshot-"
    volatile: ClassVar[frozenset[str]] = frozenset({"config"})
    """It shows the VM's present name."""

    vm: VirtualMachine
    name: str
    description: str = ""
    number: int = 0
    """Counts the snapshots that the VM ever had."""
    created: datetime | None = None
    above: VmSnapshot | None = None
    power_state: str = "poweredOff"
    """What the VM goes back to; ``poweredOn`` only when the memory was kept."""
    quiesced: bool = False
    state: Mapping[str, Any] = field(default_factory=dict)
    """Attributes of the VM at that moment."""

    @property
    def below(self) -> tuple[VmSnapshot, ...]:
        """Snapshots made after this one."""
        return tuple(item for item in self.vm.snapshots if item.above is self)

    @managed_property("config")
    def _config(self) -> Any:
        from contrail_vsphere.simulator.vcenter import vm_projection

        return vm_projection.config(_AsItWas(self))  # type: ignore[arg-type]

    @managed_property("childSnapshot")
    def _child_snapshot(self) -> list[Any]:
        return list(self.below)

    @managed_property("vm")
    def _vm(self) -> Any:
        return self.vm

    @managed_property("value")
    def _value(self) -> list[Any]:
        return []

    @managed_property("availableField")
    def _available_field(self) -> list[Any]:
        return []

    @operation("RevertToSnapshot_Task")
    def RevertToSnapshot_Task(self, call: Any, host: Any = None, suppressPowerOn: bool | None = None) -> Any:
        return self.vm.revert_task(call, self, host=host, suppress=bool(suppressPowerOn))

    @operation("RemoveSnapshot_Task", note="Disks have no delta files: nothing is consolidated.")
    def RemoveSnapshot_Task(self, call: Any, removeChildren: bool, consolidate: bool | None = None) -> Any:
        from contrail_vsphere.simulator.vcenter import vm_snapshots

        return self.vm.snapshot_task(
            call, "removeSnapshot", vm_snapshots.remove, snapshot=self, children_too=bool(removeChildren)
        )

    @operation("RenameSnapshot")
    def RenameSnapshot(self, call: Any, name: str | None = None, description: str | None = None) -> None:
        from contrail_vsphere.simulator.vcenter import vm_snapshots

        vm_snapshots.rename(self, name=name, description=description, user=call.user)


class _AsItWas:
    """The VM with the attributes it had when the snapshot was made."""

    def __init__(self, snapshot: VmSnapshot) -> None:
        self._snapshot = snapshot

    def __getattr__(self, name: str) -> Any:
        state = self._snapshot.state
        return state[name] if name in state else getattr(self._snapshot.vm, name)


@dataclass(slots=True, eq=False, kw_only=True)
class Snapshotted(ManagedEntity):
    """The part of a VM that has to do with snapshots."""

    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "snapshots": ("snapshot", "rootSnapshot"),
        "current_snapshot": ("snapshot",),
    }

    snapshots: tuple[VmSnapshot, ...] = ()
    """Oldest first."""
    current_snapshot: VmSnapshot | None = None
    last_snapshot: int = 0
    """Number of the youngest snapshot there ever was."""

    def snapshot_task(self, call: Any, method: str, work: Callable[..., Awaitable[Any]], **arguments: Any) -> Any:
        """Begin a task on the VM for something done with its snapshots."""
        return self.start_task(
            call, method, lambda handle: work(self, user=handle.user, chain=handle.chain, **arguments)
        )

    def revert_task(self, call: Any, snapshot: VmSnapshot | None, *, host: Any, suppress: bool) -> Any:
        """Go back to a snapshot, or to the current one."""
        from contrail_vsphere.simulator.vcenter import vm_snapshots
        from contrail_vsphere.simulator.vcenter.host_system import HostSystem

        target: HostSystem | None = found(self, host, HostSystem) if host is not None else None
        method = "revertToCurrentSnapshot" if snapshot is None else "revertToSnapshot"
        return self.snapshot_task(call, method, vm_snapshots.revert, snapshot=snapshot, host=target, stay_off=suppress)

    @operation("CreateSnapshot_Task", note="Disks have no delta files.")
    def CreateSnapshot_Task(
        self, call: Any, *, name: str, memory: bool, quiesce: bool, description: str | None = None
    ) -> Any:
        from contrail_vsphere.simulator.vcenter import vm_snapshots

        return self.snapshot_task(
            call,
            "createSnapshot",
            vm_snapshots.create,
            name=name,
            description=description or "",
            memory=bool(memory),
            quiesce=bool(quiesce),
        )

    @operation("CreateSnapshotEx_Task", note="Disks have no delta files.")
    def CreateSnapshotEx_Task(
        self, call: Any, *, name: str, memory: bool, description: str | None = None, quiesceSpec: Any = None
    ) -> Any:
        return self.CreateSnapshot_Task(
            call, name=name, memory=memory, quiesce=quiesceSpec is not None, description=description
        )

    @operation("RevertToCurrentSnapshot_Task")
    def RevertToCurrentSnapshot_Task(self, call: Any, host: Any = None, suppressPowerOn: bool | None = None) -> Any:
        return self.revert_task(call, None, host=host, suppress=bool(suppressPowerOn))

    @operation("RemoveAllSnapshots_Task")
    def RemoveAllSnapshots_Task(self, call: Any, consolidate: bool | None = None, spec: Any = None) -> Any:
        from contrail_vsphere.simulator.vcenter import vm_snapshots

        return self.snapshot_task(call, "removeAllSnapshots", vm_snapshots.remove_all)

    @managed_property("snapshot")
    def _snapshot(self) -> Any:
        if not self.snapshots:
            return None
        return data_object(
            vim.vm.SnapshotInfo, currentSnapshot=self.current_snapshot, rootSnapshotList=_tree(self.snapshots, None)
        )

    @managed_property("rootSnapshot")
    def _root_snapshot(self) -> list[Any]:
        return [item for item in self.snapshots if item.above is None]


def _tree(snapshots: tuple[VmSnapshot, ...], above: VmSnapshot | None) -> list[Any]:
    return [
        data_object(
            vim.vm.SnapshotTree,
            snapshot=item,
            vm=item.vm,
            name=item.name,
            description=item.description,
            id=item.number,
            createTime=item.created,
            state=item.power_state,
            quiesced=item.quiesced,
            childSnapshotList=_tree(snapshots, item),
            replaySupported=False,
        )
        for item in snapshots
        if item.above is above
    ]
