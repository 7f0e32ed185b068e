"""Rows of the race catalogue about VMs on their way: prepared for, failed, in the middle of something else."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from plugin_stand import PluginStand
from plugin_worlds import connected, placed

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter import vm_life, vm_move
from contrail_vsphere.simulator.vcenter.datastore import Datastore
from contrail_vsphere.wire.soap.types import vim

pytestmark = pytest.mark.looptime


def slowly(stand, *, relocate=8.0):
    stand.vcenter.world.services[Timing] = replace(Timing.instant(), relocate=relocate)


async def test_a_port_is_plugged_where_its_vm_goes_before_it_arrives(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        source, target = stand.vcenter.scenario.hosts()
        here = connected(stand, vm)
        before = stand.calls()
        slowly(stand)
        move = asyncio.create_task(stand.vcenter.scenario.move_vm(vm, target))
        await stand.until(lambda: stand.plugged(target), seconds=4)
        (there,) = stand.plugged(target).values()
        assert vm.host is source, "it is still on its way"
        assert (there.rx_vlan, there.link_up) == (here.rx_vlan, False)
        assert connected(stand, vm, also=(target,)).link_up, "it serves where the VM is"
        await move
        assert await stand.until(lambda: stand.plugged(target)[here.id].link_up) < 1
        await stand.settle()
        assert connected(stand, vm).rx_vlan == here.rx_vlan
        assert stand.written(before) == {}, "nothing but the two agents was told"


async def test_r7_what_was_prepared_for_a_move_that_fails_is_taken_away(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        source, target = stand.vcenter.scenario.hosts()
        slowly(stand)
        move = asyncio.create_task(stand.vcenter.scenario.move_vm(vm, target))
        await stand.until(lambda: stand.plugged(target), seconds=4)
        await stand.vcenter.scenario.disconnect_host(target)
        assert (await asyncio.gather(move, return_exceptions=True))[0] is not None
        await stand.until(lambda: not stand.plugged(target), seconds=10)
        await stand.vcenter.scenario.reconnect_host(target)
        await stand.settle()
        assert connected(stand, vm) and vm.host is source
        assert set(stand.plugin.vlans.of(next(stand.plugin.vlans.ports()))) == {source.moid}


async def test_a_move_that_is_never_heard_to_end_is_forgotten(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        target = stand.vcenter.scenario.hosts()[1]
        slowly(stand, relocate=3000.0)
        move = asyncio.create_task(stand.vcenter.scenario.move_vm(vm, target))
        await stand.until(lambda: stand.plugged(target), seconds=4)
        await stand.until(lambda: not stand.plugged(target), seconds=700)
        connected(stand, vm)
        await move
        await asyncio.sleep(5)
        await stand.settle()
        connected(stand, vm)


async def test_r5_moves_that_meet_their_vlan_at_the_destination_are_never_open_beside_it(tmp_path):
    reserved = frozenset(range(5, 4095))
    async with PluginStand(tmp_path, reserved_vlans=reserved, quarantine=5.0) as stand:
        vms = await placed(stand, *(f"vm-{number}" for number in range(6)))
        for gone in (vms.pop(2), vms.pop(2)):
            await stand.vcenter.scenario.delete_vm(gone)
        await asyncio.sleep(30)
        assert stand.vlan(stand.port(vms[0])) == stand.vlan(stand.port(vms[3])), "one VLAN on two hosts"
        assert {stand.vlan(stand.port(vm)) for vm in vms} <= {1, 2, 3, 4}
        slowly(stand, relocate=2.0)
        here, there = stand.vcenter.scenario.hosts()
        mine = [vm for vm in vms if vm.host is here]
        seen = []
        stand.vcenter.world.observe(lambda _commit: seen.append(shared(stand)))
        await stand.vcenter.scenario.move_vm(mine[0], there)
        await asyncio.sleep(30)
        await stand.settle()
        for vm in vms:
            connected(stand, vm)
        assert not any(seen), "it had another VLAN before it arrived"


async def crowded(stand, *, here, there):
    """Running VMs so that no VLAN is free on both hosts: ``here`` keeps 1 and 2, ``there`` 1, 3 and 4."""
    vms = await placed(stand, *(f"vm-{number}" for number in range(8)))
    stay = {}
    for vm in vms:
        vlan = stand.vlan(stand.port(vm))
        stay[vm] = vlan in ((1, 2) if vm.host is here else (1, 3, 4))
    for vm in [each for each in vms if not stay[each]]:
        await stand.vcenter.scenario.delete_vm(vm)
    await asyncio.sleep(30)
    return [vm for vm in vms if stay[vm]]


@pytest.mark.parametrize("fails", [False, True])
async def test_r5_a_port_without_a_vlan_on_both_hosts_travels_closed(tmp_path, fails):
    reserved = frozenset(range(5, 4095))
    async with PluginStand(tmp_path, reserved_vlans=reserved, quarantine=5.0) as stand:
        here, there = stand.vcenter.scenario.hosts()
        vms = await crowded(stand, here=here, there=there)
        (mover,) = [vm for vm in vms if vm.host is here and stand.vlan(stand.port(vm)) == 1]
        (filler,) = [vm for vm in vms if vm.host is here and vm is not mover]
        (twin,) = [vm for vm in vms if vm.host is there and stand.vlan(stand.port(vm)) == 1]
        await stand.carry()
        # Here 3 and 4 are free, there only 2: whatever is free on one host is taken on the other.
        slowly(stand, relocate=6.0)
        shown, closed = [], []

        def look(_commit):
            shown.extend(shared(stand))
            closed.append(not stand.is_open(stand.port(mover)))

        stand.vcenter.world.observe(look)
        move = asyncio.create_task(stand.vcenter.scenario.move_vm(mover, there))
        await stand.until(lambda: not stand.is_open(stand.port(mover)), seconds=3)
        assert mover.host is here, "before it leaves"
        assert not stand.frame_arrives(mover, filler)
        if fails:
            await stand.vcenter.scenario.disconnect_host(there)
        await asyncio.gather(move, return_exceptions=True)
        if fails:
            await stand.vcenter.scenario.reconnect_host(there)
        await stand.until(lambda: stand.is_open(stand.port(mover)), seconds=20)
        await stand.settle()
        assert mover.host is (here if fails else there)
        assert stand.vlan(stand.port(mover)) == (1 if fails else 2)
        for vm in (mover, filler, twin):
            connected(stand, vm)
        assert any(closed)
        assert shown == [], "it was never open in the other port's VLAN"


def shared(stand):
    """VLANs that two open ports of running VMs have on one host."""
    used, found = set(), []
    for port in stand.dvs.ports.ports.values():
        if port.vm is not None and stand.is_open(port) and port.vm.power_state == "poweredOn":
            place = (port.vm.host, stand.vlan(port))
            found += [place] if place in used else []
            used.add(place)
    return found


async def test_r8_a_storage_vmotion_with_names_of_files_changes_nothing(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        before, plug = stand.calls(), connected(stand, vm)
        slowly(stand)
        other = next(
            (each for each in stand.vcenter.world.of_type(Datastore) if each not in vm.datastores), vm.datastores[0]
        )
        spec = vim.vm.RelocateSpec(datastore=other.ref)
        move = asyncio.create_task(stand.admin.run_task(vm.ref, "RelocateVM_Task", spec=spec))
        await asyncio.sleep(2)
        with stand.vcenter.world.commit("vpxd") as tx:
            tx.set(vm, name="/vmfs/volumes/5f/web/web.vmx")
        await asyncio.sleep(2)
        with stand.vcenter.world.commit("vpxd") as tx:
            tx.set(vm, name="web")
        await move
        await stand.settle()
        assert connected(stand, vm) == plug
        spent = stand.written(before)
        assert set(spent) <= {"contrail update virtual-machine"}, "a name may follow; nothing else moves"
        (machine,) = stand.objects("virtual-machine")
        assert machine.properties["display_name"] == "web"


async def test_r10_a_vm_that_is_deleted_while_it_moves_leaves_nothing(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        target = stand.vcenter.scenario.hosts()[1]
        slowly(stand)
        move = asyncio.create_task(stand.vcenter.scenario.move_vm(vm, target))
        await stand.until(lambda: stand.plugged(target), seconds=4)
        with stand.vcenter.world.commit("vpxd") as tx:
            tx.set(vm, power_state="poweredOff", busy_chain=0)
        vm_life.unregister(stand.vcenter.world, vm)
        await asyncio.gather(move, return_exceptions=True)
        await stand.until(lambda: not stand.objects("virtual-machine"))
        await stand.settle()
        assert not any(stand.plugged(host) for host in stand.vcenter.scenario.hosts())
        assert not list(stand.plugin.vlans.ports())


async def test_r6_a_card_that_goes_to_another_network_while_its_vm_moves(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        stand.network("red", "10.2.0.0/24")
        await stand.until(lambda: "red" in stand.groups())
        slowly(stand)
        target = stand.vcenter.scenario.hosts()[1]
        key = vm.nics[0].key
        move = asyncio.create_task(vm_move.migrate_by_drs(stand.vcenter.world, vm, target))
        await stand.until(lambda: stand.plugged(target), seconds=4)
        await move
        await stand.change(vm, ("edit", key, "red"))
        await stand.settle()
        assert connected(stand, vm).network == stand.contrail.scenario.find("virtual-network", "red").uuid
