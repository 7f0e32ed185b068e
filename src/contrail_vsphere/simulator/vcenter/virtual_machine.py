"""Virtual machines: their state, and the methods clients call on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.vcenter.devices import DiskState, NicState
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.datastore import Datastore
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.network import Network
    from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool


@dataclass(frozen=True, slots=True)
class ManagedBy:
    """ManagedByInfo: the extension that looks after the VM."""

    extension_key: str
    type: str


@dataclass(slots=True, eq=False, kw_only=True)
class VirtualMachine(ManagedEntity):
    """A VM; ``parent`` is its folder. Sizes: MB of memory, MHz of CPU."""

    wsdl: ClassVar[str] = "VirtualMachine"
    prefix: ClassVar[str] = "vm-"
    rename_event: ClassVar[type] = vim.event.VmRenamedEvent
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    instance_uuid: str
    bios_uuid: str
    host: HostSystem | None = None
    resource_pool: ResourcePool | None = None
    datastores: tuple[Datastore, ...] = ()
    networks: tuple[Network, ...] = ()
    """The networks of ``nics``, each once, in their order."""
    directory: str = ""
    """``[datastore] folder/`` of its files; stays when the VM is renamed."""

    power_state: str = "poweredOff"
    """``poweredOn``, ``poweredOff`` or ``suspended``."""
    connection_state: str = "connected"
    """``connected``, ``disconnected``, ``orphaned``, ``inaccessible`` or ``invalid``."""
    boot_time: datetime | None = None
    suspend_time: datetime | None = None
    template: bool = False
    cpus: int = 1
    cores_per_socket: int = 1
    memory_mb: int = 1024
    cpu_reservation: int = 0
    memory_reservation: int = 0
    cpu_limit: int = -1
    memory_limit: int = -1
    cpu_shares: tuple[str, int] = ("normal", 1000)
    """Level and number."""
    memory_shares: tuple[str, int] = ("normal", 10240)
    latency_sensitivity: str = "normal"
    nics: tuple[NicState, ...] = ()
    disks: tuple[DiskState, ...] = ()
    extra_config: Mapping[str, str] = field(default_factory=dict)
    annotation: str = ""
    guest_id: str = "otherLinux64Guest"
    hardware_version: str = "vmx-19"
    managed_by: ManagedBy | None = None
    vapp_properties: Mapping[str, str] = field(default_factory=dict)
    """Full OVF property id (``class.key.instance``) -> value; what the guest sees of it is renewed at each power-on."""
    vapp_property_info: tuple[Any, ...] = ()
    """vim.vApp.PropertyInfo values, as declared by the OVF package."""
    ovf_transport: tuple[str, ...] = ()
    change_version: int = 1
    modified: datetime | None = None

    tools_running: bool = False
    heartbeat: str = "gray"
    guest_ip: str = ""
    guest_hostname: str = ""

    esx_agent: bool = False
    """Deployed by EAM: never moved by DRS, started first, exempt from the EsxAgents a host must have."""
    restart_on_boot: bool = False
    """Was running when its host crashed."""
    busy: str = ""
    """Managed object id of the task that holds the VM, or what holds it."""

    @property
    def guest_runs(self) -> bool:
        """Whether a guest operating system is running in truth, whatever vCenter can see of it."""
        return self.power_state == "poweredOn" and self.host is not None and not self.host.crashed
