"""Where vCenter takes writes to ports of VMs that are off, and loses them: nothing stays for ever or is shared."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from plugin_stand import PluginStand
from plugin_worlds import connected, placed

from contrail_vsphere.simulator.core.faults import FaultRule

pytestmark = pytest.mark.looptime

FEW = frozenset(range(4, 4095))
"""All but three VLANs are somebody else's."""


def stand_of(directory, **options):
    return PluginStand(directory, switches={"write_while_off": "lost"}, **options)


async def test_a_template_leaves_contrail_although_its_port_cannot_be_closed(tmp_path):
    async with stand_of(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        port = stand.port(vm)
        await stand.vcenter.scenario.power_off(vm)
        await stand.settle()
        await stand.admin.call(vm.ref, "MarkAsTemplate")
        await asyncio.sleep(100)
        await stand.settle()
        assert stand.is_open(stand.dvs.ports.ports[port.key]), "the simulated vCenter lost the write"
        for kind in ("virtual-machine-interface", "instance-ip", "virtual-machine"):
            assert not stand.objects(kind)
        assert not stand.plugged(vm.host)
        (state,) = stand.plugin.controller.ports()
        assert (state.state, state.reason) == (
            "DRAINING",
            "its port keeps VLAN 1 until the VM runs or the card is gone",
        )
        before = stand.calls()
        await asyncio.sleep(900)
        again = stand.written(before)
        assert 0 < again.pop("ReconfigureDVPort_Task") <= 6, "tried with each resync, and no oftener"
        assert not again

        pool = vm.host.compute_resource.root_pool
        await stand.admin.call(vm.ref, "MarkAsVirtualMachine", pool=pool.ref, host=vm.host.ref)
        await stand.vcenter.scenario.power_on(vm)
        await stand.settle()
        connected(stand, vm)
        await stand.vcenter.scenario.power_off(vm)
        await stand.admin.call(vm.ref, "MarkAsTemplate")
        await asyncio.sleep(60)
        await stand.vcenter.scenario.delete_vm(vm)
        await asyncio.sleep(60)
        await stand.settle()
        assert stand.vlan(stand.dvs.ports.ports[port.key]) is None
        assert not list(stand.plugin.ledger.all())


async def test_the_vlan_of_a_template_s_port_is_nobody_else_s(tmp_path):
    async with stand_of(tmp_path, reserved_vlans=FEW, quarantine=5.0, linger=0.0) as stand:
        vm, other = await placed(stand, "web", "other")
        held = stand.vlan(stand.port(vm))
        await stand.vcenter.scenario.power_off(vm)
        await stand.settle()
        await stand.admin.call(vm.ref, "MarkAsTemplate")
        await asyncio.sleep(200)
        await stand.crash()
        await stand.resume()
        new = [await stand.vm(f"new-{number}", "blue") for number in range(3)]
        await asyncio.sleep(60)
        open_here = [stand.vlan(stand.port(each)) for each in new if stand.is_open(stand.port(each))]
        assert sorted([held, *open_here]) == [1, 2, 3], "one of the new VMs waits"
        connected(stand, other)
        pool = vm.host.compute_resource.root_pool
        await stand.admin.call(vm.ref, "MarkAsVirtualMachine", pool=pool.ref, host=vm.host.ref)
        await stand.vcenter.scenario.power_on(vm)
        await asyncio.sleep(10)
        connected(stand, vm)
        stand.check()


async def test_a_write_that_is_lost_is_made_when_the_vm_runs(tmp_path):
    async with stand_of(tmp_path, reserved_vlans=FEW) as stand:
        vm, other = await placed(stand, "web", "other")
        await stand.vcenter.scenario.power_off(vm)
        await stand.settle()
        await stand.vcenter.scenario.move_vm(vm, other.host)
        with stand.vcenter.world.commit("somebody") as tx:
            port = stand.port(vm)
            override = stand.port(other).override
            stand.dvs.ports.put(tx, replace(port, override=override))
        await stand.plugin.resync()
        await asyncio.sleep(100)
        await stand.settle()
        (state,) = (each for each in stand.plugin.controller.ports() if each.vm == "web")
        assert state.state == "ACTIVE_OFF"
        assert not [entry for entry in stand.health.items() if entry.source == "vm" and entry.state == "failing"]
        await stand.vcenter.scenario.power_on(vm)
        await asyncio.sleep(5)
        connected(stand, vm)
        connected(stand, other)


async def test_the_port_of_a_network_that_is_gone_is_closed_although_the_first_writes_fail(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        stand.vcenter.scenario.add_fault(FaultRule(method="ReconfigureDVPort_Task", http_status=503, times=4))
        for kind in ("instance-ip", "virtual-machine-interface"):
            for one in stand.objects(kind):
                stand.contrail.scenario.delete(one)
        stand.contrail.scenario.delete_network("blue")
        await stand.until(lambda: not stand.is_open(stand.port(vm)), seconds=60)
        await asyncio.sleep(60)
        assert not stand.plugged(vm.host)
        assert stand.vlan(stand.port(vm)) is None
