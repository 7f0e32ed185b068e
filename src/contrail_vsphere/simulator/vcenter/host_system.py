"""ESXi hosts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.compute_resource import ComputeResource
    from contrail_vsphere.simulator.vcenter.datastore import Datastore
    from contrail_vsphere.simulator.vcenter.network import Network
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine


@dataclass(slots=True, eq=False, kw_only=True)
class HostSystem(ManagedEntity):
    """A host as vCenter sees it; ``parent`` is its compute resource."""

    wsdl: ClassVar[str] = "HostSystem"
    prefix: ClassVar[str] = "host-"
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    uuid: str
    address: str = ""
    """Management IP address."""
    connection_state: str = "connected"
    """``connected``, ``disconnected`` or ``notResponding``."""
    power_state: str = "poweredOn"
    """``poweredOn``, ``poweredOff``, ``standBy`` or ``unknown``."""
    in_maintenance: bool = False
    entering_maintenance: bool = False
    """Asked to enter maintenance mode: takes no VM any more, not visible to clients."""
    crashed: bool = False
    """The truth behind ``notResponding``: nothing runs on it."""
    version: str = "8.0.3"
    build: str = "24022510"
    product_line: str = "embeddedEsx"
    boot_time: datetime | None = None
    cpu_mhz: int = 2600
    cpu_cores: int = 32
    memory_mb: int = 262144
    vms: tuple[VirtualMachine, ...] = ()
    datastores: tuple[Datastore, ...] = ()
    networks: tuple[Network, ...] = ()
    agent_datastore: Datastore | None = None
    agent_network: Network | None = None
    required_agents: int = 0
    """EsxAgents that must be available before other VMs may run here; set by EAM."""
    available_agents: int = 0

    @property
    def compute_resource(self) -> ComputeResource:
        """The cluster or standalone compute resource it is in."""
        from contrail_vsphere.simulator.vcenter.compute_resource import ComputeResource

        assert isinstance(self.parent, ComputeResource)  # noqa: S101 - the tree's invariant
        return self.parent

    @property
    def usable(self) -> bool:
        """Connected, on and neither in maintenance mode nor on its way there."""
        return (
            self.connection_state == "connected"
            and self.power_state == "poweredOn"
            and not self.in_maintenance
            and not self.entering_maintenance
        )
