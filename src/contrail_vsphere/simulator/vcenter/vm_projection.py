"""What clients read of a VM, made from its compact state when they read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.vcenter import vm_passthrough
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.devices import device_list
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

GUEST_NAMES = {
    "otherLinux64Guest": "Other Linux (64-bit)",
    "other5xLinux64Guest": "Other 5.x or later Linux (64-bit)",
    "ubuntu64Guest": "Ubuntu Linux (64-bit)",
    "centos7_64Guest": "CentOS 7 (64-bit)",
    "centos8_64Guest": "CentOS 8 (64-bit)",
    "rhel8_64Guest": "Red Hat Enterprise Linux 8 (64-bit)",
}


def config(vm: VirtualMachine) -> Any:
    """VirtualMachineConfigInfo."""
    return data_object(
        vim.vm.ConfigInfo,
        changeVersion=str(vm.change_version),
        modified=vm.modified,
        name=vm.name,
        guestFullName=GUEST_NAMES.get(vm.guest_id, vm.guest_id),
        guestId=vm.guest_id,
        alternateGuestName="",
        version=vm.hardware_version,
        uuid=vm.bios_uuid,
        instanceUuid=vm.instance_uuid,
        template=vm.template,
        annotation=vm.annotation,
        files=files(vm),
        flags=data_object(vim.vm.FlagInfo, enableLogging=True, diskUuidEnabled=False),
        bootOptions=data_object(
            vim.vm.BootOptions, bootDelay=0, enterBIOSSetup=False, bootRetryEnabled=False, bootRetryDelay=10_000
        ),
        firmware="bios",
        defaultPowerOps=data_object(vim.vm.DefaultPowerOpInfo, powerOffType="soft", suspendType="hard"),
        hardware=hardware(vm),
        cpuAllocation=cpu_allocation(vm),
        memoryAllocation=memory_allocation(vm),
        latencySensitivity=data_object(vim.LatencySensitivity, level=vm.latency_sensitivity),
        memoryReservationLockedToMax=vm.memory_locked,
        extraConfig=extra_config(vm),
        managedBy=managed_by(vm),
        vAppConfig=vapp_config(vm),
        tools=data_object(
            vim.vm.ToolsConfigInfo,
            toolsVersion=0,
            afterPowerOn=True,
            afterResume=True,
            beforeGuestStandby=True,
            beforeGuestShutdown=True,
            beforeGuestReboot=False,
            toolsUpgradePolicy="manual",
            syncTimeWithHostAllowed=True,
            syncTimeWithHost=False,
        ),
        datastoreUrl=[
            data_object(vim.vm.ConfigInfo.DatastoreUrlPair, name=ds.name, url=ds.url) for ds in vm.datastores
        ],
    )


def files(vm: VirtualMachine) -> Any:
    """VirtualMachineFileInfo."""
    return data_object(
        vim.vm.FileInfo,
        vmPathName=vm.vmx,
        snapshotDirectory=vm.directory,
        suspendDirectory=vm.directory,
        logDirectory=vm.directory,
    )


def hardware(vm: VirtualMachine) -> Any:
    """VirtualHardware."""
    return data_object(
        vim.vm.VirtualHardware,
        numCPU=vm.cpus,
        numCoresPerSocket=vm.cores_per_socket,
        memoryMB=vm.memory_mb,
        device=[*device_list(vm.disks, vm.nics), *vm_passthrough.devices(vm)],
    )


def extra_config(vm: VirtualMachine) -> list[Any]:
    """OptionValue list."""
    return [data_object(vim.option.OptionValue, key=key, value=value) for key, value in vm.extra_config.items()]


def managed_by(vm: VirtualMachine) -> Any:
    """ManagedByInfo or None."""
    if vm.managed_by is None:
        return None
    return data_object(vim.ext.ManagedByInfo, extensionKey=vm.managed_by.extension_key, type=vm.managed_by.type)


def vapp_config(vm: VirtualMachine) -> Any:
    """VmConfigInfo of a VM that came from an OVF package; None for others."""
    if not vm.vapp_property_info and not vm.ovf_transport:
        return None
    return data_object(
        vim.vApp.VmConfigInfo,
        property=[with_value(info, vm.vapp_properties.get(full_id(info))) for info in vm.vapp_property_info],
        product=[data_object(vim.vApp.ProductInfo, key=0, version=vm.product_version)] if vm.product_version else [],
        ovfEnvironmentTransport=list(vm.ovf_transport),
        ipAssignment=data_object(vim.vApp.IPAssignmentInfo, ipAllocationPolicy="fixedPolicy", ipProtocol="IPv4"),
        installBootRequired=False,
        installBootStopDelay=0,
    )


def full_id(info: Any) -> str:
    """``class.key.instance`` of a PropertyInfo."""
    return ".".join(part for part in (info.classId, info.id, info.instanceId) if part)


def with_value(info: Any, value: str | None) -> Any:
    """The PropertyInfo with another value (None: unset, the default counts)."""
    return data_object(type(info), **{**info.__dict__, "value": value})


def _shares(shares: tuple[str, int]) -> Any:
    return data_object(vim.SharesInfo, level=shares[0], shares=shares[1])


def cpu_allocation(vm: VirtualMachine) -> Any:
    """ResourceAllocationInfo in MHz."""
    return data_object(
        vim.ResourceAllocationInfo,
        reservation=vm.cpu_reservation,
        limit=vm.cpu_limit,
        expandableReservation=False,
        shares=_shares(vm.cpu_shares),
    )


def memory_allocation(vm: VirtualMachine) -> Any:
    """ResourceAllocationInfo in MB."""
    return data_object(
        vim.ResourceAllocationInfo,
        reservation=vm.memory_reservation,
        limit=vm.memory_limit,
        expandableReservation=False,
        shares=_shares(vm.memory_shares),
    )


def resource_config(vm: VirtualMachine) -> Any:
    """ResourceConfigSpec."""
    return data_object(
        vim.ResourceConfigSpec,
        entity=vm,
        changeVersion=str(vm.change_version),
        lastModified=vm.modified,
        cpuAllocation=cpu_allocation(vm),
        memoryAllocation=memory_allocation(vm),
    )


def runtime(vm: VirtualMachine) -> Any:
    """VirtualMachineRuntimeInfo."""
    return data_object(
        vim.vm.RuntimeInfo,
        host=vm.host,
        connectionState=vm.connection_state,
        powerState=vm.power_state,
        faultToleranceState="notConfigured",
        toolsInstallerMounted=False,
        numMksConnections=0,
        recordReplayState="inactive",
        onlineStandby=False,
        consolidationNeeded=False,
        suspendTime=vm.suspend_time,
        bootTime=vm.boot_time,
        suspendInterval=0,
        maxMemoryUsage=vm.memory_mb,
        cleanPowerOff=vm.power_state == "poweredOff",
        cryptoState="clean",
    )


def guest(vm: VirtualMachine) -> Any:
    """GuestInfo, as VMware Tools report it."""
    return data_object(
        vim.vm.GuestInfo,
        toolsStatus=_tools_status(vm),
        toolsRunningStatus=_tools_running(vm),
        toolsVersionStatus="guestToolsUnmanaged",
        toolsVersionStatus2="guestToolsUnmanaged",
        guestState="running" if vm.tools_running else "notRunning",
        guestOperationsReady=vm.tools_running,
        guestStateChangeSupported=vm.tools_running,
        guestId=vm.guest_id if vm.tools_running else None,
        guestFamily="linuxGuest" if vm.tools_running else None,
        hostName=vm.guest_hostname or None,
        ipAddress=vm.guest_ip or None,
        net=_guest_nics(vm) if vm.tools_running else [],
    )


def tenant_address(moid: str) -> str:
    """An address for a tenant's guest, the same at every boot and no host's; nothing listens there."""
    number = int(moid.rpartition("-")[2])
    return f"10.{128 | number >> 16 & 0x7F}.{number >> 8 & 0xFF}.{number & 0xFF}"


def _guest_nics(vm: VirtualMachine) -> list[Any]:
    """What Tools report: of the first card ``guest_ip``, unless more was said of each card."""
    return [
        data_object(
            vim.vm.GuestInfo.NicInfo,
            network=nic.network.name if nic.network is not None else None,
            macAddress=nic.mac,
            connected=nic.connected,
            deviceConfigId=nic.key,
            ipAddress=list(vm.guest_addresses.get(nic.key, (vm.guest_ip,) if index == 0 and vm.guest_ip else ())),
        )
        for index, nic in enumerate(vm.nics)
    ]


def _tools_status(vm: VirtualMachine) -> str:
    return "toolsOk" if vm.tools_running else "toolsNotRunning"


def _tools_running(vm: VirtualMachine) -> str:
    return "guestToolsRunning" if vm.tools_running else "guestToolsNotRunning"


def summary(vm: VirtualMachine) -> Any:
    """VirtualMachineSummary."""
    return data_object(
        vim.vm.Summary,
        vm=vm,
        runtime=runtime(vm),
        guest=data_object(
            vim.vm.Summary.GuestSummary,
            guestId=vm.guest_id if vm.tools_running else None,
            toolsStatus=_tools_status(vm),
            toolsRunningStatus=_tools_running(vm),
            toolsVersionStatus2="guestToolsUnmanaged",
            hostName=vm.guest_hostname or None,
            ipAddress=vm.guest_ip or None,
        ),
        config=_config_summary(vm),
        storage=_storage(vm),
        quickStats=data_object(vim.vm.Summary.QuickStats, guestHeartbeatStatus=vm.heartbeat),
        overallStatus=vm.status,
    )


def _config_summary(vm: VirtualMachine) -> Any:
    return data_object(
        vim.vm.Summary.ConfigSummary,
        name=vm.name,
        template=vm.template,
        vmPathName=vm.vmx,
        memorySizeMB=vm.memory_mb,
        cpuReservation=vm.cpu_reservation,
        memoryReservation=vm.memory_reservation,
        numCpu=vm.cpus,
        numEthernetCards=len(vm.nics),
        numVirtualDisks=len(vm.disks),
        uuid=vm.bios_uuid,
        instanceUuid=vm.instance_uuid,
        guestId=vm.guest_id,
        guestFullName=GUEST_NAMES.get(vm.guest_id, vm.guest_id),
        annotation=vm.annotation,
        installBootRequired=False,
        managedBy=managed_by(vm),
        hwVersion=vm.hardware_version,
    )


def _storage(vm: VirtualMachine) -> Any:
    committed = sum(disk.capacity for disk in vm.disks if not disk.thin)
    uncommitted = sum(disk.capacity for disk in vm.disks if disk.thin)
    return data_object(
        vim.vm.Summary.StorageSummary,
        committed=committed,
        uncommitted=uncommitted,
        unshared=committed,
        timestamp=vm.modified,
    )


def storage(vm: VirtualMachine) -> Any:
    """What its disks take and may yet take, by datastore; other files are too small to count."""
    return data_object(
        vim.vm.StorageInfo,
        timestamp=vm.modified,
        perDatastoreUsage=[
            data_object(
                vim.vm.StorageInfo.UsageOnDatastore,
                datastore=store,
                committed=(
                    full := sum(disk.capacity for disk in vm.disks if disk.datastore is store and not disk.thin)
                ),
                uncommitted=sum(disk.capacity for disk in vm.disks if disk.datastore is store and disk.thin),
                unshared=full,
            )
            for store in vm.datastores
        ],
    )


def layout_ex(vm: VirtualMachine) -> Any:
    """The files a VM has: its configuration and its disks."""
    files = [("config", vm.vmx, 0), *(("diskDescriptor", disk.file, disk.capacity) for disk in vm.disks)]
    return data_object(
        vim.vm.FileLayoutEx,
        timestamp=vm.modified,
        file=[
            data_object(vim.vm.FileLayoutEx.FileInfo, key=key, name=name, type=kind, size=size, accessible=True)
            for key, (kind, name, size) in enumerate(files)
        ],
    )


def capability() -> Any:
    """VirtualMachineCapability: what every VM here can do."""
    flags = {info.name: False for info in vim.vm.Capability._GetPropertyList() if info.type is bool}
    able = (
        "snapshotOperationsSupported",
        "multipleSnapshotsSupported",
        "poweredOffSnapshotsSupported",
        "memorySnapshotsSupported",
        "revertToSnapshotSupported",
        "quiescedSnapshotsSupported",
        "consolePreferencesSupported",
        "bootOptionsSupported",
        "multipleCoresPerSocketSupported",
    )
    return data_object(vim.vm.Capability, **{**flags, **dict.fromkeys(able, True)})
