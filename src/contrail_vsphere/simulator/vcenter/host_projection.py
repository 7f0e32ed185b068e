"""What clients read of a host, made from its compact state when they read it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.vcenter import host_network
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem

VENDOR, MODEL, CPU_MODEL = "Contrail", "Simulated host", "Simulated CPU @ 2.60GHz"

BIOS_DATE = datetime(2024, 1, 1, tzinfo=UTC)


def runtime(host: HostSystem) -> Any:
    """HostRuntimeInfo."""
    return data_object(
        vim.host.RuntimeInfo,
        connectionState=host.connection_state,
        powerState=host.power_state,
        standbyMode=host.standby_change or ("in" if host.power_state == "standBy" else "none"),
        inMaintenanceMode=host.in_maintenance,
        partialMaintenanceMode=[
            data_object(
                vim.host.PartialMaintenanceModeRuntimeInfo, key="quickPatch", hostStatus="inPartialMaintenanceMode"
            )
        ]
        if host.partial_maintenance
        else [],
        inQuarantineMode=False,
        bootTime=host.boot_time,
    )


def product(host: HostSystem) -> Any:
    """AboutInfo of the hypervisor."""
    return data_object(
        vim.AboutInfo,
        name="VMware ESXi",
        fullName=f"VMware ESXi {host.version} build-{host.build}",
        vendor="VMware, Inc.",
        version=host.version,
        build=host.build,
        localeVersion="INTL",
        localeBuild="000",
        osType="vmnix-x86",
        productLineId=host.product_line,
        apiType="HostAgent",
        apiVersion=f"{host.version}.0",
        licenseProductName="VMware ESX Server",
        licenseProductVersion=f"{host.version.split('.')[0]}.0",
    )


def config(host: HostSystem) -> Any:
    """HostConfigInfo: product, network and options."""
    return data_object(
        vim.host.ConfigInfo,
        host=host,
        product=product(host),
        network=host_network.network_info(host),
        lockdownMode="lockdownDisabled",
        option=host.options.values() if host.options is not None else [],
    )


def summary(host: HostSystem) -> Any:
    """HostListSummary."""
    return data_object(
        vim.host.Summary,
        host=host,
        hardware=_hardware_summary(host),
        runtime=runtime(host),
        config=data_object(
            vim.host.Summary.ConfigSummary,
            name=host.name,
            port=443,
            product=product(host),
            vmotionEnabled=True,
            faultToleranceEnabled=False,
            agentVmDatastore=host.agent_datastore,
            agentVmNetwork=host.agent_network,
        ),
        quickStats=data_object(vim.host.Summary.QuickStats),
        overallStatus=host.status,
        rebootRequired=False,
    )


def _hardware_summary(host: HostSystem) -> Any:
    return data_object(
        vim.host.Summary.HardwareSummary,
        vendor=VENDOR,
        model=MODEL,
        uuid=host.uuid,
        memorySize=host.memory_mb * 1024 * 1024,
        cpuModel=CPU_MODEL,
        cpuMhz=host.cpu_mhz,
        numCpuPkgs=2,
        numCpuCores=host.cpu_cores,
        numCpuThreads=host.cpu_cores * 2,
        numNics=4,
        numHBAs=1,
    )


def hardware(host: HostSystem) -> Any:
    """HostHardwareInfo."""
    return data_object(
        vim.host.HardwareInfo,
        systemInfo=data_object(vim.host.SystemInfo, vendor=VENDOR, model=MODEL, uuid=host.uuid),
        cpuInfo=data_object(
            vim.host.CpuInfo,
            numCpuPackages=2,
            numCpuCores=host.cpu_cores,
            numCpuThreads=host.cpu_cores * 2,
            hz=host.cpu_mhz * 1_000_000,
        ),
        cpuPkg=[
            data_object(
                vim.host.CpuPackage,
                index=index,
                vendor="intel",
                hz=host.cpu_mhz * 1_000_000,
                busHz=100_000_000,
                description=CPU_MODEL,
                threadId=list(range(index * host.cpu_cores, (index + 1) * host.cpu_cores)),
            )
            for index in range(2)
        ],
        memorySize=host.memory_mb * 1024 * 1024,
        biosInfo=data_object(vim.host.BIOSInfo, biosVersion="1.0", vendor=VENDOR, releaseDate=BIOS_DATE),
        smcPresent=False,
    )


def capability() -> Any:
    """HostCapability: what every simulated host can do."""
    flags = {info.name: False for info in vim.host.Capability._GetPropertyList() if info.type is bool}
    able = (
        "recursiveResourcePoolsSupported",
        "cpuMemoryResourceConfigurationSupported",
        "rebootSupported",
        "shutdownSupported",
        "vmotionSupported",
        "maintenanceModeSupported",
        "vlanTaggingSupported",
        "nicTeamingSupported",
        "nfsSupported",
        "latencySensitivitySupported",
    )
    return data_object(vim.host.Capability, **{**flags, **dict.fromkeys(able, True)})


def config_manager(host: HostSystem) -> Any:
    """HostConfigManager: the managers that are served."""
    return data_object(
        vim.host.ConfigManager,
        esxAgentHostManager=host.agent_manager,
        imageConfigManager=host.image,
        networkSystem=host.network_system,
        advancedOption=host.options,
    )
