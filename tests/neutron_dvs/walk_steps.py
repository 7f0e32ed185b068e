"""Steps of a random walk over Neutron and vCenter, and the judge who compares the two when it is quiet."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from dataclasses import dataclass, field
from typing import Any

from neutron_stand import HOST, TCP, NeutronStand
from pyVmomi import vim

from contrail_vsphere.model.errors import Conflict, NotFound
from contrail_vsphere.simulator.oracle import VmNic
from contrail_vsphere.simulator.vcenter.dvs_settings import blocked, vlan_ranges

OTHER_HOST = "compute-b"
"""Another cluster of the same vCenter and switch."""
FOREIGN = "kvm-1"
SERVICES = (22, 80, 443)
MOST_NETWORKS, MOST_PORTS, MOST_GROUPS = 6, 16, 4
KINDS = (
    *["add_network", "add_port", "add_port", "add_rule", "add_rule", "drop_rule", "set_groups", "flip_port"],
    *["flip_network", "rename_network", "drop_port", "drop_network", "add_pair", "rebind", "drop_group"],
    *["live_migrate", "live_migrate", "give_up_migration"],
    # vCenter's own: a small part of what a request to Neutron costs.
    *["boot"] * 6, *["unplug"] * 2, *["migrate"] * 3, *["replug"] * 3, *["spoil"] * 3, *["close"] * 3, *["fault"] * 4,
)  # fmt: skip
LATE = contextlib.suppress(Conflict, NotFound)
"""Who changes by hand what the worker has just changed, or removed, is refused and lets it be."""
FAULTS = (
    {"method": "ReconfigureDVPort_Task", "fault": "ConcurrentAccess"},
    {"method": "ReconfigureDVPort_Task", "drop": True},
    {"method": "ReconfigureDVPort_Task", "drop_reply": True},
    {"method": "AddDVPortgroup_Task", "drop_reply": True},
    {"method": "AddDVPortgroup_Task", "fault": "ResourceInUse"},
    {"method": "FetchDVPorts", "http_status": 503},
    {"method": "Destroy_Task", "drop": True},
)


@dataclass
class Walk:
    stand: NeutronStand
    networks: list[Any] = field(default_factory=list)
    groups: list[Any] = field(default_factory=list)
    ports: dict[str, Any] = field(default_factory=dict)
    cards: dict[str, VmNic] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    async def begin(self) -> None:
        spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
            name="somebody-elses", type="earlyBinding", numPorts=4, description="not ours"
        )
        await self.stand.client.run_task(
            vim.DistributedVirtualSwitch(self.stand.dvs.moid), "AddDVPortgroup_Task", spec=[spec]
        )
        self.foreign = self._foreign()
        self.groups.append(await self.stand.group("g0"))
        self.networks.append(await self._new_network())

    async def step(self, kind: str, one: int, other: int) -> None:
        before = len(self.done)
        await getattr(self, kind)(one, other)
        if len(self.done) == before:
            self.done.append(f"({kind})")

    # -- Neutron ------------------------------------------------------------------------------------------------

    async def _new_network(self) -> Any:
        number = len(self.done)
        return await self.stand.network(f"n{number}", "10.9.0.0/24")

    async def add_network(self, _one: int, _other: int) -> None:
        if len(self.networks) < MOST_NETWORKS:
            self.networks.append(await self._new_network())
            self.done.append("add_network")

    async def add_port(self, one: int, other: int) -> None:
        if len(self.ports) >= MOST_PORTS or not self.networks:
            return
        host = (HOST, OTHER_HOST, HOST, FOREIGN)[other % 4]
        groups = [self.groups[other % len(self.groups)].id] if self.groups else []
        port = await self.stand.port(self.networks[one % len(self.networks)], host=host, security_group_ids=groups)
        self.ports[port.id] = port
        self.done.append(f"add_port {port.id} on {host}")

    def _port(self, number: int) -> Any:
        return list(self.ports.values())[number % len(self.ports)] if self.ports else None

    async def add_rule(self, one: int, other: int) -> None:
        if not self.groups:
            return
        group = self.groups[one % len(self.groups)]
        service = SERVICES[other % len(SERVICES)]
        remote: dict[str, Any] = (
            {"remote_group_id": self.groups[other % len(self.groups)].id}
            if other % 2
            else {"remote_ip_prefix": ("0.0.0.0/0", "10.9.0.0/25", "10.9.0.128/25")[other % 3]}
        )
        rule = {"port_range_min": service, "port_range_max": service, "direction": "ingress", **remote}
        try:
            await self.stand.allow(group, **rule)
        except Exception as error:  # Neutron's own refusal of a rule that is there already
            if "409" not in str(error) and "exists" not in str(error):
                raise

    async def drop_rule(self, one: int, other: int) -> None:
        if self.groups:
            group = self.groups[one % len(self.groups)]
            rules = (await self.stand.api("get_security_group", group.id)).security_group_rules
            if rules:
                await self.stand.api("delete_security_group_rule", rules[other % len(rules)]["id"])

    async def drop_group(self, one: int, _other: int) -> None:
        """Really: a new one; groups in use cannot go."""
        if len(self.groups) < MOST_GROUPS:
            self.groups.append(await self.stand.group(f"g{len(self.groups)}-{one}"))

    async def set_groups(self, one: int, other: int) -> None:
        port = self._port(one)
        if port is not None:
            chosen = [group.id for number, group in enumerate(self.groups) if other >> number & 1]
            await self.stand.api("update_port", port.id, security_group_ids=chosen)

    async def add_pair(self, one: int, other: int) -> None:
        port = self._port(one)
        if port is not None:
            pairs = [{"ip_address": f"10.9.1.{other % 250}"}] if other % 2 else []
            await self.stand.api("update_port", port.id, allowed_address_pairs=pairs)

    async def flip_port(self, one: int, _other: int) -> None:
        port = self._port(one)
        if port is not None:
            up = (await self.stand.api("get_port", port.id)).is_admin_state_up
            await self.stand.api("update_port", port.id, is_admin_state_up=not up)

    async def flip_network(self, one: int, _other: int) -> None:
        if self.networks:
            network = await self.stand.api("get_network", self.networks[one % len(self.networks)].id)
            await self.stand.api("update_network", network.id, is_admin_state_up=not network.is_admin_state_up)

    async def rename_network(self, one: int, other: int) -> None:
        if self.networks:
            await self.stand.api("update_network", self.networks[one % len(self.networks)].id, name=f"r{other}")

    async def rebind(self, one: int, other: int) -> None:
        """To another host, as a cold migration does: the card goes first."""
        port = self._port(one)
        if port is not None:
            target = (HOST, OTHER_HOST)[other % 2]
            bindings = {each.host: each.status for each in await self.stand.api_list("port_bindings", port)}
            if bindings.get(target) == "INACTIVE":  # Neutron refuses to bind where a migration left something
                await self.stand.api("delete_port_binding", port, target)
            if port.id in self.cards:
                await self.stand.unplug(self.cards.pop(port.id))
            await self.stand.api("update_port", port.id, binding_host_id=target)

    async def live_migrate(self, one: int, other: int) -> None:
        """As nova does it: a binding on the target, the move, the binding activated, and mostly the old one deleted."""
        port, target = await self._migrating(one)
        if port is None:
            return
        await self.stand.api("create_port_binding", port, host=target)
        await self._move(port, other)
        await self.stand.api("activate_port_binding", port, host=target)
        if other % 4:
            await self.stand.api("delete_port_binding", port, port.binding_host_id)
        self.done.append(f"live_migrate {port.id} to {target}")

    async def give_up_migration(self, one: int, other: int) -> None:
        """The target's binding goes again, or stays behind inactive."""
        port, target = await self._migrating(one)
        if port is None:
            return
        await self.stand.api("create_port_binding", port, host=target)
        if other % 4:
            await self.stand.api("delete_port_binding", port, target)
        self.done.append(f"give_up_migration {port.id} to {target}")

    async def _migrating(self, one: int) -> tuple[Any, str]:
        """A port with a card, as it is now, and the host that it may go to; bindings left there go first."""
        here = [each for each in self.cards if each in self.ports]
        port = await self.stand.api("get_port", here[one % len(here)]) if here else None
        if port is None or port.binding_host_id not in (HOST, OTHER_HOST):
            return None, ""
        target = OTHER_HOST if port.binding_host_id == HOST else HOST
        if target in {each.host for each in await self.stand.api_list("port_bindings", port)}:
            await self.stand.api("delete_port_binding", port, target)
        return port, target

    async def _move(self, port: Any, other: int) -> None:
        card = self.cards[port.id]
        hosts = self.stand.vcenter.scenario.hosts()
        await self.stand.vcenter.scenario.move_vm(card.vm, hosts[other % len(hosts)])
        await self.stand.replug(card)  # nova names no port in the new backing

    async def drop_port(self, one: int, _other: int) -> None:
        port = self._port(one)
        if port is not None:
            if port.id in self.cards and one % 2:
                await self.stand.unplug(self.cards.pop(port.id))
            await self.stand.api("delete_port", port.id)
            del self.ports[port.id]
            self.done.append(f"drop_port {port.id}")

    async def drop_network(self, one: int, _other: int) -> None:
        if len(self.networks) < 2:
            return
        network = self.networks[one % len(self.networks)]
        for port_id in [each for each, port in self.ports.items() if port.network_id == network.id]:
            if port_id in self.cards:
                await self.stand.unplug(self.cards.pop(port_id))
            await self.stand.api("delete_port", port_id)
            del self.ports[port_id]
        for card in [card for card in self.left_over() if self._on(card, network)]:
            await self.stand.unplug(card)
            self.cards = {port_id: each for port_id, each in self.cards.items() if each != card}
        await self.stand.api("delete_network", network)
        self.networks.remove(network)
        self.done.append(f"drop_network {network.id}")

    # -- vCenter ------------------------------------------------------------------------------------------------

    def left_over(self) -> list[VmNic]:
        """Cards of ports that are gone."""
        return [card for port_id, card in self.cards.items() if port_id not in self.ports]

    def _on(self, card: VmNic, network: Any) -> bool:
        state = card.state
        return state is not None and state.network is not None and network.id in state.network.name

    async def boot(self, one: int, _other: int) -> None:
        port = self._port(one)
        if port is None or port.id in self.cards or not self.stand.free_vms:
            return
        fresh = await self.stand.api("get_port", port.id)
        if fresh.binding_vif_type == "dvs" and "pg_id" in fresh.binding_vif_details:
            moid = fresh.binding_vif_details["pg_id"]
            if any(group.moid == moid for group in self.stand.dvs.portgroups):
                self.cards[port.id] = await self.stand.boot(fresh)
                self.done.append(f"boot {port.id}")

    async def unplug(self, one: int, _other: int) -> None:
        if self.cards:
            port_id = list(self.cards)[one % len(self.cards)]
            await self.stand.unplug(self.cards.pop(port_id))
            self.done.append(f"unplug {port_id}")

    async def migrate(self, one: int, other: int) -> None:
        """Another host of vCenter's choice: DRS."""
        if self.cards:
            card = list(self.cards.values())[one % len(self.cards)]
            hosts = self.stand.vcenter.scenario.hosts()
            await self.stand.vcenter.scenario.move_vm(card.vm, hosts[other % len(hosts)])

    async def replug(self, one: int, _other: int) -> None:
        """A card comes to another DVPort of its port group, as after a move without a port key."""
        if self.cards:
            with LATE:
                await self.stand.replug(list(self.cards.values())[one % len(self.cards)])

    async def spoil(self, one: int, other: int) -> None:
        """Somebody changes a port or group of ours by hand."""
        ours = [group for group in self.stand.dvs.portgroups if group.name.startswith("os-")]
        if not ours:
            return
        group = ours[one % len(ours)]
        setting = vim.dvs.VmwareDistributedVirtualSwitch.VmwarePortConfigPolicy(
            vlan=vim.dvs.VmwareDistributedVirtualSwitch.VlanIdSpec(inherited=False, vlanId=1 + other % 90)
        )
        spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
            configVersion=str(group.config_version), defaultPortConfig=setting
        )
        with LATE:
            await self.stand.client.run_task(
                vim.dvs.DistributedVirtualPortgroup(group.moid), "ReconfigureDVPortgroup_Task", spec=spec
            )
            self.done.append(f"spoil {group.name}")

    async def close(self, one: int, _other: int) -> None:
        """Sessions or connections end."""
        if one % 2:
            self.stand.vcenter.scenario.expire_sessions()
        else:
            await self.stand.vcenter.scenario.drop_connections()
            await asyncio.sleep(0.1)  # the walk's own client sees it before it writes again

    async def fault(self, one: int, other: int) -> None:
        self.stand.vcenter.scenario.add_fault(times=1 + other % 3, **FAULTS[one % len(FAULTS)])

    # -- the judge ----------------------------------------------------------------------------------------------

    def _foreign(self) -> tuple[Any, ...]:
        group = next(group for group in self.stand.dvs.portgroups if group.name == "somebody-elses")
        ports = [port for port in self.stand.dvs.ports.ports.values() if port.group is group]
        return (group.config_version, group.description, tuple(sorted((port.key, port.name) for port in ports)))

    async def quiet(self) -> list[str]:
        """What is not as Neutron says, in words."""
        found = [] if self._foreign() == self.foreign else ["a foreign port group was changed"]
        networks = {each.id: each for each in await self.stand.api_list("networks")}
        ports = {each.id: each for each in await self.stand.api_list("ports")}
        found += self._judge_groups(networks)
        found += self._judge_ports(ports)
        if not found:
            found += await self._judge_frames(networks, ports)
        return found

    def _judge_groups(self, networks: dict[str, Any]) -> list[str]:
        ours = {group.name: group for group in self.stand.dvs.portgroups if group.name.startswith("os-")}
        wanted = {f"os-{each.id}": each for each in networks.values() if each.provider_network_type == "vlan"}
        found = [f"{name} is missing" for name in wanted.keys() - ours.keys()]
        found += [f"{name} is too many" for name in ours.keys() - wanted.keys()]
        for name in ours.keys() & wanted.keys():
            vlan = wanted[name].provider_segmentation_id
            if vlan_ranges(ours[name].setting.vlan) != (((vlan, vlan),), False):
                found.append(f"{name} has another VLAN than {vlan}")
            if blocked(ours[name].setting) is wanted[name].is_admin_state_up:
                found.append(f"{name}: blocked is wrong")
            if wanted[name].name not in ours[name].description:
                found.append(f"{name}: description is {ours[name].description}")
        return found

    def _judge_ports(self, ports: dict[str, Any]) -> list[str]:
        found, named = [], {}
        for port in self.stand.dvs.ports.ports.values():
            if port.group.name.startswith("os-") and port.name:
                named[port.name] = port
        for port_id, card in self.cards.items():
            port, dv_port = ports.get(port_id), self.stand.dv_port(card)
            bound_here = port is not None and port.binding_host_id in (HOST, OTHER_HOST)
            if not bound_here:
                if dv_port.name or dv_port.override is not None:
                    found.append(f"DVPort {dv_port.key} of a port that is gone is not closed")
                continue
            up = port.is_admin_state_up
            if named.pop(port_id, None) is not dv_port:
                found.append(f"DVPort {dv_port.key} is not named for {port_id}")
            if (getattr(dv_port.override, "blocked", None) is None) is not up:
                found.append(f"DVPort {dv_port.key}: blocked is wrong")
            if (port.status == "ACTIVE") is not up:
                found.append(f"port {port_id} is {port.status} and admin {'up' if up else 'down'}")
        found += [f"DVPort {port.key} is named {name} for nothing" for name, port in named.items()]
        for port_id, port in ports.items():
            if port_id not in self.cards and port.status == "ACTIVE":
                found.append(f"port {port_id} is ACTIVE without a card")
        return found

    async def _judge_frames(self, networks: dict[str, Any], ports: dict[str, Any]) -> list[str]:
        groups = {each.id: each for each in await self.stand.api_list("security_groups")}
        found = []
        here = [ports[each] for each in self.cards if each in ports and ports[each].binding_host_id != FOREIGN]
        for source in here:
            for target in here:
                if source.id == target.id or source.network_id != target.network_id:
                    continue
                for service in SERVICES:
                    open_ = networks[source.network_id].is_admin_state_up and all(
                        each.is_admin_state_up for each in (source, target)
                    )
                    allowed = open_ and _egress(source, target, service, groups, ports) and _ingress(
                        source, target, service, groups, ports
                    )  # fmt: skip
                    verdict = self.stand.ask(
                        self.cards[source.id], self.cards[target.id], source_ip=_ip(source), destination_ip=_ip(target),
                        protocol=TCP, source_port=40000, destination_port=service,
                    )  # fmt: skip
                    if verdict.delivered is not allowed:
                        words = "arrives" if verdict.delivered else "does not arrive"
                        found.append(f"{source.id} to {target.id}:{service} {words}: {verdict.reason}")
        return found


def _ip(port: Any) -> str:
    return str(port.fixed_ips[0]["ip_address"])


def _members(group_id: str, ports: dict[str, Any]) -> list[Any]:
    found = []
    for port in ports.values():
        if group_id in port.security_group_ids:
            addresses = [_ip(port), *(pair["ip_address"] for pair in port.allowed_address_pairs)]
            found += [ipaddress.ip_network(address) for address in addresses]
    return found


def _matches(rule: Any, address: str, service: int, ports: dict[str, Any]) -> bool:
    if rule["ethertype"] != "IPv4" or rule["protocol"] not in (None, "tcp"):
        return False
    if rule["port_range_min"] is not None and not rule["port_range_min"] <= service <= rule["port_range_max"]:
        return False
    if rule["remote_group_id"]:
        return any(ipaddress.ip_address(address) in each for each in _members(rule["remote_group_id"], ports))
    return ipaddress.ip_address(address) in ipaddress.ip_network(rule["remote_ip_prefix"] or "0.0.0.0/0")


def _rules(port: Any, groups: dict[str, Any], direction: str) -> list[Any]:
    return [
        rule
        for group in port.security_group_ids
        for rule in groups[group].security_group_rules
        if rule["direction"] == direction
    ]


def _egress(source: Any, target: Any, service: int, groups: dict[str, Any], ports: dict[str, Any]) -> bool:
    return any(_matches(rule, _ip(target), service, ports) for rule in _rules(source, groups, "egress"))


def _ingress(source: Any, target: Any, service: int, groups: dict[str, Any], ports: dict[str, Any]) -> bool:
    return any(_matches(rule, _ip(source), service, ports) for rule in _rules(target, groups, "ingress"))
