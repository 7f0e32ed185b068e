"""Datacenters and their four folders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrail_vsphere.simulator.vcenter.folder import Folder
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity
from contrail_vsphere.wire.soap.types import vim


@dataclass(slots=True, eq=False, kw_only=True)
class Datacenter(ManagedEntity):
    """A datacenter."""

    wsdl: ClassVar[str] = "Datacenter"
    prefix: ClassVar[str] = "datacenter-"
    rename_event: ClassVar[type] = vim.event.DatacenterRenamedEvent

    vm_folder: Folder
    host_folder: Folder
    network_folder: Folder
    datastore_folder: Folder
