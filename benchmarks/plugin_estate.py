"""A site whose VMs were placed long ago: what the plugin has made of them, written into the worlds by hand.

Placing 50,000 VMs through the plugin takes an hour of two cores, and says nothing about starting with them. Here every
world gets what the plugin's own rules make of a card: objects in Contrail, VLAN and open port on the switch, port at
the VRouterAgent, record in the ledger. That it is so shows at the start: the plugin writes nothing to Contrail.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from contrail_vsphere.contrail import bodies
from contrail_vsphere.contrail.vrouter_agent import VRouterPort
from contrail_vsphere.engine.journal import Journal
from contrail_vsphere.model.contrail import Annotations, ContrailVm, InstanceIp, Vmi
from contrail_vsphere.model.dvport import DvPortEdit
from contrail_vsphere.model.ids import DvsId, HostId, IipId, ProjectId, SecurityGroupId, VirtualMachineId, VmiId, VnId
from contrail_vsphere.model.port_group import MARK
from contrail_vsphere.simulator.contrail.simulator import ContrailSimulator
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.simulator.vcenter import dvs_port_config
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualPortgroup
from contrail_vsphere.simulator.vcenter.service_instance import ServiceInstance
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.vcenter_plugin.books.ledger import KIND
from contrail_vsphere.vcenter_plugin.books.records import Plug, PortRecord, encode
from contrail_vsphere.vcenter_plugin.identity import CREATOR, Identity, PortId
from contrail_vsphere.vcenter_plugin.plan.contrail import origin
from contrail_vsphere.vcenter_plugin.plan.plug_values import digest_of
from contrail_vsphere.vsphere.dvports import edit_spec

EDITED_TOGETHER = 250


class Card(msgspec.Struct):
    """One card, as the worlds tell each other of it; ``address`` and ``project`` are Contrail's to say."""

    vm: UUID
    name: str
    nic: int
    mac: str
    dvs: str
    key: str
    network: UUID
    host: str
    vlan: int
    vmi: UUID
    address: str = ""
    project: str = ""

    @property
    def port(self) -> PortId:
        """Its name in the ledger."""
        return PortId(self.vm, self.nic)

    @property
    def plugged(self) -> VRouterPort:
        """What its VRouterAgent was told."""
        return VRouterPort(
            id=self.vmi,
            vm=self.vm,
            network=self.network,
            project=UUID(self.project),
            name=self.name,
            mac=self.mac,
            vlan=self.vlan,
            ip=IPv4Address(self.address),
        )


def read(path: Path) -> list[Card]:
    """What ``write`` wrote."""
    return msgspec.json.decode(path.read_bytes(), type=list[Card])


def write(path: Path, cards: Iterable[Card]) -> None:
    """For the other processes."""
    path.write_bytes(msgspec.json.encode(list(cards)))


def instance(simulator: VCenterSimulator) -> UUID:
    """Instance UUID of a vCenter."""
    return UUID(next(iter(simulator.world.of_type(ServiceInstance))).instance_uuid)


async def on_switches(simulator: VCenterSimulator, vms: Sequence[VirtualMachine]) -> list[Card]:
    """The first card of each VM, connected already: its port gets the next VLAN of its host and is opened."""
    identity = Identity(instance(simulator))
    used: dict[str, int] = {}
    cards, edits = [], []
    for vm in vms:
        nic, group = vm.nics[0], vm.nics[0].network
        assert isinstance(group, DistributedVirtualPortgroup)
        assert vm.host is not None
        vlan = used[vm.host.moid] = used.get(vm.host.moid, 0) + 1
        network = next(UUID(blob.opaqueData) for blob in group.vendor if blob.key == MARK)
        port = PortId(UUID(vm.instance_uuid), nic.key)
        cards.append(
            Card(
                vm=port.vm,
                name=vm.name,
                nic=nic.key,
                mac=nic.mac,
                dvs=group.dvs.moid,
                key=nic.port_key,
                network=network,
                host=vm.host.moid,
                vlan=vlan,
                vmi=identity.vmi(port, nic.mac),
            )
        )
        edits.append((group.dvs, DvPortEdit(key=nic.port_key, version="", vlan=vlan, blocked=False)))
    for at in range(0, len(edits), EDITED_TOGETHER):
        some = edits[at : at + EDITED_TOGETHER]
        for dvs in {dvs.moid: dvs for dvs, _ in some}.values():
            specs = [edit_spec(edit) for owner, edit in some if owner is dvs]
            await dvs_port_config.reconfigure(dvs, specs, chain=simulator.world.new_chain())
    return cards


def in_contrail(simulator: ContrailSimulator, cards: Sequence[Card], vcenter: UUID) -> Iterator[Card]:
    """VM, interface and address of each; with what Contrail says of it."""
    scenario, identity = simulator.scenario, Identity(vcenter)
    networks = {}
    for uuid in {card.network for card in cards}:
        network = scenario.find("virtual-network", str(uuid))
        group = scenario.find("security-group", ":".join((*network.fq_name[:-1], "default")))
        networks[uuid] = network, group
    for card in cards:
        network, group = networks[card.network]
        project, name = UUID(network.parent_uuid), f"{network.name}-{card.name}"
        vm = ContrailVm(
            VirtualMachineId(card.vm), str(card.vm), card.name, project.hex, CREATOR,
            annotations=Annotations(origin(identity, card.vm)),
        )  # fmt: skip
        vmi = Vmi(
            uuid=VmiId(card.vmi),
            fq_name=(*network.fq_name[:-1], str(card.vmi)),
            parent_uuid=ProjectId(project),
            display_name=f"vmi-{name}",
            network=VnId(card.network),
            vm=vm.uuid,
            macs=(card.mac,),
            security_groups=(SecurityGroupId(UUID(group.uuid)),),
            creator=CREATOR,
            annotations=Annotations(origin(identity, card.vm, nic=card.nic)),
        )
        iip = IipId(identity.iip(card.vmi, 0))
        address = InstanceIp(
            uuid=iip, name=str(iip), network=vmi.network, vmis=(vmi.uuid,), display_name=f"ip-{name}", creator=CREATOR
        )
        names = {vmi.uuid: vmi.fq_name}
        groups = {group: tuple(networks[card.network][1].fq_name) for group in vmi.security_groups}
        _make(simulator, "virtual-machine", bodies.virtual_machine(vm))
        interface = bodies.interface(vmi, network=tuple(network.fq_name), security_groups=groups)
        _make(simulator, "virtual-machine-interface", interface)
        made = _make(
            simulator, "instance-ip", bodies.instance_ip(address, network=tuple(network.fq_name), interfaces=names)
        )
        card.address, card.project = made.properties["instance_ip_address"], str(project)
        yield card


def _make(simulator: ContrailSimulator, kind: str, body: dict[str, Any]) -> Any:
    told = {name: value for name, value in body.items() if value is not None}
    return simulator.scenario.create(kind, told.pop("fq_name"), **told)


def at_agents(simulator: VCenterSimulator, cards: Iterable[Card]) -> None:
    """Each port at the VRouterAgent of its host, with its link up."""
    for card in cards:
        simulator.vrouters.agents[card.host].table.post(json.dumps(card.plugged.body()).encode())


def in_ledger(journal: Path, cards: Iterable[Card]) -> None:
    """What the plugin remembers of each."""
    with Journal(journal, now=lambda: datetime.now(UTC)) as book, book.transaction():
        for card in cards:
            plug = Plug(HostId(card.host), card.vlan, digest_of(card.plugged), up=True)
            record = PortRecord(card.port, VmiId(card.vmi), DvsId(card.dvs), card.key, (plug,))
            book.put(KIND, str(card.port), encode(record))
