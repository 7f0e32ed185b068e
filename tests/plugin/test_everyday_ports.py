"""The whole way: a network becomes a port group, a VM's port gets its VLAN, its objects and its plug, and all goes."""

from __future__ import annotations

import asyncio

import pytest
from plugin_stand import PluginStand

pytestmark = pytest.mark.looptime


async def test_a_network_becomes_a_port_group_within_a_second(tmp_path):
    async with PluginStand(tmp_path) as stand:
        network = stand.network("blue")
        assert await stand.until(lambda: "blue" in stand.groups()) < 1.0
        group = stand.groups()["blue"]
        assert group.description == f"contrail vn {network}"
        assert group.setting.blocked.value is True and group.setting.vlan.vlanId == 0
        assert group.policy.vlanOverrideAllowed and group.policy.blockOverrideAllowed
        assert group.policy.portConfigResetAtDisconnect
        await stand.settle()
        assert set(stand.groups()) == {"blue"}, "Contrail's own networks get none"


async def test_a_vm_gets_vlan_objects_and_plug_and_its_frames_arrive(tmp_path):
    async with PluginStand(tmp_path) as stand:
        network = stand.network("blue")
        await stand.until(lambda: "blue" in stand.groups())
        await stand.settle()
        before = stand.calls()
        vm = await stand.vm("web", "blue")
        await stand.until(lambda: stand.plugged(vm.host))
        await stand.settle()
        port = stand.port(vm)
        assert stand.is_open(port) and stand.vlan(port) == 1
        ((vmi, plugged),) = stand.plugged(vm.host).items()
        assert (plugged.rx_vlan, plugged.tx_vlan, plugged.mac) == (1, 1, vm.nics[0].mac)
        assert (plugged.vm, plugged.network, plugged.link_up) == (vm.instance_uuid, str(network), True)
        (machine,) = stand.objects("virtual-machine")
        assert (machine.uuid, machine.properties["display_name"]) == (vm.instance_uuid, "web")
        (interface,) = stand.objects("virtual-machine-interface")
        assert interface.uuid == vmi
        (address,) = stand.objects("instance-ip")
        assert plugged.ip == address.properties["instance_ip_address"]
        spent = stand.calls() - before
        assert spent["ReconfigureDVPort_Task"] == 1
        contrail = {name: number for name, number in spent.items() if "create" in name or "read" in name}
        assert sum(contrail.values()) == 4, contrail


async def test_the_time_a_plug_takes_is_ours_alone(tmp_path):
    """A VM on a host without a vRouter waits for it a minute; what is told of plugs is told without that."""
    async with PluginStand(tmp_path) as stand:
        stand.network("blue")
        await stand.until(lambda: "blue" in stand.groups())
        host = stand.vcenter.scenario.hosts()[0]
        await stand.vcenter.vrouters.kill(host.moid)
        await asyncio.sleep(30)
        vm = await stand.vm("waits", "blue", host=0)
        await asyncio.sleep(60)
        assert not stand.plugged(host)
        await stand.vcenter.vrouters.restart(host.moid)
        await stand.until(lambda: stand.plugged(vm.host))
        await stand.settle()
        (took,) = stand.plugin.applier.tally.plug_seconds
        assert took < 30


async def test_nothing_is_written_when_nothing_changed(tmp_path):
    async with PluginStand(tmp_path) as stand:
        stand.network("blue")
        await stand.until(lambda: "blue" in stand.groups())
        for number in range(4):
            await stand.vm(f"vm-{number}", "blue", host=number % 2)
        await stand.settle()
        before, agents = stand.calls(), [stand.plugged(host) for host in stand.vcenter.scenario.hosts()]
        await stand.plugin.resync()
        await stand.settle()
        await stand.crash()
        await stand.resume()
        await stand.settle()
        assert stand.written(before) == {}
        assert agents == [stand.plugged(host) for host in stand.vcenter.scenario.hosts()]
        assert {state.state for state in stand.plugin.controller.ports()} == {"ACTIVE"}


async def test_a_move_keeps_vlan_and_address_and_leaves_nothing_behind(tmp_path):
    async with PluginStand(tmp_path) as stand:
        stand.network("blue")
        await stand.until(lambda: "blue" in stand.groups())
        vm = await stand.vm("web", "blue")
        await stand.settle()
        source, target = stand.vcenter.scenario.hosts()
        before, ((vmi, old),) = stand.calls(), stand.plugged(source).items()
        await stand.vcenter.scenario.move_vm(vm, target)
        await stand.settle()
        assert stand.plugged(source) == {}
        new = stand.plugged(target)[vmi]
        assert (new.rx_vlan, new.ip, new.link_up) == (old.rx_vlan, old.ip, True)
        assert stand.written(before) == {}


async def test_a_vm_that_is_off_keeps_its_place_with_the_link_down(tmp_path):
    async with PluginStand(tmp_path) as stand:
        stand.network("blue")
        await stand.until(lambda: "blue" in stand.groups())
        vm = await stand.vm("web", "blue")
        await stand.settle()
        ((vmi, before),) = stand.plugged(vm.host).items()
        await stand.vcenter.scenario.power_off(vm)
        await stand.settle()
        assert stand.plugged(vm.host)[vmi].link_up is False
        await stand.vcenter.scenario.power_on(vm)
        await stand.settle()
        after = stand.plugged(vm.host)[vmi]
        assert (after.link_up, after.rx_vlan, after.ip) == (True, before.rx_vlan, before.ip)


async def test_a_vm_that_is_deleted_takes_everything_with_it(tmp_path):
    async with PluginStand(tmp_path) as stand:
        stand.network("blue")
        await stand.until(lambda: "blue" in stand.groups())
        vm = await stand.vm("web", "blue")
        await stand.settle()
        host = vm.host
        await stand.vcenter.scenario.delete_vm(vm)
        await stand.until(lambda: not stand.objects("virtual-machine"))
        assert stand.plugged(host) == {}
        for kind in ("virtual-machine-interface", "instance-ip"):
            assert stand.objects(kind) == []
        await stand.settle()
        assert list(stand.plugin.ledger.all()) == []
        assert all(not stand.is_open(port) for port in stand.dvs.ports.ports.values())


async def test_a_network_that_is_deleted_takes_its_port_group_when_it_is_empty(tmp_path):
    async with PluginStand(tmp_path) as stand:
        stand.network("blue")
        stand.network("red", "10.2.0.0/24")
        await stand.until(lambda: len(stand.groups()) == 2)
        vm = await stand.vm("web", "blue")
        await stand.settle()
        stand.contrail.scenario.delete_network("red")
        await stand.until(lambda: set(stand.groups()) == {"blue"})
        await stand.vcenter.scenario.delete_vm(vm)
        await stand.until(lambda: not stand.objects("virtual-machine-interface"))
        stand.contrail.scenario.delete_network("blue")
        await stand.until(lambda: not stand.groups())
        await stand.settle()


async def test_two_networks_of_one_name_and_names_that_vcenter_escapes(tmp_path):
    async with PluginStand(tmp_path) as stand:
        stand.network("blue", project="one")
        stand.network("blue", project="two")
        stand.network("a/b%c", "10.3.0.0/24")
        stand.network("x" * 120, "10.4.0.0/24")
        await stand.until(lambda: len(stand.groups()) == 4)
        before = stand.calls()
        await stand.plugin.resync()
        await stand.settle()
        assert stand.written(before) == {}


async def test_what_a_user_breaks_is_put_right(tmp_path):
    from contrail_vsphere.wire.soap.types import vim

    async with PluginStand(tmp_path) as stand:
        stand.network("blue")
        await stand.until(lambda: "blue" in stand.groups())
        vm = await stand.vm("web", "blue")
        await stand.settle()
        group, port = stand.groups()["blue"], stand.port(vm)
        vlans = vim.dvs.VmwareDistributedVirtualSwitch.VlanIdSpec
        policies = vim.dvs.VmwareDistributedVirtualSwitch.VmwarePortConfigPolicy
        setting = policies(blocked=vim.BoolPolicy(inherited=False, value=False))
        spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
            defaultPortConfig=setting, configVersion=str(group.config_version)
        )
        await stand.admin.run_task(group.ref, "ReconfigureDVPortgroup_Task", spec=spec)
        await stand.until(lambda: group.setting.blocked.value is True)
        setting = policies(vlan=vlans(inherited=False, vlanId=77))
        spec = vim.dvs.DistributedVirtualPort.ConfigSpec(operation="edit", key=port.key, setting=setting)
        await stand.admin.run_task(stand.dvs.ref, "ReconfigureDVPort_Task", port=[spec])
        await stand.until(lambda: stand.vlan(stand.port(vm)) == 1)
        await stand.settle()
