"""Snapshots: the tree clients read, what going back brings back, and what becomes of ports in the meantime."""

from __future__ import annotations

import pytest
from pyVmomi import vim

from contrail_vsphere.simulator.vcenter.vm_snapshot import VmSnapshot
from contrail_vsphere.wire.soap.fault import SoapFault

pytestmark = pytest.mark.looptime


async def take(lab, vm, name, *, memory=False, description=None):
    return await lab.run(vm, "CreateSnapshot_Task", name=name, memory=memory, quiesce=False, description=description)


async def refused(awaitable, kind):
    with pytest.raises(SoapFault) as caught:
        await awaitable
    assert caught.value.kind == kind


def tree(vm):
    """The tree as a client reads it: name -> (child tree)."""

    def of(items):
        return {item.name: of(item.childSnapshotList) for item in items}

    info = vm.read("snapshot")
    return of(info.rootSnapshotList) if info is not None else None


async def on_group(lab, vm, *, name="blue", ports=2):
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
        name=name, numPorts=ports, type="earlyBinding", autoExpand=False
    )
    group = await lab.run(lab.built.dvs, "CreateDVPortgroup_Task", spec=spec)
    await attach(lab, vm, group)
    return group


async def attach(lab, vm, network, *, operation="edit"):
    backing = network.nic_backing(type("N", (), {"port_key": "", "connection_cookie": 0}))
    device = vim.vm.device.VirtualVmxnet3(key=4000, backing=backing)
    change = vim.vm.device.VirtualDeviceSpec(operation=operation, device=device)
    await lab.run(vm, "ReconfigVM_Task", spec=vim.vm.ConfigSpec(deviceChange=[change]))


async def test_the_tree_grows_at_the_current_snapshot_and_closes_over_gaps(lab):
    vm = lab.built.vms[0]
    assert vm.read("snapshot") is None
    one, two = await take(lab, vm, "one", description="first"), await take(lab, vm, "two")
    await lab.run(one, "RevertToSnapshot_Task")
    three = await take(lab, vm, "three")
    assert tree(vm) == {"one": {"two": {}, "three": {}}}
    info = vm.read("snapshot")
    assert info.currentSnapshot._moId == three.moid
    assert [item.id for item in (info.rootSnapshotList[0], *info.rootSnapshotList[0].childSnapshotList)] == [1, 2, 3]
    assert info.rootSnapshotList[0].description == "first"
    assert [item.moid for item in one.read("childSnapshot")] == [two.moid, three.moid]
    await lab.run(one, "RemoveSnapshot_Task", removeChildren=False)
    assert tree(vm) == {"two": {}, "three": {}}
    assert lab.world.get(one.moid) is None
    await take(lab, vm, "four")
    await lab.run(three, "RemoveSnapshot_Task", removeChildren=True)
    assert tree(vm) == {"two": {}}
    assert vm.read("snapshot").currentSnapshot is None
    await refused(lab.run(vm, "RevertToCurrentSnapshot_Task"), "NotFound")
    await lab.run(vm, "RemoveAllSnapshots_Task")
    assert vm.read("snapshot") is None
    assert not list(lab.world.of_type(VmSnapshot))


async def test_only_a_snapshot_with_memory_comes_back_running(lab):
    vm = lab.built.vms[0]
    cold, warm = await take(lab, vm, "cold"), await take(lab, vm, "warm", memory=True)
    await lab.run(vm, "ReconfigVM_Task", spec=vim.vm.ConfigSpec(annotation="later"))
    await lab.run(cold, "RevertToSnapshot_Task")
    assert (vm.power_state, vm.annotation) == ("poweredOff", "")
    assert [item.state for item in vm.read("snapshot").rootSnapshotList] == ["poweredOff"]
    await lab.run(warm, "RevertToSnapshot_Task")
    assert vm.power_state == "poweredOn"
    await lab.run(warm, "RevertToSnapshot_Task", suppressPowerOn=True)
    assert vm.power_state == "poweredOff"
    names = [name for name in lab.event_names if name.startswith(("VmPowered", "DrsVmPowered"))]
    assert names == ["VmPoweredOffEvent", "DrsVmPoweredOnEvent", "VmPoweredOffEvent"]


async def test_a_card_comes_back_to_its_port_or_into_conflict(lab):
    vm, other = lab.built.vms[:2]
    group = await on_group(lab, vm)
    key = vm.nics[0].port_key
    moment = await take(lab, vm, "on blue")
    await lab.run(moment, "RevertToSnapshot_Task")
    port = group.dvs.ports.get(key)
    assert (vm.nics[0].port_key, vm.nics[0].connection_cookie) == (key, port.cookie)

    await attach(lab, vm, lab.built.vm_network)
    assert not group.dvs.ports.get(key).connected
    for _ in range(2):
        await attach(lab, other, lab.built.vm_network)
        await attach(lab, other, group)
    taken = other.nics[0].port_key
    while taken != key:
        await attach(lab, lab.built.vms[2], group)
        taken = lab.built.vms[2].nics[0].port_key
    await lab.run(moment, "RevertToSnapshot_Task")
    conflict = group.dvs.ports.get(vm.nics[0].port_key)
    assert conflict.vm is vm
    assert conflict.conflict_with == key
    assert group.dvs.ports.get(key).vm is not vm


async def test_a_card_whose_network_went_comes_back_without_one(lab):
    vm = lab.built.vms[0]
    group = await on_group(lab, vm)
    moment = await take(lab, vm, "on blue")
    await attach(lab, vm, lab.built.vm_network)
    await lab.run(group, "Destroy_Task")
    await lab.run(moment, "RevertToSnapshot_Task")
    assert (vm.nics[0].network, vm.networks) == (None, ())
    assert moment.read("config").hardware.numCPU == vm.cpus


async def test_refusals_leave_nothing_behind(lab):
    vm = lab.built.vms[0]
    await refused(take(lab, vm, ""), "InvalidName")
    await take(lab, vm, "one")
    disk = vim.vm.device.VirtualDisk(key=2000, capacityInKB=64 * 1024**2)
    change = vim.vm.device.VirtualDeviceSpec(operation="edit", device=disk)
    await refused(
        lab.run(vm, "ReconfigVM_Task", spec=vim.vm.ConfigSpec(deviceChange=[change])), "InvalidDeviceOperation"
    )
    for number in range(31):
        await take(lab, vm, f"more-{number}")
    await refused(take(lab, vm, "too many"), "TooManySnapshotLevels")
    with pytest.raises(SoapFault):
        await lab.run(vm.current_snapshot, "RenameSnapshot", name="x" * 81)
    await lab.run(vm.current_snapshot, "RenameSnapshot", name="renamed")
    assert vm.current_snapshot.name == "renamed"


async def test_snapshots_go_with_the_vm_and_come_back_with_its_files(lab):
    vm = lab.built.vms[0]
    await take(lab, vm, "one")
    two = await take(lab, vm, "two")
    await lab.run(vm, "PowerOffVM_Task")
    await lab.run(vm, "UnregisterVM")
    assert not list(lab.world.of_type(VmSnapshot))
    pool = lab.built.clusters[0].root_pool
    again = await lab.run(vm.parent, "RegisterVM_Task", path=vm.vmx, asTemplate=False, pool=pool)
    assert tree(again) == {"one": {"two": {}}}
    assert again.current_snapshot.moid != two.moid
    await lab.run(again, "RevertToCurrentSnapshot_Task")
    await lab.run(again, "Destroy_Task")
    assert not list(lab.world.of_type(VmSnapshot))


async def test_a_clone_of_a_snapshot_is_as_the_source_was(lab):
    vm = lab.built.vms[0]
    moment = await take(lab, vm, "one")
    await lab.run(vm, "ReconfigVM_Task", spec=vim.vm.ConfigSpec(annotation="later"))
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), powerOn=False, template=False, snapshot=moment.ref)
    made = await lab.run(vm, "CloneVM_Task", folder=vm.parent, name="copy", spec=spec)
    assert (made.annotation, made.read("snapshot")) == ("", None)
    assert made.nics[0].mac != vm.nics[0].mac


async def test_standby_of_the_guest_and_newer_hardware(lab):
    vm = lab.built.vms[0]
    await lab.run(vm, "StandbyGuest")
    while vm.power_state == "poweredOn":
        await lab.world.changed_after(lab.world.seq)
    assert lab.event_names[-2:] == ["VmGuestStandbyEvent", "VmSuspendedEvent"]
    await lab.run(vm, "PowerOffVM_Task")
    await lab.run(vm, "UpgradeVM_Task")
    assert vm.read("config.version") == "vmx-21"
    await refused(lab.run(vm, "UpgradeVM_Task"), "AlreadyUpgraded")
