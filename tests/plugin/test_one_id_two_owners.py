"""Ids that are derived from addresses and names, as contrail-vcenter-manager's are, come to more than one owner."""

from __future__ import annotations

import asyncio

import pytest
from plugin_stand import PluginStand
from plugin_worlds import connected, placed

from contrail_vsphere.simulator.vcenter import vm_life
from contrail_vsphere.wire.soap.types import vim

pytestmark = pytest.mark.looptime


async def with_mac(stand, name, mac, *, host=0):
    """A running VM whose card has that address."""
    vm = await stand.vm(name, "blue", host=host, on=False)
    card = vim.vm.device.VirtualVmxnet3(key=vm.nics[0].key, macAddress=mac, addressType="manual")
    spec = vim.vm.ConfigSpec(deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)])
    await vm_life.reconfigure(stand.vcenter.world, vm, spec, user="somebody")
    await stand.vcenter.scenario.power_on(vm)
    return vm


async def test_r15_the_port_file_of_another_vm_s_interface_of_the_same_id_does_not_come_back(tmp_path):
    async with PluginStand(tmp_path, scheme="cvm", linger=0.0) as stand:
        stand.network("blue")
        await stand.until(lambda: "blue" in stand.groups())
        first = await with_mac(stand, "first", "00:50:56:00:00:77")
        await stand.settle()
        before = connected(stand, first)
        host = first.host
        await stand.vcenter.scenario.delete_vm(first)
        await stand.until(lambda: not stand.plugged(host))
        second = await with_mac(stand, "second", "00:50:56:00:00:77")
        await stand.settle()
        plug = connected(stand, second)
        assert plug.id == before.id, "the id goes by the address"
        assert plug.rx_vlan != before.rx_vlan, "the VLAN rests"
        await stand.vcenter.vrouters.restart(host.moid)
        again = stand.plugged(host)[plug.id]
        assert (again.vm, again.rx_vlan) == (second.instance_uuid, plug.rx_vlan), "the file is the second one's"
        await stand.settle()
        assert connected(stand, second).rx_vlan == plug.rx_vlan


@pytest.mark.parametrize("scheme", ["native", "cvm"])
async def test_b7_a_new_vm_of_a_renamed_one_s_name_gets_an_address_of_its_own(tmp_path, scheme):
    async with PluginStand(tmp_path, scheme=scheme) as stand:
        (old,) = await placed(stand, "web")
        kept = connected(stand, old).ip
        await stand.vcenter.scenario.rename_vm(old, "web-old")
        new = await stand.vm("web", "blue", host=1)
        twice = await stand.vm("twice", "blue", "blue", host=1)
        await stand.settle()
        await asyncio.sleep(5)
        plugs = [connected(stand, old), connected(stand, new), *stand.plugged(twice.host).values()]
        assert connected(stand, old).ip == kept
        assert len({plug.ip for plug in plugs}) == 4 == len({plug.id for plug in plugs})
        held = {one.properties["instance_ip_address"] for one in stand.objects("instance-ip")}
        assert held == {plug.ip for plug in plugs}
