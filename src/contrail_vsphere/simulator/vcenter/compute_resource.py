"""Compute resources: clusters, and the shell around a standalone host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool


@dataclass(slots=True, eq=False, kw_only=True)
class ComputeResource(ManagedEntity):
    """A standalone host's compute resource; ``drs`` and ``ha`` are False there."""

    wsdl: ClassVar[str] = "ComputeResource"
    prefix: ClassVar[str] = "domain-s"
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {"hosts": ("host",)}

    hosts: tuple[HostSystem, ...] = ()
    root_pool: ResourcePool | None = None
    drs: bool = False
    ha: bool = False
    disabled: bool = False
    """EAM refuses agencies here (eam.fault.DisabledClusterFault)."""


@dataclass(slots=True, eq=False, kw_only=True)
class ClusterComputeResource(ComputeResource):
    """A cluster."""

    wsdl: ClassVar[str] = "ClusterComputeResource"
    prefix: ClassVar[str] = "domain-c"
