"""Datastores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine


@dataclass(slots=True, eq=False, kw_only=True)
class Datastore(ManagedEntity):
    """A datastore; sizes in bytes."""

    wsdl: ClassVar[str] = "Datastore"
    prefix: ClassVar[str] = "datastore-"
    rename_event: ClassVar[type] = vim.event.DatastoreRenamedEvent
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    capacity: int
    free: int
    kind: str = "VMFS"
    accessible: bool = True
    hosts: tuple[HostSystem, ...] = ()
    vms: tuple[VirtualMachine, ...] = ()
