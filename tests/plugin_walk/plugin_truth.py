"""What must be true of a site with the plugin, read in the simulated worlds and never in the plugin's own records."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from plugin_stand import MARK, PluginStand

from contrail_vsphere.simulator.oracle import Frame, VmNic, still, verdict
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualPortgroup
from contrail_vsphere.simulator.vcenter.switches import Switches
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.vcenter_plugin.identity import CREATOR


@dataclass(frozen=True, slots=True)
class Card:
    """A card that the plugin must serve: in a port group of a network that exists."""

    vm: VirtualMachine
    nic: Any
    network: str

    @property
    def on(self) -> bool:
        return self.vm.power_state == "poweredOn" and self.nic.connected

    def __str__(self) -> str:
        return f"{self.vm.name!r} card {self.nic.key}"


class PluginTruth:
    """Questions to the worlds; every answer is a list of what is wrong."""

    def __init__(self, stand: PluginStand, *, scarce: bool) -> None:
        self.stand = stand
        self.scarce = scarce
        """So few VLANs that two hosts use the same ones: a VM may meet its VLAN where it moves to."""
        self.broken: list[str] = []
        """What was wrong for a moment."""
        self.away = ""
        """A host whose VRouterAgent stays dead while all else comes to rest: its own cards alone may wait."""
        self._foreign: dict[str, Any] = {}
        self._brought: dict[str, int | None] = {}
        """Conflict ports, and the VLAN that each was made with."""
        stand.vcenter.world.observe(lambda _commit: self._glance())

    # -- the site ---------------------------------------------------------------------------------------------------

    def vms(self) -> list[VirtualMachine]:
        found = self.stand.vcenter.world.of_type(VirtualMachine)
        return [vm for vm in found if vm not in self.stand.carrier_vms]

    def _marks(self) -> dict[str, DistributedVirtualPortgroup]:
        return {
            blob.opaqueData: group
            for group in self.stand.vcenter.world.of_type(DistributedVirtualPortgroup)
            for blob in group.vendor
            if blob.key == MARK
        }

    def networks(self) -> dict[str, Any]:
        found = self.stand.contrail.scenario.all("virtual-network")
        return {one.uuid: one for one in found if one.fq_name[1] != "default-project"}

    def cards(self) -> Iterator[Card]:
        networks = self.networks()
        marks = {group.moid: network for network, group in self._marks().items()}
        for vm in self.vms():
            if vm.template:
                continue
            for nic in vm.nics:
                network = marks.get(nic.network.moid, "") if nic.network is not None else ""
                if network in networks:
                    yield Card(vm, nic, network)

    def _may_wait(self, card: Card) -> bool:
        return card.vm.host is not None and card.vm.host.moid == self.away

    def port_of(self, card: Card) -> Any:
        return self.stand.dvs.ports.ports.get(card.nic.port_key)

    # -- at every moment --------------------------------------------------------------------------------------------

    def _glance(self) -> None:
        """After every commit: an open port has a VLAN, and nobody beside it on its host has the same."""
        used: dict[tuple[str, int], str] = {}
        for port in self.stand.dvs.ports.ports.values():
            if port.conflict_with:
                self._brought.setdefault(port.key, self.stand.vlan(port))
            if port.vm is None or port.vm in self.stand.carrier_vms or not self.stand.is_open(port):
                continue
            vlan = self.stand.vlan(port)
            if not vlan and any(blob.key == MARK for blob in port.group.vendor):
                self._say(f"port {port.key} of {port.vm.name!r} is open without a VLAN")
            host = port.vm.host
            if not vlan or host is None or port.vm.power_state != "poweredOn" or self._is_stuck(port):
                continue
            other = used.setdefault((host.moid, vlan), port.key)
            if other != port.key and not self.scarce:
                self._say(f"ports {other} and {port.key} are open in VLAN {vlan} on {host.name}")

    def _say(self, text: str) -> None:
        if text not in self.broken:
            self.broken.append(text)
            self.stand.told.append(f"  {asyncio.get_running_loop().time():8.2f} WRONG: {text}")

    def _is_stuck(self, port: Any) -> bool:
        """Whether it still is a conflict port as it was made, with the settings of the port that it stands in for.

        Where vCenter loses what is written to ports of VMs that are off, nobody can take them away before the VM runs.
        """
        lost = Switches.of(self.stand.vcenter.world).write_while_off == "lost"
        return lost and port.key in self._brought and self._brought[port.key] == self.stand.vlan(port)

    def strangers(self) -> None:
        """No frame may pass between cards of different networks."""
        for one, other, seen in self._frames(same=False):
            if seen.delivered and not any(self._is_stuck(self.port_of(card)) for card in (one, other)):
                self._say(f"a frame of {one} in {one.network} reached {other} in {other.network}: {seen.reason}")

    def _frames(self, *, same: bool = True) -> Iterator[tuple[Card, Card, Any]]:
        """What becomes of a frame from each running card to each other; not ``same``: to those of other networks."""
        stand = self.stand
        cards, carriers = [card for card in self.cards() if card.on], still(stand.carriers)
        for one in cards:
            for other in cards:
                if one.vm is not other.vm and (same or one.network != other.network):
                    frame = Frame(source_mac=one.nic.mac, destination_mac=other.nic.mac)
                    ends = VmNic(one.vm, one.nic.key), VmNic(other.vm, other.nic.key)
                    yield one, other, verdict(stand.vcenter.world, carriers, *ends, frame)

    # -- what is not ours -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Remember what is not ours, as it is now."""
        self._foreign = self._not_ours()

    def _not_ours(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for group in self.stand.vcenter.world.of_type(DistributedVirtualPortgroup):
            if not any(blob.key == MARK for blob in group.vendor):
                found[f"port group {group.moid}"] = (group.name, group.config_version)
        for port in self.stand.dvs.ports.ports.values():
            if f"port group {port.group.moid}" in found and port.vm in self.stand.carrier_vms:
                found[f"port {port.key}"] = (self.stand.vlan(port), port.override)
        for kind in ("virtual-machine", "virtual-machine-interface", "instance-ip"):
            for one in self.stand.contrail.scenario.all(kind):
                if one.properties["id_perms"].get("creator") != CREATOR:
                    found[f"{kind} {one.uuid}"] = one.fq_name
        return found

    # -- at rest ----------------------------------------------------------------------------------------------------

    def at_rest(self) -> list[str]:
        cards = list(self.cards())
        found = [*self._groups_wrong(), *self._objects_wrong(cards), *self._agents_wrong(cards)]
        for card in cards:
            found += self._card_wrong(card) if not self._may_wait(card) else ()
        if not found:
            found += self._frames_wrong()
        now = self._not_ours()
        for name, value in self._foreign.items():
            if now.get(name) != value:
                found.append(f"{name} is not ours and was changed: {value} -> {now.get(name)}")
        return found

    def _groups_wrong(self) -> Iterator[str]:
        groups = [
            (blob.opaqueData, group)
            for group in self.stand.vcenter.world.of_type(DistributedVirtualPortgroup)
            for blob in group.vendor
            if blob.key == MARK
        ]
        networks = self.networks()
        for uuid, network in networks.items():
            here = [group for mark, group in groups if mark == uuid]
            if len(here) != 1 and not (here and all(group.vms for group in here)):
                yield f"network {network.name} has {len(here)} port groups"
        for mark, group in groups:
            if mark not in networks and not group.vms:
                yield f"port group {group.name} stands for a network that is gone"

    def _objects_wrong(self, cards: list[Card]) -> Iterator[str]:
        stand = self.stand
        wanted = {(card.vm.instance_uuid, card.nic.key): card for card in cards}
        missing = dict(wanted)
        waiting = self._in_lost_networks()
        for vmi in stand.objects("virtual-machine-interface"):
            notes = {each["key"]: each["value"] for each in vmi.properties["annotations"]["key_value_pair"]}
            key = (notes["vm"], int(notes["nic"]))
            card = missing.pop(key, None)
            if card is None:
                if key not in waiting:
                    yield f"interface {vmi.uuid} of {key} " + ("is doubled" if key in wanted else "has no card")
                continue
            if self._may_wait(card):
                continue
            if vmi.referred("virtual_network_refs") != [card.network]:
                yield f"{card}: the interface is in another network"
            macs = vmi.properties["virtual_machine_interface_mac_addresses"]["mac_address"]
            if macs != [card.nic.mac]:
                yield f"{card}: the interface has {macs}"
        yield from (f"{card} has no interface" for card in missing.values() if not self._may_wait(card))
        machines = {one.uuid for one in stand.objects("virtual-machine")}
        need = {card.vm.instance_uuid for card in cards}
        may_lack = {card.vm.instance_uuid for card in cards if self._may_wait(card)}
        yield from (f"Contrail lacks VM {uuid}" for uuid in need - machines - may_lack)
        yield from (f"Contrail has VM {uuid} too many" for uuid in machines - need - {vm for vm, _ in waiting})
        vmis = {one.uuid for one in stand.objects("virtual-machine-interface")}
        for address in stand.objects("instance-ip"):
            if not set(address.referred("virtual_machine_interface_refs")) & vmis:
                yield f"instance IP {address.uuid} has no interface"

    def _in_lost_networks(self) -> set[tuple[str, int]]:
        """Cards in port groups whose network is gone: what Contrail has of them may stay or go."""
        networks, groups = self.networks(), {group.moid: mark for mark, group in self._marks().items()}
        return {
            (vm.instance_uuid, nic.key)
            for vm in self.vms()
            for nic in vm.nics
            if nic.network is not None and groups.get(nic.network.moid, "") not in ("", *networks)
        }

    def _vmi_of(self, card: Card) -> Any:
        for vmi in self.stand.objects("virtual-machine-interface"):
            notes = {each["key"]: each["value"] for each in vmi.properties["annotations"]["key_value_pair"]}
            if (notes["vm"], notes["nic"]) == (card.vm.instance_uuid, str(card.nic.key)):
                return vmi
        return None

    def _agents_wrong(self, cards: list[Card]) -> Iterator[str]:
        vmis = {}
        for card in cards:
            vmi = self._vmi_of(card)
            if vmi is not None:
                vmis[vmi.uuid] = card
        for moid, agent in self.stand.vcenter.vrouters.agents.items():
            for uuid, port in agent.table.ports.items() if moid != self.away else ():
                card = vmis.get(uuid)
                if card is None:
                    yield f"the agent of {moid} has port {uuid} of nobody"
                elif card.vm.host is None or card.vm.host.moid != moid:
                    yield f"the agent of {moid} has {card}, which is not there"
                elif port.link_up and not card.on:
                    yield f"the agent of {moid} has the link of {card} up, which is off"

    def _card_wrong(self, card: Card) -> Iterator[str]:
        if not card.on:
            return
        port, vmi, host = self.port_of(card), self._vmi_of(card), card.vm.host
        if host is None or vmi is None:
            return
        vlan = self.stand.vlan(port) if port is not None else None
        if port is None or not vlan or not self.stand.is_open(port):
            yield f"{card} on {host.name} is not open (VLAN {vlan})"
            return
        plug = self.stand.plugged(host).get(vmi.uuid)
        if plug is None:
            yield f"{card} is not plugged on {host.name}"
            return
        if (plug.rx_vlan, plug.tx_vlan) != (vlan, vlan):
            yield f"{card} has VLAN {vlan} in vCenter and {plug.rx_vlan} at the agent"
        addresses = [
            one.properties["instance_ip_address"]
            for one in self.stand.objects("instance-ip")
            if vmi.uuid in one.referred("virtual_machine_interface_refs")
        ]
        if (plug.mac, plug.vm, plug.network, plug.link_up) != (
            card.nic.mac, card.vm.instance_uuid, card.network, True,
        ) or not self._addressed(card, plug, addresses):  # fmt: skip
            yield f"{card} is plugged as {plug}; its addresses are {addresses}"
        for other in self.stand.dvs.ports.ports.values():
            same = other is not port and other.vm is not None and other.vm.host is host
            if same and other.vm.power_state != "poweredOn" and self._is_stuck(other):
                continue
            if same and self.stand.vlan(other) == vlan and other.vm not in self.stand.carrier_vms:
                yield f"{card} and {other.vm.name!r} have VLAN {vlan} on {host.name}"

    def _addressed(self, card: Card, plug: Any, addresses: list[str]) -> bool:
        """Whether the VRouterAgent has what Contrail has; of guests that bring their own, what they tell now is in it.

        One that tells nothing keeps what it told before.
        """
        if not self.networks()[card.network].properties.get("external_ipam"):
            return [plug.ip] == addresses
        if {plug.ip, plug.ip6} - {"0.0.0.0", "::"} != set(addresses):
            return False
        told = card.vm.guest_addresses.get(card.nic.key, ()) if card.vm.tools_running else ()
        return {each for each in told if each.startswith(("10.9.0.", "fd00:9::"))} <= set(addresses)

    def _frames_wrong(self) -> Iterator[str]:
        for one, other, seen in self._frames():
            if self._may_wait(one) or self._may_wait(other):
                continue
            same = one.network == other.network and one.nic.mac != other.nic.mac
            if seen.delivered != same and one.nic.mac != other.nic.mac:
                yield f"a frame of {one} {'does not reach' if same else 'reaches'} {other}: {seen.reason}"
