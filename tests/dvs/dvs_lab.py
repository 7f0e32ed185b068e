"""A small world without a server, and short ways to make port groups, cards and port specs in it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pyVmomi import vim

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.core.world import World
from contrail_vsphere.simulator.vcenter.build import build_inventory
from contrail_vsphere.simulator.vcenter.switches import Switches
from contrail_vsphere.simulator.vcenter.task import TaskManager
from contrail_vsphere.wire.soap.fault import SoapFault

VMWARE = vim.dvs.VmwareDistributedVirtualSwitch
SETTING = VMWARE.VmwarePortConfigPolicy
PORT = vim.dvs.DistributedVirtualPort
GROUP = vim.dvs.DistributedVirtualPortgroup


def policy(**allowed):
    """A port group policy with every override forbidden but these."""
    names = ("block", "shaping", "vendorConfig", "vlan", "uplinkTeaming", "securityPolicy")
    fields = {f"{name}OverrideAllowed": bool(allowed.get(name)) for name in names}
    return VMWARE.VMwarePortgroupPolicy(
        **fields,
        livePortMovingAllowed=False,
        portConfigResetAtDisconnect=allowed.get("reset", True),
        trafficFilterOverrideAllowed=bool(allowed.get("trafficFilter")),
        macManagementOverrideAllowed=bool(allowed.get("macManagement")),
    )


def vlan(number, *, inherited=False):
    return VMWARE.VlanIdSpec(inherited=inherited, vlanId=number)


def trunk(*ranges):
    return VMWARE.TrunkVlanSpec(inherited=False, vlanId=[vim.NumericRange(start=a, end=b) for a, b in ranges])


def blocked(value, *, inherited=False):
    return vim.BoolPolicy(inherited=inherited, value=value)


def edit(key, *, version=None, operation="edit", **spec):
    """A DVPortConfigSpec; ``vlan`` and ``blocked`` are shorthands for a setting with them."""
    parts = {name: spec.pop(name) for name in ("vlan", "blocked") if name in spec}
    if parts:
        parts = {
            name: value if not isinstance(value, bool | int) else (vlan(value) if name == "vlan" else blocked(value))
            for name, value in parts.items()
        }
        spec["setting"] = SETTING(**parts)
    return PORT.ConfigSpec(operation=operation, key=key, configVersion=version, **spec)


def backing(group, port=""):
    connection = vim.dvs.PortConnection(switchUuid=group.dvs.uuid, portgroupKey=group.moid, portKey=port or None)
    return vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=connection)


def nic_change(operation, device):
    return vim.vm.ConfigSpec(deviceChange=[vim.vm.device.VirtualDeviceSpec(operation=operation, device=device)])


class Lab:
    def __init__(self, *, timing=None, **size):
        self.world = World(seed=7)
        self.world.services[Timing] = timing or Timing.instant()
        manager = TaskManager(world=self.world, moid="TaskManager")
        self.world.services[TaskManager] = manager
        with self.world.commit() as tx:
            tx.add(manager)
        self.built = build_inventory(self.world, **size)
        self.dvs, self.hosts, self.vms = self.built.dvs, self.built.hosts, self.built.vms
        self.commits = []
        self.world.observe(self.commits.append)

    def switch(self, **values):
        Switches(**values).install(self.world)

    async def run(self, entity, method, **arguments):
        call = SimpleNamespace(user="tester", world=self.world, session=SimpleNamespace(extension=True))
        result = type(entity).operations[method].function(entity, call, **arguments)
        if hasattr(result, "__await__"):
            result = await result
        return await result.done() if getattr(result, "wsdl", "") == "Task" else result

    async def refused(self, entity, method, **arguments):
        """The fault of a call that must fail; it must not have changed anything a client can see."""
        with pytest.raises(SoapFault) as caught:
            await self.run(entity, method, **arguments)
        return caught.value.fault

    async def group(self, name="pg", **spec):
        fields = {"name": name, "type": "earlyBinding", "policy": policy(block=True, vlan=True), **spec}
        return await self.run(self.dvs, "CreateDVPortgroup_Task", spec=GROUP.ConfigSpec(**fields))

    async def connect(self, vm, group, port=""):
        """Add a card; gives it."""
        device = vim.vm.device.VirtualVmxnet3(key=-1, backing=backing(group, port))
        await self.run(vm, "ReconfigVM_Task", spec=nic_change("add", device))
        return vm.nics[-1]

    async def disconnect(self, vm, nic):
        device = vim.vm.device.VirtualVmxnet3(key=nic.key)
        await self.run(vm, "ReconfigVM_Task", spec=nic_change("remove", device))

    async def edit(self, *specs):
        await self.run(self.dvs, "ReconfigureDVPort_Task", port=list(specs))

    async def fetch(self, **criteria):
        criteria = vim.dvs.PortCriteria(**criteria) if criteria else None
        return await self.run(self.dvs, "FetchDVPorts", criteria=criteria)

    async def keys(self, **criteria):
        return await self.run(self.dvs, "FetchDVPortKeys", criteria=vim.dvs.PortCriteria(**criteria))

    async def port(self, key):
        (port,) = await self.fetch(portKey=[key])
        return port

    def names(self, since=0):
        """Types of the events since that commit, without tasks."""
        events = [event for done in self.commits[since:] for event in done.events]
        names = [type(event).__name__.removeprefix("vim.event.").removesuffix("Event") for event in events]
        return [name for name in names if name != "Task"]

    def events(self, kind):
        return [event for done in self.commits for event in done.events if type(event).__name__ == f"vim.event.{kind}"]
