"""Sites of more than one datacenter, and ContrailVMs among the VMs."""

from __future__ import annotations

import asyncio

import pytest
from plugin_stand import MARK, PluginStand
from plugin_worlds import connected, placed

from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
    DistributedVirtualPortgroup,
    DistributedVirtualSwitch,
)
from contrail_vsphere.simulator.vcenter.virtual_machine import ManagedBy
from contrail_vsphere.vcenter_plugin import controller, port_watch
from contrail_vsphere.wire.soap.types import vim

pytestmark = pytest.mark.looptime


async def test_s13_two_datacenters_with_a_switch_each(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        root = stand.admin.content.rootFolder
        there = await stand.admin.call(root, "CreateDatacenter", name="DC1")
        folders = await stand.admin.read(there, "networkFolder", "hostFolder")
        spec = vim.cluster.ConfigSpecEx()
        await stand.admin.call(folders["hostFolder"], "CreateClusterEx", name="there", spec=spec)
        host = await stand.vcenter.scenario.add_host("esx-99", "there")
        await stand.vcenter.vrouters.add(host.moid, controllers=("127.0.0.1",), connect_after=0.0)
        members = [vim.dvs.HostMember.ConfigSpec(operation="add", host=host.ref)]
        config = vim.dvs.VmwareDistributedVirtualSwitch.ConfigSpec(name="dvs-there", host=members)
        create = vim.DistributedVirtualSwitch.CreateSpec(configSpec=config)
        await stand.admin.run_task(folders["networkFolder"], "CreateDVS_Task", spec=create)
        switches = list(stand.vcenter.world.of_type(DistributedVirtualSwitch))
        assert len(switches) == 2

        def names(dvs):
            found = stand.vcenter.world.of_type(DistributedVirtualPortgroup)
            return {g.name for g in found if g.dvs is dvs and any(blob.key == MARK for blob in g.vendor)}

        await stand.until(lambda: all(names(dvs) == {"blue"} for dvs in switches))
        before = stand.calls()
        await stand.plugin.resync()
        await asyncio.sleep(2)
        await stand.settle()
        assert stand.written(before) == {}, "one name in two datacenters is no conflict"
        connected(stand, vm)

        # A VM there is served by the VRouterAgent of its host, on a port of that switch.
        (dvs,) = (each for each in switches if each is not stand.dvs)
        far = await stand.vcenter.scenario.create_vm("far", host=host, nics=0, power_on=False)
        groups = stand.vcenter.world.of_type(DistributedVirtualPortgroup)
        group = next(each for each in groups if each.dvs is dvs and each.name == "blue")
        stand.group = lambda _name: group
        await stand.change(far, ("add", -1, "blue"))
        del stand.group
        await stand.vcenter.scenario.power_on(far)
        await stand.until(lambda: stand.plugged(host))
        await stand.settle()
        (port,) = (each for each in dvs.ports.ports.values() if each.vm is far)
        (plug,) = stand.plugged(host).values()
        assert stand.is_open(port)
        assert (plug.vm, plug.rx_vlan) == (far.instance_uuid, stand.vlan(port))
        assert plug.network == connected(stand, vm).network
        assert plug.ip != connected(stand, vm).ip

        stand.network("red", "10.2.0.0/24")
        await stand.until(lambda: all(names(dvs) == {"blue", "red"} for dvs in switches))


async def test_s14_a_contrailvm_is_known_by_who_manages_it_and_never_by_its_name(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (tenant,) = await placed(stand, "contrailVM-7")
        own = await stand.vm("just a name", "blue", on=False)
        with stand.vcenter.world.commit("EAM") as tx:
            tx.set(own, managed_by=ManagedBy("com.vmware.vim.eam", "Agent"))
        await stand.vcenter.scenario.power_on(own)
        await asyncio.sleep(15)
        await stand.settle()
        connected(stand, tenant)
        assert not stand.is_open(stand.port(own))
        assert len(stand.objects("virtual-machine-interface")) == 1
        assert [plug.vm for plug in stand.plugged(tenant.host).values()] == [tenant.instance_uuid]


async def test_sites_of_more_vms_than_there_are_passes_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(controller, "TOGETHER", 2)
    async with PluginStand(tmp_path) as stand:
        stand.network("blue")
        await stand.until(lambda: stand.group("blue"))
        await stand.crash()
        vms = [await stand.vm(f"web-{number}", "blue") for number in range(7)]
        await stand.resume()
        await stand.until(lambda: stand.plugin.controller.has_looked)
        await stand.settle()
        for vm in vms:
            connected(stand, vm)
        for vm in vms:  # behind its back, and nothing tells of it
            stand.vcenter.vrouters.agents[vm.host.moid].table.delete(next(iter(stand.plugged(vm.host))))
        await stand.crash()
        await stand.resume()
        await stand.settle()
        for vm in vms:
            connected(stand, vm)


async def test_the_ports_of_a_large_switch_are_read_in_portions(tmp_path, monkeypatch):
    monkeypatch.setattr(port_watch, "PORTS_PER_READ", 2)
    async with PluginStand(tmp_path) as stand:
        here, reads = [], stand.vcenter.calls
        for network, prefix in (("blue", "10.1.0.0/24"), ("green", "10.2.0.0/24"), ("red", "10.3.0.0/24")):
            stand.network(network, prefix)
            await stand.until(lambda name=network: name in stand.groups())
            here += await placed(stand, f"{network}-a", f"{network}-b", network=network)
        await stand.crash()
        before, asked = stand.calls(), reads["FetchDVPorts"]
        await stand.resume()
        assert reads["FetchDVPorts"] - asked == 3, "two ports are in each port group"
        await stand.settle()
        assert stand.written(before) == {}, "all their VLANs are known"
        for vm in here:
            connected(stand, vm)
