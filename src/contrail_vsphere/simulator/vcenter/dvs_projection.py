"""What clients read of distributed switches and port groups, and the settings new ones start with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
        DistributedVirtualPortgroup,
        DistributedVirtualSwitch,
    )
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem

_VMWARE = vim.dvs.VmwareDistributedVirtualSwitch
BANDWIDTH = 100_000_000
"""Bits per second; vCenter's default for shaping that is off."""


def _bool(value: bool) -> Any:
    return data_object(vim.BoolPolicy, inherited=False, value=value)


def _shaping() -> Any:
    rate = data_object(vim.LongPolicy, inherited=False, value=BANDWIDTH)
    return data_object(
        vim.dvs.DistributedVirtualPort.TrafficShapingPolicy,
        inherited=False,
        enabled=_bool(False),
        averageBandwidth=rate,
        peakBandwidth=rate,
        burstSize=data_object(vim.LongPolicy, inherited=False, value=BANDWIDTH),
    )


def default_setting(uplinks: tuple[str, ...]) -> Any:
    """VMwareDVSPortSetting of a new switch: no VLAN, nothing promiscuous, not blocked."""
    return data_object(
        _VMWARE.VmwarePortConfigPolicy,
        blocked=_bool(False),
        inShapingPolicy=_shaping(),
        outShapingPolicy=_shaping(),
        vlan=data_object(_VMWARE.VlanIdSpec, inherited=False, vlanId=0),
        securityPolicy=data_object(
            _VMWARE.SecurityPolicy,
            inherited=False,
            allowPromiscuous=_bool(False),
            macChanges=_bool(False),
            forgedTransmits=_bool(False),
        ),
        macManagementPolicy=data_object(
            _VMWARE.MacManagementPolicy,
            inherited=False,
            allowPromiscuous=False,
            macChanges=False,
            forgedTransmits=False,
            macLearningPolicy=data_object(
                vim.dvs.VmwareDistributedVirtualSwitch.MacLearningPolicy,
                inherited=False,
                enabled=False,
                allowUnicastFlooding=True,
                limit=4096,
                limitPolicy="DROP",
            ),
        ),
        uplinkTeamingPolicy=data_object(
            _VMWARE.UplinkPortTeamingPolicy,
            inherited=False,
            policy=data_object(vim.StringPolicy, inherited=False, value="loadbalance_srcid"),
            reversePolicy=_bool(True),
            notifySwitches=_bool(True),
            rollingOrder=_bool(False),
            uplinkPortOrder=data_object(
                _VMWARE.UplinkPortOrderPolicy, inherited=False, activeUplinkPort=list(uplinks), standbyUplinkPort=[]
            ),
        ),
        ipfixEnabled=_bool(False),
        txUplink=_bool(False),
    )


def default_health() -> tuple[Any, ...]:
    """Health checks of VLAN, MTU and teaming: off, as a new switch has them."""
    kinds = (_VMWARE.VlanMtuHealthCheckConfig, _VMWARE.TeamingHealthCheckConfig)
    return tuple(data_object(kind, enable=False, interval=0) for kind in kinds)


def default_ipfix() -> Any:
    """VMwareIpfixConfig of a new switch: no collector, seconds and rate of the API reference."""
    return data_object(
        _VMWARE.IpfixConfig,
        collectorPort=0,
        observationDomainId=0,
        activeFlowTimeout=60,
        idleFlowTimeout=15,
        samplingRate=0,
        internalFlowsOnly=False,
    )


def default_policy() -> Any:
    """VMwareDVSPortgroupPolicy of a new port group: ports may be blocked and are reset, nothing else may differ."""
    return data_object(
        _VMWARE.VMwarePortgroupPolicy,
        blockOverrideAllowed=True,
        shapingOverrideAllowed=False,
        vendorConfigOverrideAllowed=False,
        livePortMovingAllowed=False,
        portConfigResetAtDisconnect=True,
        networkResourcePoolOverrideAllowed=False,
        trafficFilterOverrideAllowed=False,
        vlanOverrideAllowed=False,
        uplinkTeamingOverrideAllowed=False,
        securityPolicyOverrideAllowed=False,
        ipfixOverrideAllowed=False,
        macManagementOverrideAllowed=False,
    )


def product(dvs: DistributedVirtualSwitch) -> Any:
    """DistributedVirtualSwitchProductSpec."""
    return product_spec(dvs.version)


def product_spec(version: str) -> Any:
    """The same, of any version."""
    return data_object(
        vim.dvs.ProductSpec, name="DVS", vendor="VMware, Inc.", version=version, forwardingClass="etherswitch"
    )


def _contact(dvs: DistributedVirtualSwitch) -> Any:
    name, contact = dvs.contact
    return data_object(vim.DistributedVirtualSwitch.ContactInfo, name=name or None, contact=contact or None)


def switch_config(dvs: DistributedVirtualSwitch) -> Any:
    """VMwareDVSConfigInfo."""
    return data_object(
        _VMWARE.ConfigInfo,
        uuid=dvs.uuid,
        name=dvs.name,
        numStandalonePorts=0,
        numPorts=dvs.ports.count(),
        maxPorts=dvs.max_ports,
        uplinkPortPolicy=data_object(
            vim.DistributedVirtualSwitch.NameArrayUplinkPortPolicy, uplinkPortName=list(dvs.uplink_names)
        ),
        uplinkPortgroup=tuple(group for group in dvs.portgroups if group.uplink),
        defaultPortConfig=dvs.setting,
        host=[_member(dvs, host) for host in dvs.hosts],
        productInfo=product(dvs),
        policy=dvs.policy,
        configVersion=str(dvs.config_version),
        contact=_contact(dvs),
        createTime=dvs.created,
        description=dvs.description or None,
        networkResourceManagementEnabled=dvs.resource_management,
        networkResourceControlVersion="version3",
        maxMtu=dvs.max_mtu,
        linkDiscoveryProtocolConfig=dvs.discovery,
        lacpApiVersion=dvs.lacp_version,
        multicastFilteringMode=dvs.multicast,
        pvlanConfig=list(dvs.pvlans),
        vendorSpecificConfig=list(dvs.vendor),
        extensionKey=dvs.extension_key or None,
        switchIpAddress=dvs.ip_address or None,
        ipfixConfig=dvs.ipfix,
        healthCheckConfig=list(dvs.health),
        defaultProxySwitchMaxNumPorts=dvs.default_proxy_ports,
    )


def _member(dvs: DistributedVirtualSwitch, host: HostSystem) -> Any:
    """HostMember: what the switch knows of a host."""
    member = dvs.members.get(host.moid)
    keys = member.uplink_keys if member is not None else ()
    ports = [dvs.ports.ports[key] for key in keys]
    most = member.max_ports if member is not None else dvs.default_proxy_ports
    pnics = [
        data_object(
            vim.dvs.HostMember.PnicSpec,
            pnicDevice=port.pnic,
            uplinkPortKey=port.key,
            uplinkPortgroupKey=port.group.moid,
            connectionCookie=port.cookie,
        )
        for port in ports
        if port.pnic
    ]
    return data_object(
        vim.dvs.HostMember,
        status=_status(dvs, host),
        runtimeState=data_object(vim.dvs.HostMember.RuntimeState, currentMaxProxySwitchPorts=most),
        uplinkPortKey=list(keys),
        config=data_object(
            vim.dvs.HostMember.ConfigInfo,
            host=host,
            maxProxySwitchPorts=most,
            vendorSpecificConfig=list(member.vendor) if member is not None else [],
            backing=data_object(vim.dvs.HostMember.PnicBacking, pnicSpec=pnics),
        ),
    )


def _status(dvs: DistributedVirtualSwitch, host: HostSystem) -> str:
    """HostComponentState."""
    if host.connection_state != "connected":
        return "disconnected"
    member = dvs.members.get(host.moid)
    return "up" if member is None or member.in_sync else "outOfSync"


def switch_runtime(dvs: DistributedVirtualSwitch) -> Any:
    """DVSRuntimeInfo."""
    return data_object(
        vim.DistributedVirtualSwitch.RuntimeInfo,
        hostMemberRuntime=[
            data_object(vim.dvs.HostMember.RuntimeInfo, host=host, status=_status(dvs, host)) for host in dvs.hosts
        ],
    )


def default_switch_policy() -> Any:
    """DVSPolicy of a new switch."""
    return data_object(
        vim.DistributedVirtualSwitch.SwitchPolicy,
        autoPreInstallAllowed=False,
        autoUpgradeAllowed=False,
        partialUpgradeAllowed=False,
    )


def default_discovery() -> Any:
    """LinkDiscoveryProtocolConfig of a new switch."""
    return data_object(vim.host.LinkDiscoveryProtocolConfig, protocol="cdp", operation="listen")


def switch_summary(dvs: DistributedVirtualSwitch) -> Any:
    """DVSSummary."""
    return data_object(
        vim.DistributedVirtualSwitch.Summary,
        name=dvs.name,
        uuid=dvs.uuid,
        numPorts=dvs.ports.count(),
        productInfo=product(dvs),
        hostMember=dvs.hosts,
        host=dvs.hosts,
        numHosts=len(dvs.hosts),
        portgroupName=[group.name for group in dvs.portgroups],
        description=dvs.description,
        contact=_contact(dvs),
    )


def features() -> Any:
    """VMwareDVSFeatureCapability of the switches we make."""
    return data_object(
        _VMWARE.FeatureCapability,
        networkResourceManagementSupported=True,
        vmDirectPathGen2Supported=False,
        nicTeamingPolicy=[
            "loadbalance_ip",
            "loadbalance_srcmac",
            "loadbalance_srcid",
            "failover_explicit",
            "loadbalance_loadbased",
        ],
        networkResourcePoolHighShareValue=100,
        networkFilterSupported=True,
        macLearningSupported=True,
        vspanSupported=False,
        lldpSupported=True,
        ipfixSupported=True,
        multicastSnoopingSupported=True,
    )


def switch_capability() -> Any:
    """DVSCapability."""
    return data_object(
        vim.DistributedVirtualSwitch.Capability,
        dvsOperationSupported=True,
        dvPortGroupOperationSupported=True,
        dvPortOperationSupported=True,
        featuresSupported=features(),
    )


def portgroup_config(group: DistributedVirtualPortgroup) -> Any:
    """DVPortgroupConfigInfo."""
    return data_object(
        vim.dvs.DistributedVirtualPortgroup.ConfigInfo,
        key=group.moid,
        name=group.name,
        numPorts=group.num_ports,
        distributedVirtualSwitch=group.dvs,
        defaultPortConfig=group.setting,
        description=group.description,
        type=group.kind,
        backingType="standard",
        policy=group.policy,
        configVersion=str(group.config_version),
        autoExpand=group.auto_expand,
        uplink=group.uplink,
        portNameFormat=group.port_name_format or None,
        scope=group.scope,
        vendorSpecificConfig=list(group.vendor),
        vmVnicNetworkResourcePoolKey=group.resource_pool or None,
    )
