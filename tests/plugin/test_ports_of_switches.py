"""Our client of port groups and DVPorts, against the simulated vCenter over TLS."""

from __future__ import annotations

from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from contrail_vsphere.model.dvport import DvPortEdit
from contrail_vsphere.model.errors import AlreadyExists, Conflict, NotFound
from contrail_vsphere.model.ids import DvsId
from contrail_vsphere.model.port_group import GroupSpec, drift, marked_network
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.vsphere.dvports import DvPorts
from contrail_vsphere.vsphere.port_groups import PortGroups
from contrail_vsphere.vsphere.vcenter import Endpoint, PasswordLogin, VCenter
from contrail_vsphere.wire.soap.types import vim

pytestmark = pytest.mark.looptime
RED, BLUE = UUID(int=17), UUID(int=18)


@asynccontextmanager
async def connected():
    async with VCenterSimulator(hosts=2, vms=2, timing=Timing.instant(), guests=False) as simulator:
        ready = simulator.ready
        host, _, port = ready["url"].removeprefix("https://").removesuffix("/sdk").rpartition(":")
        endpoint = Endpoint(host, int(port), thumbprint=ready["thumbprint"])
        async with VCenter(endpoint, PasswordLogin(ready["username"], ready["password"])) as vcenter:
            vcenter.inventory.start()
            await vcenter.inventory.ready()
            (dvs,) = vcenter.inventory.dvss
            yield simulator, vcenter, DvsId(dvs)


async def groups_of(vcenter, count):
    import asyncio

    for _ in range(20):
        found = {marked_network(each): each for each in vcenter.inventory.networks.values() if marked_network(each)}
        if len(found) == count:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"{len(found)} marked port groups, not {count}")


async def test_port_groups_are_made_closed_and_marked():
    async with connected() as (simulator, vcenter, dvs):
        doors = PortGroups(vcenter)
        await doors.create(dvs, [GroupSpec("red%2fone", RED), GroupSpec("blue", BLUE)])
        found = await groups_of(vcenter, 2)
        assert found[RED].name == "red/one"
        assert drift(found[RED], RED) == () == drift(found[BLUE], BLUE)
        assert drift(found[RED], BLUE) == (f"mark is {RED}",)
        assert found[BLUE].description == f"contrail vn {BLUE}"
        assert simulator.calls["AddDVPortgroup_Task"] == 1
        with pytest.raises(AlreadyExists):
            await doors.create(dvs, [GroupSpec("blue", RED)])
        await doors.rename(found[BLUE].id, "navy")
        assert await doors.mark_of(found[BLUE].id) == BLUE
        await doors.destroy(found[RED].id)
        assert (await groups_of(vcenter, 1))[BLUE].name == "navy"
        with pytest.raises(NotFound):
            await doors.mark_of(found[RED].id)


async def test_a_port_gets_vlan_and_opens_in_one_write_and_a_stale_version_is_refused():
    async with connected() as (simulator, vcenter, dvs):
        await PortGroups(vcenter).create(dvs, [GroupSpec("red", RED)])
        group = (await groups_of(vcenter, 1))[RED].id
        doors = DvPorts(vcenter)
        assert not await doors.of_groups(dvs, [group])
        (machine, other) = simulator.scenario.vms()
        for vm in (machine, other):
            await put_on(vcenter, simulator, vm, group)
        ports = await doors.of_groups(dvs, [group])
        assert {port.vm for port in ports} == {machine.moid, other.moid}
        first, second = ports
        assert (first.vlan, first.blocked, first.host) == (None, None, machine.host.moid)
        errors = await doors.edit(dvs, [DvPortEdit(first.key, first.version, vlan=7, blocked=False)])
        assert errors == (None,)
        (after,) = await doors.of_keys(dvs, [first.key])
        assert (after.vlan, after.blocked) == (7, False)
        errors = await doors.edit(
            dvs,
            [
                DvPortEdit(first.key, first.version, vlan=8, blocked=False),
                DvPortEdit(second.key, second.version, vlan=9, blocked=False),
                DvPortEdit("4711", "", vlan=9, blocked=False),
            ],
        )
        assert [type(each) for each in errors] == [Conflict, type(None), NotFound]
        assert [port.vlan for port in await doors.of_keys(dvs, [first.key, second.key])] == [7, 9]
        await doors.edit(dvs, [DvPortEdit(first.key, after.version, vlan=None, blocked=None)])
        (after,) = await doors.of_keys(dvs, [first.key])
        assert (after.vlan, after.blocked) == (None, None)


async def put_on(vcenter, simulator, vm, group):
    """A card of the VM on the port group."""
    dvs = next(iter(vcenter.inventory.dvss.values()))
    connection = vim.dvs.PortConnection(switchUuid=dvs.uuid, portgroupKey=group)
    backing = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=connection)
    connectable = vim.vm.device.VirtualDevice.ConnectInfo(startConnected=True, connected=True, allowGuestControl=True)
    card = vim.vm.device.VirtualVmxnet3(key=-1, backing=backing, connectable=connectable)
    change = vim.vm.device.VirtualDeviceSpec(operation="add", device=card)
    await vcenter.run_task(vm.ref, "ReconfigVM_Task", spec=vim.vm.ConfigSpec(deviceChange=[change]))
