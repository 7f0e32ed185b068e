"""Which events tell of what happens to VMs, groups and switches, in their order, with what they must say."""

from __future__ import annotations

import asyncio

import pytest
from pyVmomi import vim

from contrail_vsphere.simulator.vcenter import host_life, vm_register
from contrail_vsphere.simulator.vcenter.create import make_datastore
from contrail_vsphere.wire.soap.fault import SoapFault

pytestmark = pytest.mark.looptime


class Told:
    """Events since it was made."""

    def __init__(self, lab):
        self.lab, self.start = lab, len(lab.events)

    @property
    def events(self):
        return self.lab.events[self.start :]

    def names(self, *kinds):
        """All, or only those that begin with one of these words."""
        found = [type(event).__name__.removeprefix("vim.event.").removesuffix("Event") for event in self.events]
        return [name for name in found if not kinds or name.startswith(kinds)]

    def one(self, name):
        (found,) = (event for event in self.events if type(event).__name__ == f"vim.event.{name}")
        return found


async def refused(awaitable, kind):
    with pytest.raises(SoapFault) as caught:
        await awaitable
    assert caught.value.kind == kind


def cloning(pool, **fields):
    return vim.vm.CloneSpec(location=vim.vm.RelocateSpec(pool=pool.ref), powerOn=False, **{"template": False, **fields})


async def test_a_vm_is_created(lab):
    vm, told = lab.built.vms[0], Told(lab)
    nic = vim.vm.device.VirtualDeviceSpec(operation="add", device=vim.vm.device.VirtualVmxnet3(key=-1))
    nic.device.backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network")
    files = vim.vm.FileInfo(vmPathName="[nfs-shared]")
    spec = vim.vm.ConfigSpec(name="new", files=files, numCPUs=1, memoryMB=128, deviceChange=[nic])
    made = await lab.run(vm.parent, "CreateVM_Task", config=spec, pool=vm.resource_pool.ref, host=None)
    assert told.names() == ["VmBeingCreated", "VmInstanceUuidAssigned", "VmUuidAssigned", "VmMacAssigned", "VmCreated"]
    assert told.one("VmBeingCreatedEvent").configSpec.name == "new"
    assert told.one("VmInstanceUuidAssignedEvent").instanceUuid == made.instance_uuid
    assert told.one("VmUuidAssignedEvent").uuid == made.bios_uuid
    assert told.one("VmMacAssignedEvent").mac == made.nics[0].mac
    assert len({event.chainId for event in told.events}) == 1


async def test_a_vm_is_cloned(lab):
    vm, told = lab.built.vms[0], Told(lab)
    made = await lab.run(vm, "CloneVM_Task", folder=vm.parent.ref, name="copy", spec=cloning(vm.resource_pool))
    names = told.names("Vm")
    assert (names[0], names[-1]) == ("VmBeingCloned", "VmCloned")
    assert "VmUuidAssigned" in names
    begun, done = told.one("VmBeingClonedEvent"), told.one("VmClonedEvent")
    assert (begun.vm.name, begun.destName, begun.destHost.name) == (vm.name, "copy", made.host.name)
    assert (done.vm.vm._moId, done.sourceVm.vm._moId) == (made.moid, vm.moid)
    assert begun.chainId == done.chainId
    assert made.instance_uuid != vm.instance_uuid
    assert made.nics[0].mac != vm.nics[0].mac


async def test_a_vm_is_deployed_from_a_template(lab):
    vm, pool = lab.built.vms[0], lab.built.vms[0].resource_pool
    await lab.run(vm, "PowerOffVM_Task")
    await lab.run(vm, "MarkAsTemplate")
    told = Told(lab)
    made = await lab.run(vm, "CloneVM_Task", folder=vm.parent.ref, name="web", spec=cloning(pool))
    assert told.names("VmBeing", "VmDeployed", "VmCloned") == ["VmBeingDeployed", "VmBeingCreated", "VmDeployed"]
    done = told.one("VmDeployedEvent")
    assert (done.vm.vm._moId, done.srcTemplate.vm._moId, done.template) == (made.moid, vm.moid, False)
    assert not made.template
    told = Told(lab)
    other = await lab.run(vm, "CloneVM_Task", folder=vm.parent.ref, name="gold 2", spec=cloning(pool, template=True))
    assert told.names()[-1] == "VmCloned"
    assert other.template


@pytest.mark.parametrize(("template", "failed"), [(False, "VmCloneFailed"), (True, "VmDeployFailed")])
async def test_a_clone_whose_source_is_lost_on_the_way_says_so(slow_lab, template, failed):
    lab = slow_lab
    vm, pool, count = lab.built.vms[0], lab.built.vms[0].resource_pool, len(lab.built.vms)
    if template:
        await lab.run(vm, "PowerOffVM_Task")
        await lab.run(vm, "MarkAsTemplate")
    told = Told(lab)
    work = asyncio.ensure_future(lab.run(vm, "CloneVM_Task", folder=vm.parent.ref, name="copy", spec=cloning(pool)))
    await asyncio.sleep(0.5)
    await host_life.lose_connection(lab.world, vm.host)
    with pytest.raises(SoapFault) as caught:
        await work
    assert told.names()[-1] == failed
    assert isinstance(told.one(f"{failed}Event").reason, type(caught.value.fault))
    assert len([item for item in vm.parent.children if item.wsdl == "VirtualMachine"]) == count


async def test_a_vm_moves_to_another_datastore_or_fails_to(lab):
    vm = lab.built.vms[0]
    source, (target, other) = vm.host, [host for host in lab.built.hosts if host is not vm.host]
    with lab.world.commit() as tx:
        folder = vm.datastores[0].parent
        store = make_datastore(tx, folder, "second", capacity=1 << 40, kind="NFS", hosts=(source, target))
    told = Told(lab)
    await lab.run(vm, "RelocateVM_Task", spec=vim.vm.RelocateSpec(datastore=store.ref, host=target.ref), priority=None)
    assert told.names() == ["VmBeingRelocated", "VmRelocated"]
    assert told.one("VmBeingRelocatedEvent").destHost.name == target.name
    done = told.one("VmRelocatedEvent")
    assert (done.sourceHost.name, done.host.name) == (source.name, target.name)
    told, spec = Told(lab), vim.vm.RelocateSpec(datastore=store.ref, host=other.ref)
    await refused(lab.run(vm, "RelocateVM_Task", spec=spec, priority=None), "InaccessibleDatastore")
    assert told.names() == ["VmRelocateFailed"]
    assert isinstance(told.one("VmRelocateFailedEvent").reason, vim.fault.InaccessibleDatastore)
    assert vm.host is target


async def test_a_vm_that_is_off_migrates_and_a_refused_migration_says_why(lab):
    vm = lab.built.vms[0]
    source, target = vm.host, next(host for host in lab.built.hosts if host is not vm.host)
    await lab.run(vm, "PowerOffVM_Task")
    told = Told(lab)
    await lab.run(vm, "MigrateVM_Task", pool=None, host=target.ref, priority="defaultPriority", state=None)
    assert told.names() == ["VmBeingMigrated", "VmMigrated"]
    assert told.one("VmMigratedEvent").sourceHost.name == source.name
    await host_life.disconnect(lab.world, source)
    assert told.one("HostDisconnectedEvent").reason == "userRequest"
    told = Told(lab)
    back = lab.run(vm, "MigrateVM_Task", pool=None, host=source.ref, priority="defaultPriority", state=None)
    await refused(back, "InvalidHostConnectionState")
    assert told.names() == ["VmFailedMigrate"]
    assert told.one("VmFailedMigrateEvent").destHost.name == source.name


async def test_ha_restarts_what_fits_and_says_what_does_not(slow_lab):
    lab = slow_lab
    host = lab.built.vms[0].host
    stays, goes = [vm for vm in lab.world.of_type(type(lab.built.vms[0])) if vm.host is host][:2]
    with lab.world.commit() as tx:
        tx.set(stays, memory_reservation=10**9)
    told = Told(lab)
    await host_life.crash(lab.world, host)
    await asyncio.sleep(600)
    restarted = told.one("VmRestartedOnAlternateHostEvent")
    assert restarted.vm.vm._moId == goes.moid
    assert (restarted.sourceHost.name, restarted.host.name) == (host.name, goes.host.name)
    assert goes.host is not host
    failed = told.one("VmFailoverFailed")
    assert failed.vm.vm._moId == stays.moid
    await refused(host_life.reconnect(lab.world, host), "NoHost")
    assert told.names()[-1] == "HostReconnectionFailed"
    await host_life.boot(lab.world, host)


async def test_groups_and_switches_are_renamed_changed_and_destroyed(lab):
    dvs, told = lab.built.dvs, Told(lab)
    kind = vim.dvs.DistributedVirtualPortgroup
    spec = kind.ConfigSpec(name="blue", numPorts=2, type="earlyBinding")
    group = await lab.run(dvs, "CreateDVPortgroup_Task", spec=spec)
    await lab.run(group, "ReconfigureDVPortgroup_Task", spec=kind.ConfigSpec(description="for the blue ones"))
    changed = told.one("DVPortgroupReconfiguredEvent")
    assert (changed.net.name, changed.configSpec.description) == ("blue", "for the blue ones")
    assert "description" in changed.configChanges.modified
    await lab.run(group, "Rename_Task", newName="green")
    renamed = told.one("DVPortgroupRenamedEvent")
    assert (renamed.oldName, renamed.newName) == ("blue", "green")
    await lab.run(group, "Destroy_Task")
    assert told.one("DVPortgroupDestroyedEvent").net.name == "green"
    await lab.run(dvs, "Rename_Task", newName="dvs-main")
    moved = told.one("DvsRenamedEvent")
    assert (moved.oldName, moved.newName) == ("dvs0", "dvs-main")
    other = vim.DistributedVirtualSwitch.CreateSpec(
        configSpec=vim.dvs.VmwareDistributedVirtualSwitch.ConfigSpec(name="short-lived")
    )
    made = await lab.run(dvs.parent, "CreateDVS_Task", spec=other)
    await lab.run(made, "Destroy_Task")
    assert told.one("DvsDestroyedEvent").dvs.name == "short-lived"


async def test_a_host_that_misses_a_change_is_out_of_sync(lab):
    dvs, told = lab.built.dvs, Told(lab)
    away = lab.built.hosts[:2]
    for host in away:
        await host_life.lose_connection(lab.world, host)
    spec = vim.dvs.VmwareDistributedVirtualSwitch.ConfigSpec(
        configVersion=dvs.read("config.configVersion"), maxMtu=9000
    )
    await refused(lab.run(dvs, "ReconfigureDvs_Task", spec=spec), "DvsOperationBulkFault")
    lists = [event for event in told.events if type(event).__name__ == "vim.event.OutOfSyncDvsHost"]
    assert [len(event.hostOutOfSync) for event in lists] == [1, 2]
    assert {item.outOfSyncHost.name for item in lists[-1].hostOutOfSync} == {host.name for host in away}


# -- files that no VM has ------------------------------------------------------------------------------------------


async def test_unregistered_and_registered_again_it_is_the_same_vm_with_a_new_id(lab):
    vm = lab.built.vms[0]
    await lab.run(vm, "PowerOffVM_Task")
    path, identity, mac = vm.vmx, vm.instance_uuid, vm.nics[0].mac
    folder, pool, free = vm.parent, vm.resource_pool, vm.datastores[0].free
    told = Told(lab)
    await lab.run(vm, "UnregisterVM")
    assert told.names() == ["VmRemoved"]
    register = {"asTemplate": False, "pool": pool.ref, "host": None}
    back = await lab.run(folder, "RegisterVM_Task", path=path, name="again", **register)
    assert told.names() == ["VmRemoved", "VmRegistered"]
    assert (back.name, back.instance_uuid, back.nics[0].mac, back.vmx) == ("again", identity, mac, path)
    assert back.moid != vm.moid
    assert back.datastores[0].free == free
    again = lab.run(folder, "RegisterVM_Task", path=path, name=None, **register)
    await refused(again, "AlreadyExists")
    for wrong, kind in (("[nfs-shared] no/no.vmx", "FileNotFound"), ("[no] a/a.vmx", "InvalidDatastorePath")):
        await refused(lab.run(folder, "RegisterVM_Task", path=wrong, name=None, **register), kind)


async def test_vms_of_a_removed_host_can_be_registered_on_another(lab):
    host = lab.built.vms[0].host
    lost = [(vm.vmx, vm.name, vm.instance_uuid) for vm in host.vms]
    folder, pool = lab.built.vms[0].parent, lab.built.vms[0].resource_pool
    await host_life.disconnect(lab.world, host)
    await host_life.remove_host(lab.world, host)
    for path, name, identity in lost:
        back = await lab.run(
            folder, "RegisterVM_Task", path=path, name=None, asTemplate=False, pool=pool.ref, host=None
        )
        assert (back.name, back.instance_uuid, back.power_state) == (name, identity, "poweredOff")
        await lab.run(back, "PowerOnVM_Task")


async def test_files_that_vcenter_has_never_seen_become_a_vm(lab):
    vm = lab.built.vms[0]
    store, network = vm.datastores[0], vm.nics[0].network
    with lab.world.commit() as tx:
        path = vm_register.place_files(tx, store, "restored", network=network)
    assert path == f"[{store.name}] restored/restored.vmx"
    told = Told(lab)
    back = await lab.run(
        vm.parent, "RegisterVM_Task", path=path, name=None, asTemplate=False, pool=vm.resource_pool.ref, host=None
    )
    assert told.names() == ["VmRegistered"]
    assert (back.name, back.nics[0].network.name) == ("restored", network.name)
    macs = [nic.mac for item in lab.world.of_type(type(vm)) for nic in item.nics]
    assert len(set(macs)) == len(macs)
    await lab.run(back, "PowerOnVM_Task")
    assert back.power_state == "poweredOn"
