"""What a person, another plugin or bad luck does to the simulated Contrail.

Verbs name objects by uuid or by the last part of their name. Objects are made through the same rules as over HTTP, so a
refusal is the server's own (``RefusedError``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.contrail import resources
from contrail_vsphere.simulator.contrail.context import Caller
from contrail_vsphere.simulator.contrail.ipam import IPAM_REFS
from contrail_vsphere.simulator.contrail.store import ApiObject, Store
from contrail_vsphere.wire.contrail.names import joined
from contrail_vsphere.wire.contrail.schema import ROOT, resource

if TYPE_CHECKING:
    from contrail_vsphere.simulator.contrail.simulator import ContrailSimulator

DOMAIN = "default-domain"
PROJECT = "vCenter"
"""The project that the reference deployments keep vSphere's networks in."""


class Scenario:
    """The verbs."""

    def __init__(self, simulator: ContrailSimulator) -> None:
        self._simulator = simulator

    # -- finding ------------------------------------------------------------------------------------------------

    def find(self, type_name: str, name: str) -> ApiObject:
        """An object by uuid, by whole name with colons, or by the last part of its name. LookupError."""
        members = self._store.of_type(type_name)
        if name in members:
            return members[name]
        for item in members.values():
            if name in {item.name, joined(item.fq_name), item.properties.get("display_name")}:
                return item
        raise LookupError(f"there is no {type_name} {name}")

    def all(self, type_name: str) -> list[ApiObject]:
        """All objects of a type. LookupError for no such type."""
        return list(self._store.of_type(type_name).values())

    # -- objects ------------------------------------------------------------------------------------------------

    def create(self, type_name: str, fq_name: Iterable[str], **fields: Any) -> ApiObject:
        """Any object; ``fields`` are those of a request's body. Its parent is found by the name."""
        kind = resource(type_name)
        name = list(fq_name)
        body: dict[str, Any] = {"fq_name": name, **fields}
        if len(name) > 1 and not kind.rooted:
            body.setdefault("parent_type", self._parent_type(type_name, tuple(name[:-1])))
        return resources.create(self._simulator.site, Caller(), kind, body)

    def update(self, changed: ApiObject, **fields: Any) -> None:
        """Change any object, as a PUT does."""
        resources.update(self._simulator.site, Caller(), changed, fields)

    def delete(self, gone: ApiObject) -> None:
        """Delete any object."""
        resources.delete(self._simulator.site, Caller(), gone)

    def create_project(self, name: str = PROJECT, *, uuid: str = "") -> ApiObject:
        """A project with an ipam of its own (``<name>-ipam``) and the security group ``default``."""
        made = self.create("project", (DOMAIN, name), uuid=uuid or self._store.new_uuid())
        self.create("network-ipam", (*made.fq_name, f"{name}-ipam"))
        self.create("security-group", (*made.fq_name, "default"), security_group_entries=_default_rules(made))
        return made

    def create_network(
        self, name: str, prefix: str = "", *, project: str = PROJECT, external_ipam: bool = False, **fields: Any
    ) -> ApiObject:
        """A network, in a project that is made if it is not there; ``prefix``: its subnets, between commas."""
        try:
            owner = self.find("project", project)
        except LookupError:
            owner = self.create_project(project)
        if prefix:
            fields[IPAM_REFS] = [self._subnet(owner, prefix)]
        if external_ipam:
            fields["external_ipam"] = True
        return self.create("virtual-network", (*owner.fq_name, name), **fields)

    def delete_network(self, name: str) -> None:
        """Delete a network. RefusedError while interfaces or addresses are in it."""
        self.delete(self.find("virtual-network", name))

    def rename_network(self, name: str, display_name: str) -> None:
        """Another display name; the name itself cannot be changed."""
        self.update(self.find("virtual-network", name), display_name=display_name)

    def create_port(
        self, network: ApiObject, *, mac: str, name: str = "", creator: str | None = None, address: str = ""
    ) -> tuple[ApiObject, ApiObject, ApiObject]:
        """VirtualMachine, interface and address of one port, made by somebody else than the plugin."""
        perms = {"enable": True, "creator": creator}
        vm_id, vmi_id, ip_id = (self._store.new_uuid() for _ in range(3))
        vm = self.create("virtual-machine", (vm_id,), uuid=vm_id, display_name=name or vm_id, id_perms=perms)
        vmi = self.create(
            "virtual-machine-interface",
            (*network.fq_name[:-1], vmi_id),
            uuid=vmi_id,
            parent_type="project",
            id_perms=perms,
            virtual_machine_refs=[{"to": list(vm.fq_name)}],
            virtual_network_refs=[{"to": list(network.fq_name)}],
            virtual_machine_interface_mac_addresses={"mac_address": [mac]},
        )
        fields = {"instance_ip_address": address} if address else {}
        ip = self.create(
            "instance-ip",
            (ip_id,),
            uuid=ip_id,
            id_perms=perms,
            virtual_network_refs=[{"to": list(network.fq_name)}],
            virtual_machine_interface_refs=[{"to": list(vmi.fq_name)}],
            **fields,
        )
        return vm, vmi, ip

    # -- service ------------------------------------------------------------------------------------------------

    async def stop_api(self, server: int = 0) -> None:
        """One API server dies: its address refuses connections."""
        await self._simulator.doors[server].close()

    async def start_api(self, server: int = 0, *, starting: float = 0.0) -> None:
        """It comes back, and answers 503 for ``starting`` seconds first."""
        await self._simulator.doors[server].open()
        await self._simulator.resync(starting)

    async def restart_api(self, *, down: float = 1.0, starting: float = 2.0, empty: bool = False) -> None:
        """All API servers die and come back; ``empty``: without their database, so with the defaults only."""
        for door in self._simulator.doors:
            await door.close()
        await self._simulator.clock.sleep(down)
        if empty:
            self._simulator.forget()
        for door in self._simulator.doors:
            await door.open()
        await self._simulator.resync(starting)

    def drop_connections(self) -> int:
        """Reset every open connection; returns how many."""
        return sum(door.drop_connections() for door in self._simulator.doors)

    def lose_zookeeper(self, *, lost: bool = True) -> None:
        """Writes answer 503, reads go on."""
        self._simulator.service.state = "no-zookeeper" if lost else "running"

    def expire_tokens(self) -> int:
        """Every token is worthless from now; returns how many. LookupError without Keystone."""
        if self._simulator.keystone is None:
            raise LookupError("this simulator runs without Keystone")
        return self._simulator.keystone.expire()

    # -- notifications ------------------------------------------------------------------------------------------

    def lose_messages(self, count: int = -1) -> None:
        """Lose that many of the next notifications; -1: all of them, 0: none from now on."""
        self._simulator.outbox.lose = count

    def delay_messages(self, seconds: float, *, jitter: float = 0.0) -> None:
        """Notifications take that long; with ``jitter`` they overtake each other."""
        self._simulator.outbox.delay, self._simulator.outbox.jitter = seconds, jitter

    def stop_broker(self) -> None:
        """The broker inside the process goes down, with every queue."""
        self._simulator.bus.stop()

    def start_broker(self) -> None:
        """It is back, without queues."""
        self._simulator.bus.start()

    # -- inside -------------------------------------------------------------------------------------------------

    @property
    def _store(self) -> Store:
        return self._simulator.store

    def _parent_type(self, type_name: str, parent: tuple[str, ...]) -> str:
        for candidate in resource(type_name).parents:
            if candidate != ROOT and self._store.find(candidate, parent) is not None:
                return candidate
        raise LookupError(f"there is no parent {joined(parent)} for a {type_name}")

    def _subnet(self, project: ApiObject, prefix: str) -> Mapping[str, Any]:
        ipams = self._store.children(project.uuid, "network-ipam")
        ipam = ipams[0] if ipams else self.create("network-ipam", (*project.fq_name, f"{project.name}-ipam"))
        parts = [each.strip().partition("/") for each in prefix.split(",")]
        subnets = [
            {"subnet": {"ip_prefix": address, "ip_prefix_len": int(length)}, "addr_from_start": True}
            for address, _, length in parts
        ]
        return {"to": list(ipam.fq_name), "attr": {"ipam_subnets": subnets}}


def _default_rules(project: ApiObject) -> dict[str, Any]:
    """From its own members everything comes in, everything goes out."""
    group = joined((*project.fq_name, "default"))
    anywhere = {"start_port": 0, "end_port": 65535}
    local, own = {"security_group": "local"}, {"security_group": group}
    world = {"subnet": {"ip_prefix": "0.0.0.0", "ip_prefix_len": 0}}  # noqa: S104 - a prefix
    rules = [
        {"src_addresses": [source], "dst_addresses": [target], "src_ports": [anywhere], "dst_ports": [anywhere]}
        for source, target in ((own, local), (local, world))
    ]
    return {"policy_rule": [{"direction": ">", "protocol": "any", "ethertype": "IPv4", **rule} for rule in rules]}
