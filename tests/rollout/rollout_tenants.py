"""Tenants on every host, a player of the plugin's part, and the packet oracle: whose frames are lost, and when.

Each tenant has a VLAN of its own on its port, so every frame goes through the vRouter of its host. The plugin is
played: whichever VRouterAgent forwards is given the ports of its host, a second later; the manager is told when it has
them all.
"""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

from contrail_vsphere.simulator.oracle import Frame, VmNic, verdict
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualSwitch
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.wire.soap.types import vim

VMWARE = vim.dvs.VmwareDistributedVirtualSwitch
SETTING = VMWARE.VmwarePortConfigPolicy
PORT = vim.dvs.DistributedVirtualPort
IN_TURN = frozenset({"old-off", "old-delete", "hook-pre-power-on", "powering-on", "hook-powered-on", "wait-heartbeat"})
"""Phases of EAM's machine in which a host is being given its new ContrailVM."""


class Tenants:
    """``await Tenants.settle(lab)``: two tenants per host, plugged, and the watch begun."""

    def __init__(self, lab):
        self.lab = lab
        self.by_host: dict[str, list[VirtualMachine]] = {}
        self.vlan: dict[str, int] = {}
        self.lost: list[str] = []
        """Frames lost between hosts that were not in turn, in words."""
        self.failed: set[str] = set()
        """Hosts whose turn went wrong: theirs lasts until they are well again."""
        self.dark: set[str] = set()
        """Hosts that lost frames in their turn."""
        self.frames = 0
        self._tasks: list[asyncio.Task] = []

    @classmethod
    async def settle(cls, lab):
        self = cls(lab)
        lab.manager.watch._synced = self.synced
        allow = {f"{name}OverrideAllowed": True for name in ("block", "vlan", "macManagement", "trafficFilter")}
        deny = {
            f"{name}OverrideAllowed": False for name in ("shaping", "vendorConfig", "uplinkTeaming", "securityPolicy")
        }
        policy = VMWARE.VMwarePortgroupPolicy(
            **allow, **deny, livePortMovingAllowed=False, portConfigResetAtDisconnect=True
        )
        spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
            name="tenants", type="earlyBinding", numPorts=32, policy=policy
        )
        self.dvs = next(each for each in lab.world.of_type(DistributedVirtualSwitch) if each.name == "dvs0")
        self.group = await self._run(self.dvs, "CreateDVPortgroup_Task", spec=spec)
        for host in lab.in_service():
            self.by_host[host.name] = [await self._tenant(host, number) for number in range(2)]
        self._tasks = [asyncio.create_task(self._plug()), asyncio.create_task(self._look())]
        await lab.until(lambda: self.frames > 0 and not self.lost_now(), seconds=60)
        self.lost.clear()
        self.dark.clear()
        return self

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- the site -----------------------------------------------------------------------------------------------------

    async def _run(self, entity, method, **arguments):
        call = SimpleNamespace(user="somebody", world=self.lab.world, session=SimpleNamespace(extension=True))
        result = type(entity).operations[method].function(entity, call, **arguments)
        if hasattr(result, "__await__"):
            result = await result
        return await result.done() if getattr(result, "wsdl", "") == "Task" else result

    async def _tenant(self, host, number) -> VirtualMachine:
        vm = await self.lab.scenario.create_vm(f"tenant-{host.name}-{number}", host=host)
        connection = vim.dvs.PortConnection(switchUuid=self.dvs.uuid, portgroupKey=self.group.moid)
        backing = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=connection)
        card = vim.vm.device.VirtualVmxnet3(key=-1, backing=backing)
        change = vim.vm.device.VirtualDeviceSpec(operation="add", device=card)
        await self._run(vm, "ReconfigVM_Task", spec=vim.vm.ConfigSpec(deviceChange=[change]))
        self.vlan[vm.moid] = 101 + len(self.vlan)
        setting = SETTING(vlan=VMWARE.VlanIdSpec(inherited=False, vlanId=self.vlan[vm.moid]))
        edit = PORT.ConfigSpec(operation="edit", key=vm.nics[-1].port_key, setting=setting)
        await self._run(self.dvs, "ReconfigureDVPort_Task", port=[edit])
        return vm

    # -- the plugin, played -------------------------------------------------------------------------------------------

    def _agents(self):
        """VRouterAgents that forward, with the host each is on."""
        for vm in self.lab.contrailvms():
            agent = self.lab.vcenter.vrouters.agents.get(vm.moid)
            if agent is not None and agent.forwards and vm.power_state == "poweredOn":
                yield vm.host.name, agent

    async def _plug(self):
        while True:
            for host, agent in self._agents():
                for vm in self.by_host.get(host, ()):
                    if vm.instance_uuid not in agent.table.ports:
                        self._post(agent, vm)
            await asyncio.sleep(1.0)

    def _post(self, agent, vm):
        number = self.vlan[vm.moid]
        body = {
            "id": vm.instance_uuid, "instance-id": vm.instance_uuid, "vn-id": "00000000-0000-0000-0000-000000000001",
            "vm-project-id": vm.instance_uuid, "display-name": vm.name, "ip-address": f"10.0.0.{number}",
            "ip6-address": "::", "system-name": "vif", "mac-address": vm.nics[-1].mac, "type": 0,
            "rx-vlan-id": number, "tx-vlan-id": number,
        }  # fmt: skip
        status, answer = agent.answer_port("POST", "/port", json.dumps(body).encode())
        assert status == 200, answer

    async def synced(self, host):
        name = next(each.name for each in self.lab.in_service() if each.moid == host)
        wanted = {vm.instance_uuid for vm in self.by_host.get(name, ())}
        has = {port for where, agent in self._agents() if where == name for port in agent.table.ports}
        return wanted <= has, "" if wanted <= has else f"{len(wanted - has)} ports are not plugged"

    # -- the oracle ---------------------------------------------------------------------------------------------------

    def arrives(self, source, target) -> bool:
        frame = Frame(source_mac=source.nics[-1].mac, destination_mac=target.nics[-1].mac)
        ends = VmNic(source, source.nics[-1].key), VmNic(target, target.nics[-1].key)
        self.frames += 1
        return verdict(self.lab.world, self.lab.vcenter.vrouters.agents, *ends, frame).delivered

    def lost_now(self) -> list[tuple[str, str]]:
        """Pairs of hosts between which (or on which) frames are lost: within each host, and from each to the next."""
        names = sorted(self.by_host)
        pairs = [(name, name) for name in names] + list(zip(names, [*names[1:], names[0]], strict=True))
        return [(one, other) for one, other in pairs if not self.arrives(self.by_host[one][0], self.by_host[other][1])]

    async def _look(self):
        while True:
            phases = self.lab.phases()
            for one, other in self.lost_now():
                in_turn = {each for each in (one, other) if phases[each] in IN_TURN or each in self.failed}
                self.dark |= in_turn
                if not in_turn:
                    now = asyncio.get_running_loop().time()
                    self.lost.append(f"{now:.1f}: {one} to {other} ({phases[one]}, {phases[other]})")
            await asyncio.sleep(0.5)
