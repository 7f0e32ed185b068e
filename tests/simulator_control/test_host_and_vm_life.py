"""Standby, templates, fault tolerance, relocation and the destruction of what is not empty."""

import asyncio

import pytest
from pyVmomi import vim

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter.create import leave_network

pytestmark = pytest.mark.looptime


# -- standby ------------------------------------------------------------------------------------------------------


async def test_standby_evacuates_powers_down_and_comes_back(lab, run, refused, events):
    host, at = lab.inventory["esx-00"], lab.events.end
    tenants = [vm.name for vm in host.vms]
    assert tenants
    await run(host, "PowerDownHostToStandBy_Task", timeoutSec=0)
    assert (host.power_state, host.connection_state, host.read("runtime.standbyMode")) == (
        "standBy",
        "notResponding",
        "in",
    )
    assert not host.vms
    assert events(lab, at)[0] == "EnteringStandbyModeEvent"
    assert events(lab, at)[-1] == "EnteredStandbyModeEvent"
    assert events(lab, at).count("DrsVmMigratedEvent") == len(tenants)
    await refused(run(host, "ReconnectHost_Task"), "NoHost")
    await refused(run(host, "PowerDownHostToStandBy_Task", timeoutSec=0), "InvalidHostConnectionState")
    at = lab.events.end
    await run(host, "PowerUpHostFromStandBy_Task", timeoutSec=0)
    assert host.usable
    assert events(lab, at) == ["ExitingStandbyModeEvent", "ExitedStandbyModeEvent", "HostConnectedEvent"]
    await refused(run(host, "PowerUpHostFromStandBy_Task", timeoutSec=0), "InvalidState")


async def test_standby_that_nobody_makes_room_for_times_out_and_leaves_the_host_as_it_was(lab, run, refused):
    host = lab.inventory["esx-00"]
    with lab.world.commit() as tx:
        tx.set(host.compute_resource, drs=False)
    await refused(run(host, "PowerDownHostToStandBy_Task", timeoutSec=30), "Timedout")
    assert host.usable
    assert host.read("runtime.standbyMode") == "none"


async def test_waking_up_takes_as_long_as_a_boot(make_simulator):
    async with make_simulator(timing=Timing.real(), vms=0) as lab:
        await lab.scenario.standby_host("esx-01")
        host = lab.inventory["esx-01"]
        waking = asyncio.ensure_future(lab.scenario.wake_host(host))
        await asyncio.sleep(60)
        assert host.read("runtime.standbyMode") == "exiting"
        await waking
        assert host.usable


# -- suspend and templates ----------------------------------------------------------------------------------------


async def test_a_suspended_vm_keeps_its_place_and_resumes(lab, run, refused, events):
    vm, at = lab.inventory["vm-0000"], lab.events.end
    await run(vm, "SuspendVM_Task")
    assert vm.suspend_time is not None
    await refused(run(vm, "SuspendVM_Task"), "InvalidPowerState")
    await refused(run(vm, "MarkAsTemplate"), "InvalidPowerState")
    await run(vm, "PowerOnVM_Task")
    assert vm.suspend_time is None
    assert events(lab, at) == ["VmSuspendingEvent", "VmSuspendedEvent", "VmResumingEvent", "DrsVmPoweredOnEvent"]


async def test_a_template_is_in_no_pool_cannot_run_and_comes_back(lab, run, refused):
    vm = lab.inventory["vm-0000"]
    pool = vm.resource_pool
    await run(vm, "PowerOffVM_Task")
    await run(vm, "MarkAsTemplate")
    assert (vm.template, vm.read("resourcePool")) == (True, None)
    assert vm not in pool.vms
    await refused(run(vm, "PowerOnVM_Task"), "InvalidState")
    await refused(run(vm, "MarkAsTemplate"), "NotSupported")
    await run(vm, "MarkAsVirtualMachine", pool=pool.ref, host=lab.inventory["esx-02"].ref)
    assert (vm.template, vm.host.name, vm.resource_pool) == (False, "esx-02", pool)
    assert vm in pool.vms
    await refused(run(vm, "MarkAsVirtualMachine", pool=pool.ref), "NotSupported")
    await run(vm, "PowerOnVM_Task")


async def refuse_ft(run, refused, vm):
    return await refused(run(vm, "CreateSecondaryVM_Task"), "VmFaultToleranceConfigIssue")


async def test_an_esx_agent_gets_no_fault_tolerance(lab, run, refused):
    agent, tenant = lab.inventory["vm-0000"], lab.inventory["vm-0001"]
    with lab.world.commit() as tx:
        tx.set(agent, esx_agent=True)
    fault = await refuse_ft(run, refused, agent)
    assert (fault.reason, fault.entity._moId) == ("esxAgentVm", agent.moid)
    assert (await refuse_ft(run, refused, tenant)).reason != "esxAgentVm"
    issues = await run(agent, "QueryFaultToleranceCompatibilityEx")
    assert issues[0].reason == "esxAgentVm"


# -- relocation ---------------------------------------------------------------------------------------------------


def relocation(**where):
    return vim.vm.RelocateSpec(**{name: entity.ref for name, entity in where.items()})


async def test_relocation_with_a_new_datastore_checks_the_host_too(lab, run, refused, events):
    vm, target, shared = lab.inventory["vm-0000"], lab.inventory["esx-01"], lab.inventory["nfs-shared"]
    spec = relocation(host=target, datastore=shared)
    with lab.world.commit() as tx:
        tx.set(target, required_agents=1)
    await refused(run(vm, "RelocateVM_Task", spec=spec), "InsufficientAgentVmsDeployed")
    assert events(lab)[-1] == "VmRelocateFailedEvent"
    with lab.world.commit() as tx:
        tx.set(target, required_agents=0)
        leave_network(tx, target, lab.inventory["VM Network"])
    await refused(run(vm, "RelocateVM_Task", spec=spec), "CannotAccessNetwork")
    local = lab.inventory["esx-02-local"]
    await refused(run(vm, "RelocateVM_Task", spec=relocation(host=target, datastore=local)), "InaccessibleDatastore")


async def test_nothing_comes_to_a_host_in_maintenance_mode_on_or_off(lab, run, refused):
    vm, target = lab.inventory["vm-0000"], lab.inventory["esx-01"]
    await lab.scenario.enter_maintenance(target)
    await refused(run(vm, "RelocateVM_Task", spec=relocation(host=target)), "InvalidHostState")
    await run(vm, "PowerOffVM_Task")
    await refused(run(vm, "RelocateVM_Task", spec=relocation(host=target)), "InvalidHostState")
    await lab.scenario.exit_maintenance(target)
    await run(vm, "RelocateVM_Task", spec=relocation(host=target))
    assert vm.host is target


async def test_a_cold_vm_needs_no_esx_agent_where_it_goes(lab, run):
    vm, target = lab.inventory["vm-0000"], lab.inventory["esx-01"]
    await run(vm, "PowerOffVM_Task")
    with lab.world.commit() as tx:
        tx.set(target, required_agents=1)
    await run(vm, "MigrateVM_Task", priority="high", host=target.ref)
    assert vm.host is target


# -- destroying what is not empty ---------------------------------------------------------------------------------


async def test_a_cluster_takes_its_hosts_along_and_their_vms_are_only_unregistered(lab, run, events):
    shared, at = lab.inventory["nfs-shared"], lab.events.end
    vms = len(lab.scenario.vms())
    used = shared.capacity - shared.free
    await run(lab.inventory["C0"], "Destroy_Task")
    assert not lab.scenario.hosts()
    assert not lab.scenario.vms()
    assert shared.capacity - shared.free == used, "files stay"
    posted = events(lab, at)
    assert (posted.count("HostRemovedEvent"), posted.count("VmRemovedEvent")) == (3, vms)
    assert posted[-1] == "ClusterDestroyedEvent"


async def test_a_datacenter_goes_with_all_that_is_in_it(lab, run):
    config = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(name="pg", type="earlyBinding", numPorts=4)
    await run(lab.inventory["dvs0"], "CreateDVPortgroup_Task", spec=config)
    datacenter = lab.inventory["DC0"]
    await run(datacenter.vm_folder, "CreateFolder", name="tenants")
    await run(datacenter, "Destroy_Task")
    assert [entity.name for entity in lab.inventory.values()] == ["Datacenters"]


async def test_a_vm_folder_stops_at_what_runs_and_what_is_gone_stays_gone(lab, run, refused):
    folder = await run(lab.inventory["DC0"].vm_folder, "CreateFolder", name="tenants")
    off, on = lab.inventory["vm-0000"], lab.inventory["vm-0001"]
    await run(off, "PowerOffVM_Task")
    await run(folder, "MoveIntoFolder_Task", list=[off.ref, on.ref])
    await refused(run(folder, "Destroy_Task"), "InvalidPowerState")
    assert folder.children == (on,)
    await run(on, "PowerOffVM_Task")
    used = lab.inventory["nfs-shared"].free
    await run(folder, "UnregisterAndDestroy_Task")
    assert lab.inventory["nfs-shared"].free == used
    assert "tenants" not in lab.inventory
    await refused(run(lab.inventory["DC0"].vm_folder, "Destroy_Task"), "NotSupported")
