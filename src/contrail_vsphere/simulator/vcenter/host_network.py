"""The network of a host itself: its cards, its standard switches and their port groups, its part of each DVS.

A standard port group is a network that VMs can use (``Network``, one object per name and datacenter) together with what
this host says of it: on which switch, with which VLAN. Port groups that nobody configured are on vSwitch0 without VLAN.
Ports that VMs use are not counted here, or every VM that comes or goes would be news of its host's configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction, World
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.network import Network

MANAGEMENT = "Management Network"
"""The port group of vmk0: in the host's configuration, and no network of the inventory."""
PNICS = tuple(f"vmnic{number}" for number in range(4))
LINK_MB = 10_000
SHOWN_BY_HOSTS = frozenset({"name", "config.maxMtu", "config.host"})
"""Of a distributed switch."""
OVERHEAD = 8
"""Ports of a switch that it needs itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardSwitch:
    """A switch of the host's own; ``policy`` is the client's HostNetworkPolicy."""

    name: str
    ports: int = 1536
    mtu: int = 1500
    pnics: tuple[str, ...] = ()
    policy: Any = None

    @property
    def key(self) -> str:
        """As port groups refer to it."""
        return f"key-vim.host.VirtualSwitch-{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardGroup:
    """What a host says of one of its port groups."""

    switch: str = "vSwitch0"
    vlan: int = 0
    policy: Any = None


FIRST_SWITCH = StandardSwitch(name="vSwitch0", pnics=PNICS[:1])
PLAIN = StandardGroup()


def install(world: World) -> None:
    """Let hosts tell of their network whenever something in it changes, wherever that is kept; once per world."""
    if _Telling not in world.services:
        world.services[_Telling] = _Telling()
        world.finish(_tell)


class _Telling:
    """Marks a world whose hosts tell."""


def _tell(tx: Transaction) -> None:
    from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualSwitch
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem

    hosts: dict[str, HostSystem] = {}
    for entity, kind, path in tx.entries:
        if isinstance(entity, HostSystem) and kind == "modify" and path in ("config.network", "name"):
            hosts[entity.moid] = entity
        elif isinstance(entity, DistributedVirtualSwitch) and kind == "modify" and path in SHOWN_BY_HOSTS:
            hosts.update({host.moid: host for host in entity.hosts})
    for host in hosts.values():
        tx.touch(host, "config.network")
        if host.network_system is not None:
            tx.touch(host.network_system, "networkInfo", "networkConfig", "dnsConfig")


def standard_networks(host: HostSystem) -> list[Network]:
    """The networks of the host's own switches."""
    return [network for network in host.networks if network.wsdl == "Network"]


def groups(host: HostSystem) -> Iterator[tuple[str, StandardGroup]]:
    """Name and settings of every port group, the management one first."""
    yield MANAGEMENT, host.port_groups.get(MANAGEMENT, PLAIN)
    for network in standard_networks(host):
        yield network.name, host.port_groups.get(network.name, PLAIN)


def network_info(host: HostSystem) -> Any:
    """HostNetworkInfo: how it is."""
    return data_object(
        vim.host.NetworkInfo,
        vswitch=[_switch(host, switch) for switch in host.switches],
        proxySwitch=[_proxy_switch(host, dvs) for dvs in _distributed(host)],
        portgroup=[_group(name, group) for name, group in groups(host)],
        pnic=[_pnic(host, name) for name in PNICS],
        vnic=_vnics(host),
        dnsConfig=dns(host),
        ipRouteConfig=data_object(vim.host.IpRouteConfig, defaultGateway=None),
        ipV6Enabled=False,
        atBootIpV6Enabled=False,
    )


def network_config(host: HostSystem) -> Any:
    """HostNetworkConfig: the same as somebody would ask for it."""
    return data_object(
        vim.host.NetworkConfig,
        vswitch=[
            data_object(vim.host.VirtualSwitch.Config, name=switch.name, spec=_switch_spec(switch))
            for switch in host.switches
        ],
        proxySwitch=[
            data_object(vim.host.HostProxySwitch.Config, uuid=dvs.uuid, spec=_proxy_spec(host, dvs))
            for dvs in _distributed(host)
        ],
        portgroup=[data_object(vim.host.PortGroup.Config, spec=_group_spec(*each)) for each in groups(host)],
        pnic=[
            data_object(vim.host.PhysicalNic.Config, device=name, spec=data_object(vim.host.PhysicalNic.Specification))
            for name in PNICS
        ],
        dnsConfig=dns(host),
    )


def dns(host: HostSystem) -> Any:
    """HostDnsConfig: the names of the host, no servers."""
    name, _, domain = host.name.partition(".")
    return data_object(
        vim.host.DnsConfig, dhcp=False, hostName=name, domainName=domain, address=[], searchDomain=[domain or "local"]
    )


def pnics_in_use(host: HostSystem) -> dict[str, str]:
    """Card -> name of the standard or distributed switch that has it."""
    used = {pnic: switch.name for switch in host.switches for pnic in switch.pnics}
    for dvs in _distributed(host):
        used |= {port.pnic: dvs.name for port in _uplinks(host, dvs) if port.pnic}
    return used


def _switch(host: HostSystem, switch: StandardSwitch) -> Any:
    mine = [name for name, group in groups(host) if group.switch == switch.name]
    return data_object(
        vim.host.VirtualSwitch,
        name=switch.name,
        key=switch.key,
        numPorts=switch.ports,
        numPortsAvailable=max(0, switch.ports - OVERHEAD),
        mtu=switch.mtu,
        portgroup=[f"key-vim.host.PortGroup-{name}" for name in mine],
        pnic=[_pnic_key(name) for name in switch.pnics],
        spec=_switch_spec(switch),
    )


def _switch_spec(switch: StandardSwitch) -> Any:
    bridge = data_object(vim.host.VirtualSwitch.BondBridge, nicDevice=list(switch.pnics)) if switch.pnics else None
    return data_object(
        vim.host.VirtualSwitch.Specification,
        numPorts=switch.ports,
        bridge=bridge,
        mtu=switch.mtu,
        policy=_whole(switch.policy, list(switch.pnics)),
    )


def _whole(policy: Any, pnics: list[str]) -> Any:
    """The policy of a switch: what was asked for, over what ESXi has by default."""
    policy = policy or data_object(vim.host.NetworkPolicy)
    order = data_object(vim.host.NetworkPolicy.NicOrderPolicy, activeNic=pnics, standbyNic=[])
    return data_object(
        vim.host.NetworkPolicy,
        security=policy.security
        or data_object(
            vim.host.NetworkPolicy.SecurityPolicy, allowPromiscuous=False, macChanges=False, forgedTransmits=False
        ),
        nicTeaming=policy.nicTeaming
        or data_object(
            vim.host.NetworkPolicy.NicTeamingPolicy,
            policy="loadbalance_srcid",
            reversePolicy=True,
            notifySwitches=True,
            rollingOrder=False,
            failureCriteria=data_object(vim.host.NetworkPolicy.NicFailureCriteria, checkBeacon=False),
            nicOrder=order,
        ),
        offloadPolicy=policy.offloadPolicy
        or data_object(vim.host.NetOffloadCapabilities, csumOffload=True, tcpSegmentation=True, zeroCopyXmit=True),
        shapingPolicy=policy.shapingPolicy or data_object(vim.host.NetworkPolicy.TrafficShapingPolicy, enabled=False),
    )


def _group(name: str, group: StandardGroup) -> Any:
    return data_object(
        vim.host.PortGroup,
        key=f"key-vim.host.PortGroup-{name}",
        vswitch=f"key-vim.host.VirtualSwitch-{group.switch}",
        spec=_group_spec(name, group),
        computedPolicy=_whole(group.policy, []),
    )


def _group_spec(name: str, group: StandardGroup) -> Any:
    return data_object(
        vim.host.PortGroup.Specification,
        name=name,
        vlanId=group.vlan,
        vswitchName=group.switch,
        policy=_own(group.policy),
    )


def _own(policy: Any) -> Any:
    """The policy of a group: parts without values where it says nothing and follows its switch."""
    kind = vim.host.NetworkPolicy
    policy = policy or data_object(kind)
    return data_object(
        kind,
        security=policy.security or data_object(kind.SecurityPolicy),
        nicTeaming=policy.nicTeaming
        or data_object(kind.NicTeamingPolicy, failureCriteria=data_object(kind.NicFailureCriteria)),
        offloadPolicy=policy.offloadPolicy or data_object(vim.host.NetOffloadCapabilities),
        shapingPolicy=policy.shapingPolicy or data_object(kind.TrafficShapingPolicy),
    )


def _pnic_key(name: str) -> str:
    return f"key-vim.host.PhysicalNic-{name}"


def _pnic(host: HostSystem, name: str) -> Any:
    number = PNICS.index(name)
    return data_object(
        vim.host.PhysicalNic,
        key=_pnic_key(name),
        device=name,
        pci=f"0000:0{number}:00.0",
        driver="ixgben",
        linkSpeed=data_object(vim.host.PhysicalNic.LinkSpeedDuplex, speedMb=LINK_MB, duplex=True),
        spec=data_object(
            vim.host.PhysicalNic.Specification,
            linkSpeed=data_object(vim.host.PhysicalNic.LinkSpeedDuplex, speedMb=LINK_MB, duplex=True),
        ),
        wakeOnLanSupported=False,
        mac=_mac(host, number + 1),
        autoNegotiateSupported=False,
        resourcePoolSchedulerAllowed=True,
    )


def _mac(host: HostSystem, number: int) -> str:
    """A burnt-in address, the same whenever it is read."""
    digits = host.uuid.replace("-", "")[:8]
    return ":".join(("02", *(digits[i : i + 2] for i in range(0, 8, 2)), f"{number:02x}"))


def _vnics(host: HostSystem) -> list[Any]:
    """The management interface."""
    if not host.address:
        return []
    return [
        data_object(
            vim.host.VirtualNic,
            device="vmk0",
            key="key-vim.host.VirtualNic-vmk0",
            portgroup=MANAGEMENT,
            spec=data_object(
                vim.host.VirtualNic.Specification,
                ip=data_object(vim.host.IpConfig, dhcp=False, ipAddress=host.address, subnetMask="255.0.0.0"),
                mac=_mac(host, 0),
                portgroup=MANAGEMENT,
                mtu=1500,
                netStackInstanceKey="defaultTcpipStack",
            ),
        )
    ]


def _distributed(host: HostSystem) -> list[Any]:
    from contrail_vsphere.simulator.vcenter import dvs_members

    return list(dvs_members.switches_of(host))


def _uplinks(host: HostSystem, dvs: Any) -> list[Any]:
    member = dvs.members.get(host.moid)
    return [dvs.ports.ports[key] for key in member.uplink_keys] if member is not None else []


def _proxy_spec(host: HostSystem, dvs: Any) -> Any:
    cards = [
        data_object(
            vim.dvs.HostMember.PnicSpec,
            pnicDevice=port.pnic,
            uplinkPortKey=port.key,
            uplinkPortgroupKey=port.group.moid,
        )
        for port in _uplinks(host, dvs)
        if port.pnic
    ]
    return data_object(
        vim.host.HostProxySwitch.Specification, backing=data_object(vim.dvs.HostMember.PnicBacking, pnicSpec=cards)
    )


def _proxy_switch(host: HostSystem, dvs: Any) -> Any:
    uplinks = _uplinks(host, dvs)
    member = dvs.members.get(host.moid)
    most = member.max_ports if member is not None else 0
    return data_object(
        vim.host.HostProxySwitch,
        dvsUuid=dvs.uuid,
        dvsName=dvs.name,
        key=f"key-vim.host.HostProxySwitch-{dvs.uuid}",
        numPorts=most,
        configNumPorts=most,
        numPortsAvailable=most,
        uplinkPort=[data_object(vim.KeyValue, key=port.key, value=port.name) for port in uplinks],
        mtu=dvs.max_mtu,
        pnic=[_pnic_key(port.pnic) for port in uplinks if port.pnic],
        spec=_proxy_spec(host, dvs),
        networkReservationSupported=False,
    )
