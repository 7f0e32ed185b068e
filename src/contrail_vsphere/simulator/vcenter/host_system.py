"""ESXi hosts: their state, and the methods clients call on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.vcenter import host_network, host_projection
from contrail_vsphere.simulator.vcenter.compute_resource import ComputeResource
from contrail_vsphere.simulator.vcenter.host_network import FIRST_SWITCH, StandardGroup, StandardSwitch
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.datastore import Datastore
    from contrail_vsphere.simulator.vcenter.esx_agent_host_manager import EsxAgentHostManager
    from contrail_vsphere.simulator.vcenter.host_network_system import HostNetworkSystem
    from contrail_vsphere.simulator.vcenter.host_option_manager import HostOptionManager
    from contrail_vsphere.simulator.vcenter.network import Network
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine


_STANDBY = ("runtime.standbyMode", "summary.runtime.standbyMode")


@dataclass(slots=True, eq=False, kw_only=True)
class HostSystem(ManagedEntity):
    """A host as vCenter sees it; ``parent`` is its compute resource."""

    wsdl: ClassVar[str] = "HostSystem"
    prefix: ClassVar[str] = "host-"
    argument_class: ClassVar[Any] = vim.event.HostEventArgument
    argument_name: ClassVar[str] = "host"
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "name": ("name", "summary.config.name"),
        "status": ("overallStatus", "summary.overallStatus"),
        "connection_state": ("runtime.connectionState", "summary.runtime.connectionState"),
        "power_state": ("runtime.powerState", "summary.runtime.powerState", *_STANDBY),
        "standby_change": _STANDBY,
        "partial_maintenance": ("runtime.partialMaintenanceMode", "summary.runtime.partialMaintenanceMode"),
        "in_maintenance": ("runtime.inMaintenanceMode", "summary.runtime.inMaintenanceMode"),
        "boot_time": ("runtime.bootTime", "summary.runtime.bootTime"),
        "version": ("config.product", "summary.config.product"),
        "build": ("config.product", "summary.config.product"),
        "vms": ("vm",),
        "datastores": ("datastore",),
        "networks": ("network", "config.network"),
        "switches": ("config.network",),
        "port_groups": ("config.network",),
        "agent_datastore": ("summary.config.agentVmDatastore",),
        "agent_network": ("summary.config.agentVmNetwork",),
    }

    uuid: str
    address: str = ""
    """Management IP address."""
    connection_state: str = "connected"
    """``connected``, ``disconnected`` or ``notResponding``."""
    power_state: str = "poweredOn"
    """``poweredOn``, ``poweredOff``, ``standBy`` or ``unknown``."""
    standby_change: str = ""
    """``entering`` or ``exiting`` while it does that."""
    in_maintenance: bool = False
    entering_maintenance: bool = False
    """Asked to enter maintenance mode: takes no VM any more, not visible to clients."""
    partial_maintenance: bool = False
    """Being patched while VMs run on: no VM is created, powered or deleted meanwhile (8.0 U3)."""
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
    pci_devices: tuple[str, ...] = ()
    """Those that VMs may have, by kind: ``8086:1583``."""
    virtual_functions: int = 0
    """Of SR-IOV adapters, for VMs."""
    agent_datastore: Datastore | None = None
    agent_network: Network | None = None
    agent_manager: EsxAgentHostManager | None = None
    image: Entity | None = None
    """What software it has (``HostImage``)."""
    network_system: HostNetworkSystem | None = None
    options: HostOptionManager | None = None
    switches: tuple[StandardSwitch, ...] = (FIRST_SWITCH,)
    """Its own, not the distributed ones."""
    port_groups: Mapping[str, StandardGroup] = field(default_factory=dict)
    """What is not as usual about standard port groups, by name."""
    required_agents: int = 0
    """EsxAgents that must be available before other VMs may run here; set by EAM."""
    available_agents: int = 0

    @property
    def compute_resource(self) -> ComputeResource:
        """The cluster or standalone compute resource it is in."""
        assert isinstance(self.parent, ComputeResource)  # noqa: S101 - the tree's invariant
        return self.parent

    @property
    def managers(self) -> tuple[Entity, ...]:
        """Its objects that are not in the inventory tree; they come and go with it."""
        kept = (self.agent_manager, self.network_system, self.options, self.image)
        return tuple(item for item in kept if item is not None)

    @property
    def usable(self) -> bool:
        """Connected, on and neither in maintenance mode nor on its way there."""
        return (
            self.connection_state == "connected"
            and self.power_state == "poweredOn"
            and not self.in_maintenance
            and not self.entering_maintenance
        )

    def siblings(self) -> Iterator[ManagedEntity]:
        """Host names are unique in the vCenter."""
        return self.world.of_type(HostSystem)

    async def destroy(self, *, user: str = "", chain: int | None = None) -> None:
        """Remove the host from the inventory."""
        from contrail_vsphere.simulator.vcenter import host_life

        await host_life.remove_host(self.world, self, user=user, chain=chain)

    # -- API ----------------------------------------------------------------------------------------------------

    @operation("EnterMaintenanceMode_Task", privilege="Host.Config.Maintenance", note="No vSAN options.")
    def EnterMaintenanceMode_Task(
        self, call: Any, timeout: int, evacuatePoweredOffVms: bool | None = None, maintenanceSpec: Any = None
    ) -> Any:
        from contrail_vsphere.simulator.vcenter import host_life

        return self.start_task(
            call,
            "enterMaintenanceMode",
            lambda handle: host_life.enter_maintenance(
                self.world,
                self,
                deadline=timeout,
                powered_off_too=bool(evacuatePoweredOffVms),
                user=handle.user,
                chain=handle.chain,
                progress=handle.progress,
            ),
            cancelable=True,
        )

    @operation("ExitMaintenanceMode_Task", privilege="Host.Config.Maintenance")
    def ExitMaintenanceMode_Task(self, call: Any, timeout: int) -> Any:
        from contrail_vsphere.simulator.vcenter import host_life

        return self.start_task(
            call,
            "exitMaintenanceMode",
            lambda handle: host_life.exit_maintenance(
                self.world, self, deadline=timeout, user=handle.user, chain=handle.chain
            ),
        )

    @operation("DisconnectHost_Task", privilege="Host.Config.Connection")
    def DisconnectHost_Task(self, call: Any) -> Any:
        from contrail_vsphere.simulator.vcenter import host_life

        return self.start_task(
            call,
            "disconnect",
            lambda handle: host_life.disconnect(self.world, self, user=handle.user, chain=handle.chain),
        )

    @operation("ReconnectHost_Task", privilege="Host.Config.Connection", note="The connect specification is not used.")
    def ReconnectHost_Task(self, call: Any, cnxSpec: Any = None, reconnectSpec: Any = None) -> Any:
        from contrail_vsphere.simulator.vcenter import host_life

        return self.start_task(
            call,
            "reconnect",
            lambda handle: host_life.reconnect(self.world, self, user=handle.user, chain=handle.chain),
        )

    @operation("PowerDownHostToStandBy_Task")
    def PowerDownHostToStandBy_Task(self, call: Any, timeoutSec: int, evacuatePoweredOffVms: bool | None = None) -> Any:
        from contrail_vsphere.simulator.vcenter import host_standby

        return self.start_task(
            call,
            "enterStandbyMode",
            lambda handle: host_standby.power_down(
                self.world,
                self,
                deadline=timeoutSec,
                powered_off_too=bool(evacuatePoweredOffVms),
                user=handle.user,
                chain=handle.chain,
                progress=handle.progress,
            ),
            cancelable=True,
        )

    @operation("PowerUpHostFromStandBy_Task")
    def PowerUpHostFromStandBy_Task(self, call: Any, timeoutSec: int) -> Any:
        from contrail_vsphere.simulator.vcenter import host_standby

        return self.start_task(
            call,
            "exitStandbyMode",
            lambda handle: host_standby.power_up(
                self.world, self, deadline=timeoutSec, user=handle.user, chain=handle.chain
            ),
            cancelable=True,
        )

    @operation("RebootHost_Task", privilege="Host.Config.Maintenance")
    def RebootHost_Task(self, call: Any, force: bool) -> Any:
        from contrail_vsphere.simulator.vcenter import host_power

        return host_power.task(self, call, force=bool(force), again=True)

    @operation("ShutdownHost_Task", privilege="Host.Config.Maintenance")
    def ShutdownHost_Task(self, call: Any, force: bool) -> Any:
        from contrail_vsphere.simulator.vcenter import host_power

        return host_power.task(self, call, force=bool(force), again=False)

    # -- properties ---------------------------------------------------------------------------------------------

    @managed_property("runtime")
    def _runtime(self) -> Any:
        return host_projection.runtime(self)

    @managed_property("runtime.connectionState")
    def _runtime_connection(self) -> str:
        return self.connection_state

    @managed_property("runtime.powerState")
    def _runtime_power(self) -> str:
        return self.power_state

    @managed_property("runtime.inMaintenanceMode")
    def _runtime_maintenance(self) -> bool:
        return self.in_maintenance

    @managed_property("summary")
    def _summary(self) -> Any:
        return host_projection.summary(self)

    @managed_property("config")
    def _config(self) -> Any:
        return host_projection.config(self)

    @managed_property("config.product")
    def _config_product(self) -> Any:
        return host_projection.product(self)

    @managed_property("config.network")
    def _config_network(self) -> Any:
        return host_network.network_info(self)

    @managed_property("hardware")
    def _hardware(self) -> Any:
        return host_projection.hardware(self)

    @managed_property("capability")
    def _capability(self) -> Any:
        return host_projection.capability()

    @managed_property("configManager")
    def _config_manager(self) -> Any:
        return host_projection.config_manager(self)

    @managed_property("vm")
    def _vm(self) -> list[Any]:
        return list(self.vms)

    @managed_property("datastore")
    def _datastore(self) -> list[Any]:
        return list(self.datastores)

    @managed_property("network")
    def _network(self) -> list[Any]:
        return list(self.networks)

    @managed_property("datastoreBrowser")
    def _browser(self) -> Any:
        return None
