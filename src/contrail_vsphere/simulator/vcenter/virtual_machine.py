"""Virtual machines: their state, and the methods clients call on them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.entity import managed_property, operation
from contrail_vsphere.simulator.vcenter import fault_tolerance, vm_life, vm_move, vm_projection, vm_template
from contrail_vsphere.simulator.vcenter.devices import DiskState, NicState, device_list
from contrail_vsphere.simulator.vcenter.folder import Folder
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity, found
from contrail_vsphere.simulator.vcenter.vm_snapshot import Snapshotted
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction
    from contrail_vsphere.simulator.vcenter.datastore import Datastore
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.network import Network
    from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool


def _twice(*paths: str) -> tuple[str, ...]:
    """Runtime paths are shown in the summary too."""
    return (*paths, *(f"summary.{path}" for path in paths))


_CPU = ("config.cpuAllocation", "resourceConfig.cpuAllocation")
_MEMORY = ("config.memoryAllocation", "resourceConfig.memoryAllocation")


@dataclass(frozen=True, slots=True)
class ManagedBy:
    """ManagedByInfo: the extension that looks after the VM."""

    extension_key: str
    type: str


@dataclass(slots=True, eq=False, kw_only=True)
class VirtualMachine(Snapshotted):
    """A VM; ``parent`` is its folder. Sizes: MB of memory, MHz of CPU."""

    wsdl: ClassVar[str] = "VirtualMachine"
    prefix: ClassVar[str] = "vm-"
    argument_class: ClassVar[Any] = vim.event.VmEventArgument
    argument_name: ClassVar[str] = "vm"
    rename_event: ClassVar[Any] = vim.event.VmRenamedEvent
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "name": ("name", "config.name", "summary.config.name"),
        "status": ("overallStatus", "summary.overallStatus"),
        "host": _twice("runtime.host"),
        "resource_pool": ("resourcePool",),
        "datastores": ("datastore", "config.datastoreUrl", "storage"),
        "networks": ("network",),
        "directory": ("config.files", "summary.config.vmPathName", "layoutEx"),
        "power_state": _twice("runtime.powerState", "runtime.cleanPowerOff"),
        "connection_state": _twice("runtime.connectionState"),
        "boot_time": _twice("runtime.bootTime"),
        "suspend_time": _twice("runtime.suspendTime"),
        "template": ("config.template", "summary.config.template"),
        "cpus": ("config.hardware.numCPU", "summary.config.numCpu"),
        "cores_per_socket": ("config.hardware.numCoresPerSocket",),
        "memory_mb": ("config.hardware.memoryMB", "summary.config.memorySizeMB", *_twice("runtime.maxMemoryUsage")),
        "cpu_reservation": (*_CPU, "summary.config.cpuReservation"),
        "cpu_limit": _CPU,
        "cpu_shares": _CPU,
        "memory_reservation": (*_MEMORY, "summary.config.memoryReservation"),
        "memory_limit": _MEMORY,
        "memory_shares": _MEMORY,
        "latency_sensitivity": ("config.latencySensitivity",),
        "passthrough": ("config.hardware.device",),
        "memory_locked": ("config.memoryReservationLockedToMax",),
        "nics": ("config.hardware.device", "guest.net", "summary.config.numEthernetCards"),
        "disks": (
            "config.hardware.device",
            "summary.config.numVirtualDisks",
            "summary.storage",
            "storage",
            "layoutEx",
        ),
        "extra_config": ("config.extraConfig",),
        "annotation": ("config.annotation", "summary.config.annotation"),
        "guest_id": (
            "config.guestId",
            "config.guestFullName",
            "summary.config.guestId",
            "summary.config.guestFullName",
            "guest.guestId",
            "summary.guest.guestId",
        ),
        "hardware_version": ("config.version", "summary.config.hwVersion"),
        "managed_by": ("config.managedBy", "summary.config.managedBy"),
        "vapp_properties": ("config.vAppConfig",),
        "vapp_property_info": ("config.vAppConfig",),
        "ovf_transport": ("config.vAppConfig",),
        "product_version": ("config.vAppConfig",),
        "instance_uuid": ("config.instanceUuid", "summary.config.instanceUuid"),
        "bios_uuid": ("config.uuid", "summary.config.uuid"),
        "change_version": ("config.changeVersion", "resourceConfig.changeVersion"),
        "modified": (
            "config.modified",
            "resourceConfig.lastModified",
            "summary.storage.timestamp",
            "storage.timestamp",
            "layoutEx.timestamp",
        ),
        "tools_running": ("guest", "summary.guest"),
        "heartbeat": ("guestHeartbeatStatus", "summary.quickStats.guestHeartbeatStatus"),
        "guest_ip": ("guest.ipAddress", "guest.net", "summary.guest.ipAddress"),
        "guest_addresses": ("guest.net",),
        "guest_hostname": ("guest.hostName", "summary.guest.hostName"),
    }

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
    passthrough: tuple[str, ...] = ()
    """Kinds of PCI devices that it takes from its host: ``8086:1583``."""
    memory_locked: bool = False
    """All memory is reserved, however much there will be."""
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
    """How the OVF environment reaches the guest, e.g. ``com.vmware.guestInfo``."""
    product_version: str = ""
    """Of the OVF package that it came from (``ProductSection/Version``)."""
    ovf_environment: Mapping[str, str] = field(default_factory=dict)
    """The properties as the guest sees them: those of the last power-on, defaults filled in."""
    change_version: int = 1
    modified: datetime | None = None

    tools_running: bool = False
    heartbeat: str = "gray"
    guest_ip: str = ""
    guest_addresses: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Addresses of cards, by device key, where the guest has others than ``guest_ip`` on its first one."""
    guest_hostname: str = ""

    esx_agent: bool = False
    """Deployed by EAM: never moved by DRS, started first, exempt from the EsxAgents a host must have."""
    restart_on_boot: bool = False
    """Was running when its host crashed."""
    started_on: HostSystem | None = None
    """Where its guest was started; None once it has moved since."""
    busy_chain: int = 0
    """Event chain of the task that holds the VM; 0 when none does."""

    @property
    def guest_runs(self) -> bool:
        """Whether a guest operating system is running in truth, whatever vCenter can see of it."""
        return self.power_state == "poweredOn" and self.host is not None and not self.host.crashed

    @property
    def vmx(self) -> str:
        """Path of the configuration file; the directory ends in the name the VM was made with."""
        name = self.directory.rstrip("/").partition("] ")[2] or self.moid
        return f"{self.directory}{name}.vmx"

    # -- tree ---------------------------------------------------------------------------------------------------

    def event_places(self) -> Iterator[ManagedEntity]:
        """Host and compute resource besides the folders."""
        yield self
        if self.host is not None:
            yield from self.host.event_places()
        yield from self.ancestors()

    def siblings(self) -> Iterator[ManagedEntity]:
        """VMs of one folder have different names."""
        return iter(self.parent.children if isinstance(self.parent, Folder) else ())

    def apply_rename(self, tx: Transaction, name: str) -> None:
        """A rename is a configuration change."""
        ManagedEntity.apply_rename(self, tx, name)
        tx.set(self, change_version=self.change_version + 1, modified=self.world.clock.now())

    async def destroy(self, *, user: str = "", chain: int | None = None) -> None:
        """Delete the VM with its files."""
        await vm_life.destroy(self.world, self, user=user, chain=chain)

    # -- API ----------------------------------------------------------------------------------------------------

    def _task(self, call: Any, method: str, life: Callable[..., Awaitable[Any]], **arguments: Any) -> Any:
        return self.start_task(
            call,
            method,
            lambda handle: life(self.world, self, user=handle.user, chain=handle.chain, **arguments),
        )

    @operation("PowerOnVM_Task", privilege="VirtualMachine.Interact.PowerOn")
    def PowerOnVM_Task(self, call: Any, host: Any = None) -> Any:
        from contrail_vsphere.simulator.vcenter.host_system import HostSystem

        target = found(self, host, HostSystem) if host is not None else None
        return self._task(call, "powerOn", vm_life.power_on, host=target)

    @operation("PowerOffVM_Task", privilege="VirtualMachine.Interact.PowerOff")
    def PowerOffVM_Task(self, call: Any) -> Any:
        return self._task(call, "powerOff", vm_life.power_off)

    @operation("SuspendVM_Task", privilege="VirtualMachine.Interact.Suspend")
    def SuspendVM_Task(self, call: Any) -> Any:
        return self._task(call, "suspend", vm_life.suspend)

    @operation("ResetVM_Task", privilege="VirtualMachine.Interact.Reset")
    def ResetVM_Task(self, call: Any) -> Any:
        return self._task(call, "reset", vm_life.reset)

    @operation("ShutdownGuest", privilege="VirtualMachine.Interact.PowerOff")
    def ShutdownGuest(self, call: Any) -> None:
        vm_life.shutdown_guest(self.world, self, user=call.user)

    @operation("RebootGuest", privilege="VirtualMachine.Interact.Reset")
    def RebootGuest(self, call: Any) -> None:
        vm_life.reboot_guest(self.world, self, user=call.user)

    @operation("StandbyGuest")
    def StandbyGuest(self, call: Any) -> None:
        vm_life.standby_guest(self.world, self, user=call.user)

    @operation("UpgradeVM_Task")
    def UpgradeVM_Task(self, call: Any, version: str | None = None) -> Any:
        return self._task(call, "upgradeVirtualHardware", vm_life.upgrade, version=version)

    @operation("ReconfigVM_Task", privilege="VirtualMachine.Config.Settings")
    def ReconfigVM_Task(self, call: Any, spec: Any) -> Any:
        return self._task(call, "reconfigure", vm_life.reconfigure, spec=spec)

    @operation("Rename_Task", privilege="VirtualMachine.Config.Rename")
    def Rename_Task(self, call: Any, newName: str) -> Any:
        return self._task(call, "rename", vm_life.rename, name=newName)

    @operation("UnregisterVM", privilege="VirtualMachine.Inventory.Unregister")
    def UnregisterVM(self, call: Any) -> None:
        vm_life.unregister(self.world, self, user=call.user)

    @operation("MigrateVM_Task", privilege="Resource.HotMigrate")
    def MigrateVM_Task(
        self, call: Any, priority: str, pool: Any = None, host: Any = None, state: str | None = None
    ) -> Any:
        target = vm_move.destination(self, host=host, pool=pool)
        return self._task(call, "migrate", vm_move.migrate, target=target, required_state=state)

    @operation("RelocateVM_Task", privilege="Resource.ColdMigrate", note="No device changes.")
    def RelocateVM_Task(self, call: Any, spec: Any, priority: str | None = None) -> Any:
        target = vm_move.destination(self, host=spec.host, pool=spec.pool, datastore=spec.datastore, folder=spec.folder)
        return self._task(call, "relocate", vm_move.relocate, target=target)

    @operation("CloneVM_Task", privilege="VirtualMachine.Provisioning.Clone", note="No customization.")
    def CloneVM_Task(self, call: Any, folder: Any, name: str, spec: Any) -> Any:
        from contrail_vsphere.simulator.vcenter import vm_create

        target = found(self, folder, Folder)
        place = vm_move.destination(
            self, host=spec.location.host, pool=spec.location.pool, datastore=spec.location.datastore
        )
        return self._task(call, "clone", vm_create.clone, folder=target, name=name, target=place, spec=spec)

    @operation("MarkAsTemplate", privilege="VirtualMachine.Provisioning.MarkAsTemplate")
    def MarkAsTemplate(self, call: Any) -> None:
        vm_template.mark_as_template(self.world, self, user=call.user)

    @operation("MarkAsVirtualMachine", privilege="VirtualMachine.Provisioning.MarkAsVM")
    def MarkAsVirtualMachine(self, call: Any, pool: Any, host: Any = None) -> None:
        target = vm_move.destination(self, host=host, pool=pool)
        vm_template.mark_as_vm(self.world, self, target, user=call.user)

    # -- fault tolerance ----------------------------------------------------------------------------------------

    @operation("CreateSecondaryVM_Task", note="Always refused, for EsxAgents and others with their own reasons.")
    def CreateSecondaryVM_Task(self, call: Any, host: Any = None) -> Any:
        return self._refuse_fault_tolerance(call)

    @operation("CreateSecondaryVMEx_Task", note="Always refused, for EsxAgents and others with their own reasons.")
    def CreateSecondaryVMEx_Task(self, call: Any, host: Any = None, spec: Any = None) -> Any:
        return self._refuse_fault_tolerance(call)

    @operation("QueryFaultToleranceCompatibility")
    def QueryFaultToleranceCompatibility(self, call: Any) -> list[Any]:
        return [issue.fault for issue in fault_tolerance.issues(self)]

    @operation("QueryFaultToleranceCompatibilityEx")
    def QueryFaultToleranceCompatibilityEx(self, call: Any, forLegacyFt: bool | None = None) -> list[Any]:
        return [issue.fault for issue in fault_tolerance.issues(self)]

    def _refuse_fault_tolerance(self, call: Any) -> Any:
        async def work(handle: Any) -> None:
            raise fault_tolerance.issues(self)[0]

        return self.start_task(call, "createSecondary", work)

    # -- properties ---------------------------------------------------------------------------------------------

    @managed_property("config")
    def _config(self) -> Any:
        return vm_projection.config(self)

    @managed_property("config.name")
    def _config_name(self) -> str:
        return self.name

    @managed_property("config.instanceUuid")
    def _config_instance_uuid(self) -> str:
        return self.instance_uuid

    @managed_property("config.uuid")
    def _config_uuid(self) -> str:
        return self.bios_uuid

    @managed_property("config.template")
    def _config_template(self) -> bool:
        return self.template

    @managed_property("config.annotation")
    def _config_annotation(self) -> str:
        return self.annotation

    @managed_property("config.hardware")
    def _config_hardware(self) -> Any:
        return vm_projection.hardware(self)

    @managed_property("config.hardware.device")
    def _config_hardware_device(self) -> list[Any]:
        return device_list(self.disks, self.nics)

    @managed_property("config.hardware.numCPU")
    def _config_hardware_num_cpu(self) -> int:
        return self.cpus

    @managed_property("config.hardware.memoryMB")
    def _config_hardware_memory(self) -> int:
        return self.memory_mb

    @managed_property("config.managedBy")
    def _config_managed_by(self) -> Any:
        return vm_projection.managed_by(self)

    @managed_property("config.extraConfig")
    def _config_extra_config(self) -> list[Any]:
        return vm_projection.extra_config(self)

    @managed_property("config.vAppConfig")
    def _config_vapp(self) -> Any:
        return vm_projection.vapp_config(self)

    @managed_property("config.cpuAllocation")
    def _config_cpu(self) -> Any:
        return vm_projection.cpu_allocation(self)

    @managed_property("config.memoryAllocation")
    def _config_memory(self) -> Any:
        return vm_projection.memory_allocation(self)

    @managed_property("runtime")
    def _runtime(self) -> Any:
        return vm_projection.runtime(self)

    @managed_property("runtime.host")
    def _runtime_host(self) -> Any:
        return self.host

    @managed_property("runtime.powerState")
    def _runtime_power_state(self) -> str:
        return self.power_state

    @managed_property("runtime.connectionState")
    def _runtime_connection_state(self) -> str:
        return self.connection_state

    @managed_property("guest")
    def _guest(self) -> Any:
        return vm_projection.guest(self)

    @managed_property("guest.ipAddress")
    def _guest_ip(self) -> str | None:
        return self.guest_ip or None

    @managed_property("guestHeartbeatStatus")
    def _guest_heartbeat(self) -> str:
        return self.heartbeat

    @managed_property("summary")
    def _summary(self) -> Any:
        return vm_projection.summary(self)

    @managed_property("capability")
    def _capability(self) -> Any:
        return vm_projection.capability()

    @managed_property("resourcePool")
    def _resource_pool(self) -> Any:
        return self.resource_pool

    @managed_property("resourceConfig")
    def _resource_config(self) -> Any:
        return vm_projection.resource_config(self)

    @managed_property("datastore")
    def _datastore(self) -> list[Any]:
        return list(self.datastores)

    @managed_property("network")
    def _network(self) -> list[Any]:
        return list(self.networks)

    @managed_property("storage")
    def _storage(self) -> Any:
        return vm_projection.storage(self)

    @managed_property("layoutEx")
    def _layout_ex(self) -> Any:
        return vm_projection.layout_ex(self)

    @managed_property("parentVApp")
    def _parent_vapp(self) -> Any:
        return None
