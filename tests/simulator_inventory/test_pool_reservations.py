"""What a pool reserves is taken from the one above; nobody is given what is not there."""

from __future__ import annotations

from random import Random

import pytest
from pyVmomi import vim

from contrail_vsphere.simulator.vcenter import host_life
from contrail_vsphere.wire.soap.fault import SoapFault

pytestmark = pytest.mark.looptime

HOST_MHZ, HOST_MB = 2600 * 32, 262144


def spec(cpu=None, memory=None):
    return vim.ResourceConfigSpec(
        cpuAllocation=vim.ResourceAllocationInfo(**(cpu or {})),
        memoryAllocation=vim.ResourceAllocationInfo(**(memory or {})),
    )


async def refused(awaitable, kind):
    with pytest.raises(SoapFault) as caught:
        await awaitable
    assert caught.value.kind == kind, caught.value
    return caught.value.fault


async def reserve(lab, vm, **reservations):
    """Of a VM that is off."""
    allocations = {f"{kind}Allocation": vim.ResourceAllocationInfo(reservation=n) for kind, n in reservations.items()}
    await lab.run(vm, "ReconfigVM_Task", spec=vim.vm.ConfigSpec(**allocations))


def cpu(pool):
    return pool.read("runtime.cpu")


async def test_the_root_pool_has_what_its_usable_hosts_have(lab):
    root = lab.built.clusters[0].root_pool
    assert root.read("config.cpuAllocation.reservation") == root.read("config.cpuAllocation.limit") == 3 * HOST_MHZ
    assert root.read("config.memoryAllocation.limit") == 3 * HOST_MB
    assert root.read("config.cpuAllocation.expandableReservation") is False
    assert cpu(root).maxUsage == cpu(root).unreservedForVm == 3 * HOST_MHZ
    assert root.read("runtime.memory.maxUsage") == 3 * HOST_MB * 1024 * 1024
    seq = lab.world.seq
    await lab.run(lab.built.hosts[0], "EnterMaintenanceMode_Task", timeout=0)
    assert cpu(root).maxUsage == 2 * HOST_MHZ
    assert "config.cpuAllocation" in {entry.path for entry in lab.world.since(seq) if entry.entity is root}
    await refused(lab.run(root, "UpdateConfig", name=None, config=spec()), "InvalidArgument")
    await refused(lab.run(root, "UpdateConfig", name="mine"), "InvalidArgument")


async def test_a_pool_takes_what_it_reserves_and_what_it_needs_beyond(lab):
    root, vm = lab.built.clusters[0].root_pool, lab.built.vms[0]
    await lab.run(vm, "PowerOffVM_Task")
    await reserve(lab, vm, cpu=1500)
    pool = await lab.run(root, "CreateResourcePool", name="gold", spec=spec(cpu={"reservation": 1000}))
    await lab.run(pool, "MoveIntoResourcePool", list=[vm.ref])
    assert (cpu(root).reservationUsed, cpu(root).reservationUsedForVm) == (1000, 0)
    assert cpu(pool).unreservedForPool == 3 * HOST_MHZ, "its own, and all that is left above"
    await lab.run(vm, "PowerOnVM_Task")
    assert (cpu(root).reservationUsed, cpu(root).reservationUsedForVm) == (1500, 1500)
    assert (cpu(pool).reservationUsed, cpu(pool).overallUsage) == (1500, 1500)
    assert cpu(root).unreservedForVm == cpu(pool).unreservedForVm == 3 * HOST_MHZ - 1500
    await lab.run(vm, "PowerOffVM_Task")
    assert cpu(root).reservationUsed == 1000


async def test_a_fixed_pool_gives_no_more_than_it_has(lab):
    root, (first, second, *_) = lab.built.clusters[0].root_pool, lab.built.vms
    fixed = {"reservation": 1024, "expandableReservation": False}
    pool = await lab.run(root, "CreateResourcePool", name="fixed", spec=spec(memory=fixed))
    for vm in (first, second):
        await lab.run(vm, "PowerOffVM_Task")
        await reserve(lab, vm, memory=600)
        await lab.run(pool, "MoveIntoResourcePool", list=[vm.ref])
    await lab.run(first, "PowerOnVM_Task")
    said = await refused(lab.run(second, "PowerOnVM_Task"), "InsufficientMemoryResourcesFault")
    assert (said.unreserved, said.requested) == (424 << 20, 600 << 20)
    assert second.power_state == "poweredOff"
    shrunk = spec(memory={"reservation": 599})
    await refused(lab.run(pool, "UpdateConfig", name=None, config=shrunk), "InsufficientMemoryResourcesFault")
    await lab.run(pool, "UpdateConfig", name=None, config=spec(memory={"expandableReservation": True}))
    await lab.run(second, "PowerOnVM_Task")


async def test_a_running_vm_is_not_taken_into_a_pool_without_room(lab):
    root, vm = lab.built.clusters[0].root_pool, lab.built.vms[0]
    await lab.run(vm, "PowerOffVM_Task")
    await reserve(lab, vm, cpu=500)
    nothing = spec(cpu={"expandableReservation": False})
    pool = await lab.run(root, "CreateResourcePool", name="none", spec=nothing)
    await lab.run(vm, "PowerOnVM_Task")
    await refused(lab.run(pool, "MoveIntoResourcePool", list=[vm.ref]), "InsufficientCpuResourcesFault")
    moved = vim.vm.RelocateSpec(pool=pool.ref)
    await refused(lab.run(vm, "RelocateVM_Task", spec=moved), "InsufficientCpuResourcesFault")
    assert vm.resource_pool is root
    await lab.run(vm, "PowerOffVM_Task")
    await lab.run(pool, "MoveIntoResourcePool", list=[vm.ref])
    assert vm.resource_pool is pool


async def test_vms_that_come_together_share_the_room(lab):
    root, (first, second, *_) = lab.built.clusters[0].root_pool, lab.built.vms
    fixed = spec(cpu={"reservation": 1000, "expandableReservation": False})
    pool = await lab.run(root, "CreateResourcePool", name="small", spec=fixed)
    for vm in (first, second):
        await lab.run(vm, "PowerOffVM_Task")
        await reserve(lab, vm, cpu=600)
        await lab.run(vm, "PowerOnVM_Task")
    both = [first.ref, second.ref]
    await refused(lab.run(pool, "MoveIntoResourcePool", list=both), "InsufficientCpuResourcesFault")
    assert first.resource_pool is second.resource_pool is root, "all or none"
    assert first in root.vms and not pool.vms


async def test_a_limit_bounds_what_is_given_and_used(lab):
    root = lab.built.clusters[0].root_pool
    above = await lab.run(root, "CreateResourcePool", name="above", spec=spec(cpu={"limit": 3000}))
    pool = await lab.run(above, "CreateResourcePool", name="below", spec=spec(cpu={"limit": 5000}))
    assert (cpu(pool).maxUsage, cpu(pool).unreservedForVm) == (3000, 3000)
    too_much = spec(cpu={"reservation": 3001})
    await refused(lab.run(above, "CreateResourcePool", name="more", spec=too_much), "InsufficientCpuResourcesFault")
    upside_down = spec(cpu={"reservation": 10, "limit": 9})
    await refused(lab.run(above, "CreateResourcePool", name="more", spec=upside_down), "InvalidArgument")
    assert [each.name for each in above.children] == ["below"]


@pytest.mark.parametrize("seed", range(5))
async def test_never_more_is_given_than_there_is(lab, seed):
    """Pools and VMs come and go at random; a refusal is right, a promise that nobody can keep is not."""
    chance, root = Random(seed), lab.built.clusters[0].root_pool
    pools = [root]
    for vm in lab.built.vms:
        await lab.run(vm, "PowerOffVM_Task")
    for step in range(60):
        pool, vm = chance.choice(pools), chance.choice(lab.built.vms)
        reservation, expandable = chance.choice((0, 20_000, 60_000)), chance.random() < 0.5
        wanted = spec(cpu={"reservation": reservation, "expandableReservation": expandable})
        try:
            match chance.randrange(4):
                case 0:
                    pools.append(await lab.run(pool, "CreateResourcePool", name=f"p{step}", spec=wanted))
                case 1:
                    await lab.run(pool, "UpdateConfig", name=None, config=wanted)
                case 2:
                    await lab.run(pool, "MoveIntoResourcePool", list=[vm.ref])
                case _ if vm.power_state == "poweredOn":
                    await lab.run(vm, "PowerOffVM_Task")
                case _:
                    await reserve(lab, vm, cpu=chance.choice((0, 10_000, 40_000)))
                    await lab.run(vm, "PowerOnVM_Task")
        except SoapFault as error:
            assert error.kind in ("InsufficientCpuResourcesFault", "InvalidArgument"), error
        for each in pools:
            told = cpu(each)
            fixed = each is root or not each.cpu.expandable
            has = 3 * HOST_MHZ if each is root else each.cpu.reservation
            assert told.reservationUsed + told.unreservedForVm == has if fixed else told.unreservedForVm >= 0
            assert told.reservationUsedForVm <= told.reservationUsed <= 3 * HOST_MHZ


async def test_hosts_that_are_lost_take_their_vms_reservations_with_them(lab):
    root, vm = lab.built.clusters[0].root_pool, lab.built.vms[0]
    await lab.run(vm, "PowerOffVM_Task")
    await reserve(lab, vm, cpu=HOST_MHZ)
    await lab.run(vm, "PowerOnVM_Task")
    await host_life.disconnect(lab.world, vm.host)
    assert cpu(root).maxUsage == cpu(root).unreservedForVm == 2 * HOST_MHZ
