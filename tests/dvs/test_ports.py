"""Ports: who is connected, on which host, in which state; how many there are; and what FetchDVPorts selects."""

from __future__ import annotations

import asyncio

import pytest
from dvs_lab import VMWARE, Lab, edit, vlan
from pyVmomi import vim

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter import vm_life

pytestmark = pytest.mark.looptime


async def test_a_connected_port_says_who_where_and_how(lab):
    group, vm = await lab.group(numPorts=2), lab.vms[0]
    nic = await lab.connect(vm, group)
    port = await lab.port(nic.port_key)
    assert (port.connectee.connectedEntity._moId, port.connectee.nicKey, port.connectee.type) == (
        vm.moid,
        "4001",
        "vmVnic",
    )
    assert port.connectionCookie == nic.connection_cookie
    assert port.proxyHost._moId == vm.host.moid
    assert (port.dvsUuid, port.portgroupKey, port.conflict) == (lab.dvs.uuid, group.moid, False)
    info = port.state.runtimeInfo
    assert (info.linkUp, info.blocked, info.macAddress, info.mtu) == (True, False, nic.mac, 1500)
    assert lab.names()[-4:] == ["DvsPortConnected", "VmMacAssigned", "VmReconfigured", "DvsPortLinkUp"]
    await vm_life.power_off(lab.world, vm)
    info = (await lab.port(nic.port_key)).state.runtimeInfo
    assert (info.linkUp, info.macAddress) == (False, None)
    assert "DvsPortLinkDown" in lab.names()


@pytest.mark.parametrize("when_off", [True, False])
async def test_proxy_host_of_a_vm_that_is_off_is_a_switch(lab, when_off):
    lab.switch(proxy_host_when_off=when_off)
    group, vm = await lab.group(), lab.vms[0]
    nic = await lab.connect(vm, group)
    await vm_life.power_off(lab.world, vm)
    assert ((await lab.port(nic.port_key)).proxyHost is not None) is when_off
    await vm_life.power_on(lab.world, vm)
    assert (await lab.port(nic.port_key)).proxyHost._moId == vm.host.moid


@pytest.mark.parametrize("flips", ["before", "with", "after"])
async def test_proxy_host_follows_a_vmotion(flips):
    lab = Lab(timing=Timing.real(), hosts=2, clusters=1, vms=2)
    lab.switch(proxy_host_flips=flips)
    group, vm = await lab.group(), lab.vms[0]
    nic = await lab.connect(vm, group)
    source, target = lab.hosts
    table, seen = lab.dvs.ports.ports, []
    lab.world.observe(lambda done: seen.append((vm.host, table[nic.port_key].proxy_host)))
    await lab.run(vm, "MigrateVM_Task", priority="defaultPriority", host=target.ref)
    await asyncio.sleep(5)
    assert table[nic.port_key].proxy_host is vm.host is target
    assert vm.nics[-1].port_key == nic.port_key
    assert ((source, target) in seen) is (flips == "before")
    assert ((target, source) in seen) is (flips == "after")


async def test_a_failed_vmotion_takes_the_port_back():
    lab = Lab(timing=Timing.real(), hosts=2, clusters=1, vms=2)
    lab.switch(proxy_host_flips="before")
    group, vm = await lab.group(), lab.vms[0]
    nic = await lab.connect(vm, group)
    moving = asyncio.ensure_future(lab.refused(vm, "MigrateVM_Task", priority="defaultPriority", host=lab.hosts[1].ref))
    await asyncio.sleep(2)
    assert lab.dvs.ports.ports[nic.port_key].proxy_host is lab.hosts[1]
    with lab.world.commit() as tx:
        tx.set(lab.hosts[1], connection_state="notResponding")
    await moving
    assert lab.dvs.ports.ports[nic.port_key].proxy_host is lab.hosts[0]


async def test_ports_that_were_grown_shrink_again(lab):
    group = await lab.group(numPorts=1)
    nics = [(vm, await lab.connect(vm, group)) for vm in lab.vms for _ in range(3)]
    assert group.num_ports == 25
    for vm, nic in nics:
        await lab.disconnect(vm, nic)
    assert group.num_ports == 9
    await lab.edit(edit(group.port_keys[0], operation="remove"))
    assert group.num_ports == 8


async def test_a_group_may_keep_what_it_grew(lab):
    lab.switch(auto_shrink=False)
    group = await lab.group(numPorts=1)
    nics = [(vm, await lab.connect(vm, group)) for vm in lab.vms for _ in range(3)]
    for vm, nic in nics:
        await lab.disconnect(vm, nic)
    assert group.num_ports == 25


async def test_a_card_of_a_vm_that_is_off_has_no_ephemeral_port_whatever_it_names(lab):
    group, one, other = await lab.group(type="ephemeral"), lab.vms[0], lab.vms[1]
    nic = await lab.connect(one, group)
    await vm_life.power_off(lab.world, other)
    await lab.connect(other, group, nic.port_key)
    assert other.nics[-1].port_key == ""
    await vm_life.power_on(lab.world, other)
    assert other.nics[-1].port_key not in ("", nic.port_key)


async def leave_and_return(lab, vm, meanwhile):
    """Unregister the VM, do something, register it again; gives it and its last card."""
    await vm_life.power_off(lab.world, vm)
    path, folder, pool = vm.vmx, lab.built.datacenter.vm_folder, vm.resource_pool
    await lab.run(vm, "UnregisterVM")
    await meanwhile()
    arguments = {"path": path, "name": vm.name, "asTemplate": False, "pool": pool.ref, "host": vm.host.ref}
    back = await lab.run(folder, "RegisterVM_Task", **arguments)
    return back, back.nics[-1]


async def test_a_vm_that_returns_to_a_taken_port_gets_a_conflict_port(lab):
    group, vm, other = await lab.group(numPorts=2), lab.vms[0], lab.vms[1]
    key = (await lab.connect(vm, group)).port_key
    vm, nic = await leave_and_return(lab, vm, lambda: lab.connect(other, group, key))
    assert nic.port_key.startswith("c-")
    port = await lab.port(nic.port_key)
    assert (port.conflict, port.conflictPortKey, port.connectee.connectedEntity._moId) == (True, key, vm.moid)
    await vm_life.power_on(lab.world, vm)
    target = next(host for host in lab.hosts if host is not vm.host)
    fault = await lab.refused(vm, "MigrateVM_Task", priority="defaultPriority", host=target.ref)
    assert isinstance(fault, vim.fault.MigrationNotReady)
    await lab.disconnect(vm, nic)
    assert nic.port_key not in group.port_keys


async def test_a_vm_that_returns_to_a_port_that_is_gone_gets_another(lab):
    group, vm = await lab.group(numPorts=2), lab.vms[0]
    key = (await lab.connect(vm, group)).port_key
    _, nic = await leave_and_return(lab, vm, lambda: lab.edit(edit(key, operation="remove")))
    assert nic.port_key in group.port_keys
    assert nic.port_key != key


async def test_scope_keeps_strangers_out(lab):
    group = await lab.group(scope=[lab.vms[0].ref])
    await lab.connect(lab.vms[0], group)
    from dvs_lab import backing, nic_change

    device = vim.vm.device.VirtualVmxnet3(key=-1, backing=backing(group))
    fault = await lab.refused(lab.vms[1], "ReconfigVM_Task", spec=nic_change("add", device))
    assert isinstance(fault, vim.fault.DvsScopeViolated)
    assert group.num_ports == 8


async def selection(lab):
    """Groups x (2 ports, the first connected to a running VM) and y (2 ports, the first of a VM that is off)."""
    x, y = await lab.group("x", numPorts=2), await lab.group("y", numPorts=2)
    on, off = lab.vms[0], lab.vms[1]
    await lab.connect(on, x)
    await vm_life.power_off(lab.world, off)
    await lab.connect(off, y)
    names = dict(zip((*x.port_keys, *y.port_keys), ("x1", "x2", "y1", "y2"), strict=True))
    return x, y, on, off, names


async def test_every_criterion(lab):
    x, y, on, off, names = await selection(lab)

    async def ask(**criteria):
        keys = await lab.keys(**criteria)
        assert [port.key for port in await lab.fetch(**criteria)] == keys
        return [names.get(key, "up") for key in keys]

    ours = {"uplinkPort": False}
    uplinks = ["up"] * 6
    assert await ask(uplinkPort=True) == uplinks
    assert await ask(**ours) == ["x1", "x2", "y1", "y2"]
    assert [port.key for port in await lab.fetch()] == await lab.keys()
    assert await ask(connected=True) == ["x1", "y1"]
    assert await ask(connected=False, **ours) == ["x2", "y2"]
    assert await ask(active=True) == ["x1"]
    assert await ask(active=False, **ours) == ["x2", "y1", "y2"]
    assert await ask(portgroupKey=[x.moid], inside=True) == ["x1", "x2"]
    assert await ask(portgroupKey=[x.moid], inside=False, **ours) == ["y1", "y2"]
    assert await ask(portgroupKey=[x.moid], **ours) == ["x1", "x2", "y1", "y2"]
    key = {name: key for key, name in names.items()}
    assert await ask(portKey=[key["y2"], key["x1"], "4711"]) == ["x1", "y2"]
    assert await ask(portKey=[key["y2"], key["x1"]], portgroupKey=[y.moid], inside=True) == ["y2"]
    assert await ask(host=[on.host.ref], connected=True) == ["x1"]
    assert await ask(host=[on.host.ref, off.host.ref], **ours) == ["x1", "y1"]
    assert await ask(host=[on.host.ref]) == ["up", "up", "x1"]
    assert await ask(nsxPort=True) == []
    await lab.edit(edit(key["x2"], scope=[lab.built.datacenter.ref]), edit(key["y2"], scope=[off.ref]))
    assert await ask(scope=on.ref, **ours) == ["x1", "x2", "y1"]
    lab.switch(connected_false="ignored", active_false="ignored")
    assert await ask(connected=False, active=False, **ours) == ["x1", "x2", "y1", "y2"]


async def test_state_may_be_as_old_as_the_last_refresh(lab):
    lab.switch(state_is_live=False)
    group = await lab.group(numPorts=1)
    nic = await lab.connect(lab.vms[0], group)
    await lab.edit(edit(nic.port_key, vlan=9))
    assert (await lab.port(nic.port_key)).state.runtimeInfo.vlanIds[0].start == 0
    await lab.run(lab.dvs, "RefreshDVPortState", portKeys=[nic.port_key])
    assert (await lab.port(nic.port_key)).state.runtimeInfo.vlanIds[0].start == 9


async def test_free_ports_move_between_groups(lab):
    x, y = await lab.group("x", numPorts=1), await lab.group("y", numPorts=1)
    (key,) = x.port_keys
    await lab.edit(edit(key, vlan=vlan(5)))
    arguments = {"portKey": [key], "destinationPortgroupKey": y.moid}
    await lab.run(lab.dvs, "MoveDVPort_Task", **arguments)
    assert (x.port_keys, key in y.port_keys) == ((), True)
    assert (await lab.port(key)).config.setting.vlan.inherited is True
    assert lab.names()[-2:] == ["DvsPortLeavePortgroup", "DvsPortJoinPortgroup"]
    await lab.connect(lab.vms[0], y, key)
    fault = await lab.refused(lab.dvs, "MoveDVPort_Task", portKey=[key], destinationPortgroupKey=x.moid)
    assert isinstance(fault, vim.fault.ResourceInUse)


async def test_a_thousand_ports_in_fifty_thousand_are_found_by_index(lab):
    """Counts instead of times: what one host has costs nothing of what the switch has."""
    group = await lab.group(numPorts=50_000)
    nic = await lab.connect(lab.vms[0], group)
    keys = list(group.port_keys[:1000])
    await lab.edit(*(edit(key, vlan=1 + number) for number, key in enumerate(keys)))
    assert await lab.keys(host=[lab.vms[0].host.ref], uplinkPort=False) == [nic.port_key]
    assert len(await lab.fetch(portKey=keys)) == 1000
    spec = type(group.ref).ConfigSpec(numPorts=10, defaultPortConfig=VMWARE.VmwarePortConfigPolicy(vlan=vlan(3)))
    await lab.run(group, "ReconfigureDVPortgroup_Task", spec=spec)
    assert group.num_ports == 10
