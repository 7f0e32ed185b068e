"""Two vCenters under one Contrail: every network in both, and neither plugin touches what is the other's."""

import asyncio

import pytest
from plugin_stand import PluginStand

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.simulator.vcenter.switches import Switches
from contrail_vsphere.vsphere.vcenter import VCenter

pytestmark = pytest.mark.looptime


class Beside(PluginStand):
    """A second vCenter with a plugin of its own, under the first one's Contrail."""

    def __init__(self, directory, first, **options):
        super().__init__(directory, **options)
        self.first = first
        self.vcenter = VCenterSimulator(timing=Timing.instant(), hosts=2, vms=0, guests=False, seed=99)

    async def __aenter__(self):
        self._origin = asyncio.get_running_loop().time()
        self.contrail = self.first.contrail
        await self.vcenter.start()
        Switches().install(self.vcenter.world)
        self.vcenter.vrouters.control_node = self.contrail.control_node
        for host in self.vcenter.scenario.hosts():
            await self.vcenter.vrouters.add(host.moid, controllers=("127.0.0.1",), connect_after=0.0)
        await asyncio.sleep(1)
        self.admin = VCenter(*self._access())
        await self.admin.__aenter__()
        await self.resume()
        return self

    async def __aexit__(self, *_):
        await self.crash()
        await self.admin.close()
        await self.vcenter.vrouters.stop()
        await self.vcenter.stop()


async def test_each_serves_its_own_vms_and_deletes_nothing_of_the_other(tmp_path):
    async with PluginStand(tmp_path / "one", linger=1.0) as one, Beside(tmp_path / "two", one, linger=1.0) as two:
        assert one.client.about.instanceUuid != two.client.about.instanceUuid
        one.network("red")
        await one.until(lambda: "red" in one.groups() and "red" in two.groups())
        here = [await one.vm(f"vm-{number}", "red") for number in range(3)]
        there = [await two.vm(f"vm-{number}", "red") for number in range(3)]
        await one.until(lambda: all(one.is_open(one.port(vm)) for vm in here))
        await two.until(lambda: all(two.is_open(two.port(vm)) for vm in there))
        await one.settle()
        await two.settle()
        assert len(one.objects("virtual-machine")) == len(one.objects("virtual-machine-interface")) == 6
        addresses = {each.properties["instance_ip_address"] for each in one.objects("instance-ip")}
        assert len(addresses) == 6

        await one.vcenter.scenario.delete_vm(here[0])
        await one.crash()
        await two.plugin.resync()
        await asyncio.sleep(900)
        assert len(one.objects("virtual-machine")) == 6, "of the one whose plugin is away nothing is deleted"
        await one.resume()
        await one.until(lambda: len(one.objects("virtual-machine")) == 5)
        await asyncio.sleep(400)
        assert len(one.objects("virtual-machine-interface")) == 5
        assert all(two.is_open(two.port(vm)) for vm in there)
        one.check()
        two.check()


async def test_r12_a_vm_that_goes_to_the_other_vcenter_is_served_there_and_leaves_nothing_behind(tmp_path):
    async with PluginStand(tmp_path / "one", linger=1.0) as one, Beside(tmp_path / "two", one, linger=1.0) as two:
        one.network("red")
        await one.until(lambda: "red" in one.groups() and "red" in two.groups())
        vm = await one.vm("web", "red")
        await one.settle()
        (before,) = one.plugged(vm.host).values()

        # As a vMotion between vCenters does it: the VM is in both for a moment, under one instance UUID.
        there = await two.vm("web", "red", on=False)
        with two.vcenter.world.commit("vpxd") as tx:
            tx.set(there, instance_uuid=vm.instance_uuid)
        await two.vcenter.scenario.power_on(there)
        await two.until(lambda: two.plugged(there.host) and two.is_open(two.port(there)))
        await asyncio.sleep(60)
        assert dict(one.plugged(vm.host)) == {before.id: before}, "the first one serves it as long as it is there"
        assert len(one.objects("virtual-machine")) == 1, "one VM, with an interface for each place"

        source = vm.host
        await one.vcenter.scenario.delete_vm(vm)
        await one.until(lambda: not one.plugged(source))
        await one.until(lambda: len(one.objects("virtual-machine-interface")) == 1, seconds=400)
        await asyncio.sleep(120)
        (machine,) = two.objects("virtual-machine")
        assert machine.uuid == there.instance_uuid
        (plug,) = two.plugged(there.host).values()
        assert (plug.vm, plug.rx_vlan) == (there.instance_uuid, two.vlan(two.port(there)))
        assert [one.uuid for one in two.objects("virtual-machine-interface")] == [plug.id]
        assert len(two.objects("instance-ip")) == 1

        await two.vcenter.scenario.delete_vm(there)
        await two.until(lambda: not two.objects("virtual-machine"), seconds=900)
        assert not two.objects("virtual-machine-interface") + two.objects("instance-ip")
