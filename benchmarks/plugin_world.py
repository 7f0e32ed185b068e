"""The outside worlds of ``benchmarks.plugin_scale``, each in a process of its own: does what stdin says, line by line.

``vcenter`` is vCenter with the VRouterAgents of its hosts, ``contrail`` the config API. A line is a JSON object: "do",
and the rest as arguments; the answer is one JSON object on stdout. How long a port took is read in these worlds: from
the moment the VM is on (or has arrived) until the VRouterAgent of its host has its port with the link up.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks import plugin_estate
from contrail_vsphere.model.port_group import MARK
from contrail_vsphere.simulator.contrail.simulator import ContrailSimulator
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.simulator.vcenter import vm_life
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualPortgroup
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.wire.soap.types import vim
from contrail_vsphere.wire.soap.values import build

RELOCATE = 2.0
"""Seconds a live move takes: what the plugin may use to prepare."""
LOOK = 0.05
"""Seconds between two looks at what is still missing, and ten times as long as a look takes."""
Do = Callable[..., Awaitable[dict[str, Any]]]


class VCenterWorld:
    """vCenter, its hosts' VRouterAgents, and what its users do."""

    def __init__(self, *, hosts: int, vms: int) -> None:
        timing = Timing(**{**_all_zero(), "relocate": RELOCATE})
        self.simulator = VCenterSimulator(hosts=hosts, vms=vms, timing=timing, guests=False)
        self._vms: tuple[VirtualMachine, ...] = ()
        self._since: dict[str, float] = {}
        """Instance UUID of a VM whose port is awaited -> when it was owed."""

    async def start(self) -> dict[str, Any]:
        """Everything runs; the ready line."""
        await self.simulator.start()
        fleet = self.simulator.vrouters
        for host in self.simulator.scenario.hosts():
            await fleet.add(host.moid, controllers=("127.0.0.1",), connect_after=0.0)
        self._vms = self.simulator.scenario.vms()
        agents = {host.name: fleet.address_of(host.moid) for host in self.simulator.scenario.hosts()}
        return {**self.simulator.ready, "agents": agents}

    async def stop(self) -> None:
        """Close everything."""
        await self.simulator.vrouters.stop()
        await self.simulator.stop()

    async def power(self, first: int, count: int, *, on: bool) -> dict[str, Any]:
        """Power VMs on or off; those that go on are awaited."""
        for vm in self._vms[first : first + count]:
            if on:
                await self.simulator.scenario.power_on(vm)
                self._owed(vm)
            else:
                await self.simulator.scenario.power_off(vm)
            await asyncio.sleep(0)
        return {}

    async def place(self, first: int, count: int) -> dict[str, Any]:
        """Connect the first card of each to Contrail's port groups in turn; running ones are awaited."""
        for vm in await self._connect(first, count):
            if vm.power_state == "poweredOn":
                self._owed(vm)
        return {}

    async def estate(self, path: str) -> dict[str, Any]:
        """Connect all, and have each port as the plugin would have made it; into the file what Contrail has to know."""
        cards = await plugin_estate.on_switches(self.simulator, await self._connect(0, len(self._vms)))
        plugin_estate.write(Path(path), cards)
        return {"vcenter": str(plugin_estate.instance(self.simulator))}

    async def plugged(self, path: str) -> dict[str, Any]:
        """The VRouterAgents have the ports of the file."""
        plugin_estate.at_agents(self.simulator, plugin_estate.read(Path(path)))
        return {}

    async def _connect(self, first: int, count: int) -> Sequence[VirtualMachine]:
        groups = [
            group
            for group in self.simulator.world.of_type(DistributedVirtualPortgroup)
            if any(blob.key == MARK for blob in group.vendor)
        ]
        vms = self._vms[first : first + count]
        for number, vm in enumerate(vms):
            await vm_life.reconfigure(self.simulator.world, vm, _connected(vm, groups[number % len(groups)]))
            await asyncio.sleep(0)
        return vms

    async def groups(self) -> dict[str, Any]:
        """How many port groups stand for networks of Contrail."""
        found = self.simulator.world.of_type(DistributedVirtualPortgroup)
        return {"groups": sum(any(blob.key == MARK for blob in group.vendor) for group in found)}

    async def moves(self, first: int, count: int, *, seconds: float) -> dict[str, Any]:
        """Begin that many live moves, evenly spread over that time; each to the next host of its cluster."""
        ring = self.simulator.scenario.hosts()
        place = {host.moid: number for number, host in enumerate(ring)}

        async def move(vm: VirtualMachine) -> None:
            assert vm.host is not None
            await self.simulator.scenario.move_vm(vm, ring[(place[vm.host.moid] + 1) % len(ring)])
            self._owed(vm)

        loop, moving = asyncio.get_running_loop(), []
        begun = loop.time()
        for number, vm in enumerate(self._vms[first : first + count]):
            await asyncio.sleep(max(0.0, begun + number * seconds / count - loop.time()))
            moving.append(asyncio.create_task(move(vm)))
        await asyncio.gather(*moving)
        return {"seconds": loop.time() - begun}

    async def settled(self, *, patience: float) -> dict[str, Any]:
        """Wait for all that is awaited: milliseconds of each, sorted, and how many are missing after ``patience``."""
        loop, took = asyncio.get_running_loop(), []
        begun = loop.time()
        by_id = {vm.instance_uuid: vm for vm in self._vms}
        while self._since and loop.time() - begun < patience:
            looked = loop.time()
            for instance in tuple(self._since):
                up = self._up_since(by_id[instance])
                if up is not None:
                    took.append(max(0.0, up - self._since.pop(instance)) * 1000)
            await asyncio.sleep(max(LOOK, 10 * (loop.time() - looked)))
        missing, self._since = len(self._since), {}
        return {"ms": sorted(took), "missing": missing, "seconds": loop.time() - begun, "doubled": self._doubled()}

    async def counts(self) -> dict[str, Any]:
        """Calls so far."""
        fleet = self.simulator.vrouters
        return {"vcenter": dict(self.simulator.calls), "agents": dict(fleet.calls)}

    def _owed(self, vm: VirtualMachine) -> None:
        self._since[vm.instance_uuid] = self.simulator.world.clock.time()

    def _up_since(self, vm: VirtualMachine) -> float | None:
        assert vm.host is not None
        for port in self.simulator.vrouters.agents[vm.host.moid].table.of_vm(vm.instance_uuid):
            if port.link_up:
                return port.changed
        return None

    def _doubled(self) -> int:
        """Ports that share their VLAN with another port on their host, as the VRouterAgents have them."""
        agents = self.simulator.vrouters.agents.values()
        up = [[port.rx_vlan for port in agent.table.ports.values() if port.link_up] for agent in agents]
        return sum(len(vlans) - len(set(vlans)) for vlans in up)


class ContrailWorld:
    """Contrail's config API, and the person who makes networks."""

    def __init__(self) -> None:
        self.simulator = ContrailSimulator()

    async def start(self) -> dict[str, Any]:
        """It answers; the ready line."""
        await self.simulator.start()
        return dict(self.simulator.ready)

    async def stop(self) -> None:
        """Close it."""
        await self.simulator.stop()

    async def networks(self, count: int) -> dict[str, Any]:
        """Make networks of 4 million addresses each."""
        for number in range(count):
            self.simulator.scenario.create_network(f"bench-{number}", f"{10 + number}.64.0.0/10")
        return {}

    async def estate(self, path: str, vcenter: str) -> dict[str, Any]:
        """The objects of all cards of the file, which then tells their addresses too."""
        cards = plugin_estate.read(Path(path))
        plugin_estate.write(Path(path), plugin_estate.in_contrail(self.simulator, cards, UUID(vcenter)))
        return {}

    async def counts(self) -> dict[str, Any]:
        """Calls so far, and objects."""
        calls = {f"{verb} {kind}".strip(): number for (verb, kind), number in self.simulator.calls.items()}
        kinds = ("virtual-machine", "virtual-machine-interface", "instance-ip")
        return {"contrail": calls, "objects": {kind: len(self.simulator.scenario.all(kind)) for kind in kinds}}


def _all_zero() -> dict[str, float]:
    instant = Timing.instant()
    return {name: getattr(instant, name) for name in Timing.__dataclass_fields__}


def _connected(vm: VirtualMachine, group: DistributedVirtualPortgroup) -> Any:
    device = vim.vm.device
    port = build(vim.dvs.PortConnection, switchUuid=group.dvs.uuid, portgroupKey=group.moid)
    backing = build(device.VirtualEthernetCard.DistributedVirtualPortBackingInfo, port=port)
    nic = vm.nics[0]
    card = build(device.VirtualVmxnet3, key=nic.key, macAddress=nic.mac, backing=backing)
    change = build(device.VirtualDeviceSpec, operation="edit", device=card)
    return build(vim.vm.ConfigSpec, deviceChange=[change])


async def serve(world: VCenterWorld | ContrailWorld) -> None:
    """Until stdin ends."""
    ready = await world.start()
    print(json.dumps({**ready, "pid": os.getpid()}), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        arguments = json.loads(line)
        do: Do = getattr(world, arguments.pop("do"))
        print(json.dumps(await do(**arguments)), flush=True)
    await world.stop()


def main(words: Sequence[str]) -> None:
    """``python -m benchmarks.plugin_world vcenter HOSTS VMS`` or ``... contrail``."""

    async def run() -> None:
        if words[0] == "vcenter":
            await serve(VCenterWorld(hosts=int(words[1]), vms=int(words[2])))
        else:
            await serve(ContrailWorld())

    asyncio.run(run())


if __name__ == "__main__":
    main(sys.argv[1:])
