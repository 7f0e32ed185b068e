"""What the live page shows: an overview of bounded size, and the details of one object when somebody asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.core.world import World
from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
from contrail_vsphere.simulator.vcenter.compute_resource import ComputeResource
from contrail_vsphere.simulator.vcenter.datacenter import Datacenter
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
    DistributedVirtualPortgroup,
    DistributedVirtualSwitch,
)
from contrail_vsphere.simulator.vcenter.dvs_table import DvPort
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity
from contrail_vsphere.simulator.vcenter.network import Network
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

if TYPE_CHECKING:
    from contrail_vsphere.simulator.simulator import VCenterSimulator

MOST_PORTS = 200
MOST_VMS = 200
MOST_EVENTS = 60


def overview(simulator: VCenterSimulator) -> dict[str, Any]:
    """Everything but VMs; of ports and events the first and newest few, with how many there are in all."""
    world = simulator.world
    agents: dict[str, list[EsxAgent]] = {}
    for agent in world.of_type(EsxAgent):
        agents.setdefault(agent.host.moid, []).append(agent)
    ports = [port for dvs in world.of_type(DistributedVirtualSwitch) for port in _connected(dvs)]
    vms = list(world.of_type(VirtualMachine))
    return {
        "seq": world.seq,
        "time": world.clock.now().isoformat(timespec="seconds"),
        "rate": world.clock.rate,
        "release": f"vCenter {simulator.release.version}",
        "url": simulator.ready.get("url", ""),
        "counts": {
            "hosts": sum(1 for _ in world.of_type(HostSystem)),
            "vms": len(vms),
            "running": sum(1 for vm in vms if vm.power_state == "poweredOn"),
            "ports": len(ports),
            "events": simulator.events.end,
        },
        "tree": [_datacenter(world, datacenter) for datacenter in world.of_type(Datacenter)],
        "hosts": [_host(simulator, host, agents.get(host.moid, ())) for host in world.of_type(HostSystem)],
        "ports": [_port(port) for port in islice(ports, MOST_PORTS)],
        "events": list(islice(_events(simulator), MOST_EVENTS)),
    }


def _connected(dvs: DistributedVirtualSwitch) -> Iterator[DvPort]:
    return (port for port in dvs.ports.used_in(dvs.portgroups) if port.vm is not None)


def _node(entity: ManagedEntity, note: str = "", children: Iterable[dict[str, Any]] = ()) -> dict[str, Any]:
    return {"id": entity.moid, "type": entity.wsdl, "name": entity.name, "note": note, "children": list(children)}


def _datacenter(world: World, datacenter: Datacenter) -> dict[str, Any]:
    clusters = datacenter.host_folder.within(ComputeResource)
    switches = datacenter.network_folder.within(DistributedVirtualSwitch)
    standard = (item for item in datacenter.network_folder.within(Network) if item.wsdl == "Network")
    return _node(
        datacenter,
        children=[
            *(
                _node(cluster, _count(len(cluster.hosts), "host"), map(_host_node, cluster.hosts))
                for cluster in clusters
            ),
            *(_node(dvs, _count(len(dvs.hosts), "host"), map(_group_node, dvs.portgroups)) for dvs in switches),
            *(_node(network, _count(len(network.vms), "VM")) for network in standard),
        ],
    )


def _host_node(host: HostSystem) -> dict[str, Any]:
    state = _state(host)
    return _node(host, state if state != "connected" else _count(len(host.vms), "VM"))


def _group_node(group: DistributedVirtualPortgroup) -> dict[str, Any]:
    return _node(group, _count(group.num_ports, "port"))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _state(host: HostSystem) -> str:
    """One word for what matters most."""
    if host.power_state == "standBy":
        return "standby"
    if host.connection_state != "connected":
        return "not responding" if host.connection_state == "notResponding" else host.connection_state
    return "maintenance" if host.in_maintenance else "connected"


def _host(simulator: VCenterSimulator, host: HostSystem, agents: Iterable[EsxAgent]) -> dict[str, Any]:
    return {
        "id": host.moid,
        "name": host.name,
        "cluster": host.compute_resource.name,
        "state": _state(host),
        "vms": len(host.vms),
        "agents": [_agent(simulator, agent) for agent in agents],
    }


def _agent(simulator: VCenterSimulator, agent: EsxAgent) -> dict[str, Any]:
    vm = agent.subject
    vrouter = simulator.vrouters.agents.get(vm.moid) if vm is not None else None
    return {
        "vm": vm.name if vm is not None else "",
        "power": vm.power_state if vm is not None else "",
        "address": vm.guest_ip if vm is not None else "",
        "status": agent.status,
        "phase": str(agent.phase),
        "issues": [record.type for record in agent.issues],
        "vrouter": "" if vrouter is None else "forwards" if vrouter.forwards else vrouter.life,
    }


def _port(port: DvPort) -> dict[str, Any]:
    vm, state = port.vm, port.state
    vlans = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in state.vlans) if state is not None else ""
    return {
        "key": port.key,
        "switch": port.group.dvs.name,
        "group": port.group.name,
        "vm": vm.name if vm is not None else "",
        "host": port.proxy_host.name if port.proxy_host is not None else "",
        "vlan": vlans if vlans != "0" else "untagged",
        "state": "" if state is None else "blocked" if state.blocked else "up" if state.link_up else "down",
    }


def _events(simulator: VCenterSimulator) -> Iterator[dict[str, Any]]:
    """Newest first."""
    for _, item in simulator.events.backwards(simulator.events.end):
        event = item.event
        kind = getattr(event, "eventTypeId", None) or type(event).__name__.rpartition(".")[2]
        yield {
            "key": event.key,
            "time": event.createdTime.isoformat(timespec="seconds"),
            "type": kind,
            "message": str(event.fullFormattedMessage or ""),
            "user": str(event.userName or ""),
        }


def detail(simulator: VCenterSimulator, moid: str) -> dict[str, Any]:
    """Facts of one inventory object, and the VMs on it; LookupError when there is none."""
    entity = next((item for item in [simulator.world.get(moid)] if isinstance(item, ManagedEntity)), None)
    if entity is None:
        raise LookupError(f"there is no inventory object {moid}")
    vms: tuple[VirtualMachine, ...] = getattr(entity, "vms", ())
    facts = {"type": entity.wsdl, "id": entity.moid, "path": entity.path()}
    if isinstance(entity, HostSystem):
        facts |= {"state": _state(entity), "version": entity.version, "address": entity.address}
        facts |= {"esx agents": f"{entity.available_agents} of {entity.required_agents} required"}
    elif isinstance(entity, DistributedVirtualPortgroup):
        facts |= {"binding": entity.kind, "ports": str(entity.num_ports), "switch": entity.dvs.name}
    elif isinstance(entity, ComputeResource):
        facts |= {"DRS": "on" if entity.drs else "off", "HA": "on" if entity.ha else "off"}
    return {
        "id": entity.moid,
        "name": entity.name,
        "facts": facts,
        "total": len(vms),
        "vms": [
            {
                "name": vm.name,
                "power": vm.power_state,
                "host": vm.host.name if vm.host is not None else "",
                "address": vm.guest_ip,
                "networks": ", ".join(network.name for network in vm.networks),
            }
            for vm in vms[:MOST_VMS]
        ],
    }
