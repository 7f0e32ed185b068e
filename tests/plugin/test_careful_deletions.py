"""Before something goes: is it really gone, is it ours, and who else holds it?"""

from __future__ import annotations

import asyncio

import pytest
from plugin_stand import PluginStand
from plugin_worlds import connected, placed

from contrail_vsphere.model.ids import VmId
from contrail_vsphere.model.inventory import Change

pytestmark = pytest.mark.looptime
KINDS = ("virtual-machine", "virtual-machine-interface", "instance-ip")


async def test_an_inventory_that_errs_deletes_nothing(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        known = stand.client.inventory.vms[VmId(vm.moid)]
        stand.client.inventory.fold(Change(known, None))
        await asyncio.sleep(120)
        assert [len(stand.objects(kind)) for kind in KINDS] == [1, 1, 1]
        assert any("believed gone" in entry.reason for entry in stand.health.bad())
        stand.client.inventory.fold(Change(None, known))
        await asyncio.sleep(90)
        await stand.settle()
        connected(stand, vm)
        await stand.vcenter.scenario.delete_vm(vm)
        await stand.until(lambda: not any(stand.objects(kind) for kind in KINDS))


async def test_what_somebody_attached_stays_and_is_named(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        (vmi,) = stand.objects("virtual-machine-interface")
        network = stand.contrail.scenario.find("virtual-network", "blue")
        theirs = stand.contrail.scenario.create(
            "instance-ip",
            ("of-a-service",),
            instance_ip_address="10.1.0.200",
            id_perms={"enable": True, "creator": "somebody"},
            virtual_network_refs=[{"to": list(network.fq_name), "uuid": network.uuid}],
            virtual_machine_interface_refs=[{"to": list(vmi.fq_name), "uuid": vmi.uuid}],
        )
        await stand.settle()
        await stand.vcenter.scenario.delete_vm(vm)
        await asyncio.sleep(60)
        assert stand.contrail.scenario.find("instance-ip", theirs.uuid)
        assert [len(stand.objects(kind)) for kind in KINDS] == [1, 1, 0]
        assert not stand.plugged(stand.vcenter.scenario.hosts()[0])
        assert any("somebody" in port.reason for port in stand.plugin.controller.ports())
        stand.contrail.scenario.delete(theirs)
        await stand.until(lambda: not any(stand.objects(kind) for kind in KINDS), seconds=330)


async def test_a_vlan_rests_across_a_restart(tmp_path):
    async with PluginStand(tmp_path, hosts=1, reserved_vlans=frozenset(range(3, 4095)), quarantine=300.0) as stand:
        stand.network("blue")
        await stand.until(lambda: "blue" in stand.groups())
        vm = await stand.vm("web", "blue")
        await stand.settle()
        assert connected(stand, vm).rx_vlan == 1
        await stand.vcenter.scenario.delete_vm(vm)
        await stand.until(lambda: not stand.objects("virtual-machine"))
        await stand.crash()
        await stand.resume()
        one, two = await stand.vm("one", "blue"), await stand.vm("two", "blue")
        await asyncio.sleep(100)
        assert sorted(stand.is_open(stand.port(each)) for each in (one, two)) == [False, True], "one VLAN rests"
        await stand.until(lambda: stand.is_open(stand.port(two)) and stand.is_open(stand.port(one)), seconds=1200)
        await asyncio.sleep(5)
        assert {connected(stand, each).rx_vlan for each in (one, two)} == {1, 2}
