"""HostNetworkSystem: standard switches and port groups of one host, configured by clients."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.vcenter import host_network
from contrail_vsphere.simulator.vcenter.create import join_network, leave_network
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.datacenter import Datacenter
from contrail_vsphere.simulator.vcenter.host_network import MANAGEMENT, PLAIN, PNICS, StandardGroup, StandardSwitch
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.simulator.vcenter.network import Network
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem

PRIVILEGE = "Host.Config.Network"
LAST_VLAN = 4095
"""All VLANs; 0 is none."""


@dataclass(slots=True, eq=False, kw_only=True)
class HostNetworkSystem(Entity):
    """One per host; the configuration itself is state of the host."""

    wsdl: ClassVar[str] = "HostNetworkSystem"
    prefix: ClassVar[str] = "networkSystem-"
    volatile: ClassVar[frozenset[str]] = frozenset({"networkInfo", "networkConfig", "dnsConfig"})
    """They follow hosts, networks and distributed switches."""

    host: HostSystem

    @managed_property("networkInfo")
    def _network_info(self) -> Any:
        return host_network.network_info(self.host)

    @managed_property("networkConfig")
    def _network_config(self) -> Any:
        return host_network.network_config(self.host)

    @managed_property("dnsConfig")
    def _dns_config(self) -> Any:
        return host_network.dns(self.host)

    @managed_property("offloadCapabilities")
    def _offload(self) -> Any:
        return data_object(vim.host.NetOffloadCapabilities, csumOffload=True, tcpSegmentation=True, zeroCopyXmit=True)

    @managed_property("capabilities")
    def _capabilities(self) -> Any:
        return data_object(
            vim.host.NetCapabilities,
            canSetPhysicalNicLinkSpeed=False,
            supportsNicTeaming=True,
            nicTeamingPolicy=["loadbalance_ip", "loadbalance_srcmac", "loadbalance_srcid", "failover_explicit"],
            supportsVlan=True,
            usesServiceConsoleNic=False,
            supportsNetworkHints=False,
            maxPortGroupsPerVswitch=512,
            vswitchConfigSupported=True,
            vnicConfigSupported=False,
            ipRouteConfigSupported=False,
            dnsConfigSupported=False,
            dhcpOnVnicSupported=False,
            ipV6Supported=False,
        )

    @operation("RefreshNetworkSystem", note="Re-reads nothing: the simulator's state is never stale.")
    def RefreshNetworkSystem(self, call: Any) -> None:
        return None

    @operation("QueryNetworkHint", note="Nothing is heard on the wires: no CDP, no LLDP.")
    def QueryNetworkHint(self, call: Any, device: list[str] | None = None) -> list[Any]:
        for name in device or ():
            if name not in PNICS:
                raise fault(vim.fault.NotFound, f"There is no physical card '{name}'.")
        return [data_object(vim.host.PhysicalNic.NetworkHint, device=name) for name in device or PNICS]

    # -- switches -----------------------------------------------------------------------------------------------

    @operation("AddVirtualSwitch")
    def AddVirtualSwitch(self, call: Any, vswitchName: str, spec: Any = None) -> None:
        self._check_reachable()
        host = self.host
        if not vswitchName or len(vswitchName) > 31:
            raise _invalid("vswitchName", f"'{vswitchName}' is no name for a switch.")
        if any(item.name == vswitchName for item in host.switches):
            raise fault(vim.fault.AlreadyExists, f"There is a switch '{vswitchName}'.", name=vswitchName)
        made = self._configured(StandardSwitch(name=vswitchName), spec)
        with self.world.commit(call.user) as tx:
            tx.set(host, switches=(*host.switches, made))

    @operation("UpdateVirtualSwitch")
    def UpdateVirtualSwitch(self, call: Any, vswitchName: str, spec: Any) -> None:
        self._check_reachable()
        known = self._switch(vswitchName)
        changed = self._configured(dataclasses.replace(known, pnics=()), spec)
        host = self.host
        with self.world.commit(call.user) as tx:
            tx.set(host, switches=tuple(changed if item is known else item for item in host.switches))

    @operation("RemoveVirtualSwitch")
    def RemoveVirtualSwitch(self, call: Any, vswitchName: str) -> None:
        """With its port groups; ResourceInUse while one of them is used."""
        self._check_reachable()
        gone, host = self._switch(vswitchName), self.host
        names = [name for name, group in host_network.groups(host) if group.switch == vswitchName]
        if MANAGEMENT in names:
            raise self._in_use(vswitchName)
        for name in names:
            self._check_unused(name)
        with self.world.commit(call.user) as tx:
            for name in names:
                self._forget(tx, name)
            tx.set(host, switches=tuple(item for item in host.switches if item is not gone))

    def _switch(self, name: str) -> StandardSwitch:
        found = next((item for item in self.host.switches if item.name == name), None)
        if found is None:
            raise fault(vim.fault.NotFound, f"There is no switch '{name}'.")
        return found

    def _configured(self, switch: StandardSwitch, spec: Any) -> StandardSwitch:
        """The switch as the spec wants it; a card that another switch has is refused."""
        if spec is None:
            return switch
        cards: tuple[str, ...] = ()
        if spec.bridge is not None:
            devices = getattr(spec.bridge, "nicDevice", [])
            cards = tuple(devices) if isinstance(devices, list) else (devices,)
        used = host_network.pnics_in_use(self.host)
        for card in cards:
            if card not in PNICS:
                raise _invalid("spec.bridge.nicDevice", f"There is no physical card '{card}'.")
            if used.get(card, switch.name) != switch.name:
                raise self._in_use(card)
        if not 1280 <= (spec.mtu or 1500) <= 9190:
            raise _invalid("spec.mtu", f"{spec.mtu} is no size of a frame.")
        return dataclasses.replace(
            switch, ports=spec.numPorts or switch.ports, mtu=spec.mtu or switch.mtu, pnics=cards, policy=spec.policy
        )

    # -- port groups --------------------------------------------------------------------------------------------

    @operation("AddPortGroup")
    def AddPortGroup(self, call: Any, portgrp: Any) -> None:
        """The network of that name appears in the datacenter, or the host joins it where others have it already."""
        self._check_reachable()
        group, name = self._described(portgrp), portgrp.name
        if any(known == name for known, _ in host_network.groups(self.host)):
            raise fault(vim.fault.AlreadyExists, f"There is a port group '{name}'.", name=name)
        with self.world.commit(call.user) as tx:
            join_network(tx, self.host, self._network(tx, name))
            self._note(tx, {**self.host.port_groups, name: group})

    @operation("UpdatePortGroup", note="A group that VMs use cannot be renamed.")
    def UpdatePortGroup(self, call: Any, pgName: str, portgrp: Any) -> None:
        self._check_reachable()
        self._known(pgName)
        group, name = self._described(portgrp), portgrp.name
        if name != pgName:
            if pgName == MANAGEMENT:
                raise self._in_use(pgName)
            if any(known == name for known, _ in host_network.groups(self.host)):
                raise fault(vim.fault.AlreadyExists, f"There is a port group '{name}'.", name=name)
            self._check_unused(pgName)
        with self.world.commit(call.user) as tx:
            if name != pgName:
                self._forget(tx, pgName)
                join_network(tx, self.host, self._network(tx, name))
            self._note(tx, {**self.host.port_groups, name: group})

    @operation("RemovePortGroup")
    def RemovePortGroup(self, call: Any, pgName: str) -> None:
        """ResourceInUse while a VM of this host is on it; the network goes with the last host that has it."""
        self._check_reachable()
        self._known(pgName)
        if pgName == MANAGEMENT:
            raise self._in_use(pgName)
        self._check_unused(pgName)
        with self.world.commit(call.user) as tx:
            self._forget(tx, pgName)

    def _known(self, name: str) -> None:
        if all(known != name for known, _ in host_network.groups(self.host)):
            raise fault(vim.fault.NotFound, f"There is no port group '{name}'.")

    def _described(self, spec: Any) -> StandardGroup:
        if not spec.name or len(spec.name) > 80:
            raise _invalid("portgrp.name", f"'{spec.name}' is no name for a port group.")
        if not 0 <= spec.vlanId <= LAST_VLAN:
            raise _invalid("portgrp.vlanId", f"{spec.vlanId} is no VLAN.")
        self._switch(spec.vswitchName)
        return StandardGroup(switch=spec.vswitchName, vlan=int(spec.vlanId), policy=spec.policy)

    def _note(self, tx: Transaction, groups: Mapping[str, StandardGroup]) -> None:
        tx.set(self.host, port_groups={name: group for name, group in groups.items() if group != PLAIN})

    def _network(self, tx: Transaction, name: str) -> Network:
        place = self.host.ancestor(Datacenter)
        assert place is not None  # noqa: S101 - hosts are in datacenters
        for network in self.world.of_type(Network):
            if network.wsdl == "Network" and network.name == name and network.ancestor(Datacenter) is place:
                return network
        made = Network(world=self.world, moid=self.world.new_id(Network.prefix), name=name, parent=place.network_folder)
        place.network_folder.adopt(tx, made)
        return made

    def _forget(self, tx: Transaction, name: str) -> None:
        network = next(item for item in host_network.standard_networks(self.host) if item.name == name)
        leave_network(tx, self.host, network)
        self._note(tx, {known: group for known, group in self.host.port_groups.items() if known != name})
        if not network.hosts:
            network.leave(tx)

    def _check_unused(self, name: str) -> None:
        network = next(item for item in host_network.standard_networks(self.host) if item.name == name)
        if any(vm.host is self.host for vm in network.vms) or self.host.agent_network is network:
            raise self._in_use(name)

    def _in_use(self, name: str) -> Exception:
        return fault(vim.fault.ResourceInUse, f"The resource '{name}' is in use.", type=type(self.ref), name=name)

    def _check_reachable(self) -> None:
        if self.host.connection_state != "connected":
            raise fault(vmodl.fault.HostNotConnected, f"Host '{self.host.name}' is not connected.")


def _invalid(name: str, message: str) -> Exception:
    return fault(vmodl.fault.InvalidArgument, message, invalidProperty=name)
