"""vcenter-as-compute: OpenStack makes networks, port groups and interfaces; Contrail is only read."""

import asyncio
import sys
from pathlib import Path
from uuid import uuid4

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "plugin_migration"))
from predecessors import FormerSite

from contrail_vsphere.app.plugin import options
from contrail_vsphere.config.settings import PluginSettings

pytestmark = pytest.mark.looptime
MODE = "vcenter-as-compute"


class Cloud(FormerSite):
    """What Nova and Neutron do."""

    def __init__(self, directory, **fields):
        super().__init__(directory, mode=MODE, linger=2.0, **fields)

    async def neutron_network(self, name="red", *, prefix="10.1.0.0/24", override=True):
        network = self.contrail.scenario.create_network(name, prefix, project="admin")
        group = f"{name}-{network.uuid}"
        await self.left_group(group, override=override)
        return network, group

    def neutron_port(self, vm, network):
        return self.left_objects(vm, network, creator=None)

    def served(self, vm):
        ports = self.ports(vm)
        plugged = [each for each in self.plugged(vm.host).values() if each.mac == vm.nics[0].mac]
        return self.is_open(ports[0]) and [each.rx_vlan for each in plugged] == [self.vlan(ports[0])]

    def contrail_writes(self, before):
        return {name: number for name, number in self.written(before).items() if name.startswith("contrail ")}


async def test_ports_get_vlans_and_plugs_and_contrail_is_only_read(tmp_path):
    async with Cloud(tmp_path / "cloud") as cloud:
        network, group = await cloud.neutron_network()
        vms = [await cloud.vm(f"vm-{number}", group, host=number % 2) for number in range(4)]
        before = cloud.calls()
        await asyncio.sleep(30)
        assert not any(cloud.vlan(cloud.port(vm)) for vm in vms), "there is no interface yet"
        known = [cloud.neutron_port(vm, network)[1].uuid for vm in vms]
        before_objects = len(cloud.contrail.scenario.all("virtual-machine-interface"))
        await cloud.until(lambda: all(cloud.served(vm) for vm in vms))
        assert sorted(vmi for host in cloud.vcenter.scenario.hosts() for vmi in cloud.plugged(host)) == sorted(known)
        cloud.check()

        await cloud.vcenter.scenario.move_vm(vms[0], vms[1].host)
        await cloud.until(lambda: cloud.served(vms[0]))
        await cloud.vcenter.scenario.delete_vm(vms[3])
        await cloud.until(lambda: known[3] not in cloud.plugged(vms[1].host))
        await asyncio.sleep(120)
        assert len(cloud.contrail.scenario.all("virtual-machine-interface")) == before_objects
        assert cloud.contrail_writes(before) == {}
        assert not set(cloud.written(before)) - {"ReconfigureDVPort_Task"}
        assert not cloud.groups(), "no port group bears our mark"


async def test_a_new_interface_for_the_same_card_takes_the_place_of_the_old_one(tmp_path):
    async with Cloud(tmp_path / "cloud") as cloud:
        network, group = await cloud.neutron_network()
        vm = await cloud.vm("vm", group)
        first = cloud.neutron_port(vm, network)
        await cloud.until(lambda: cloud.served(vm))
        for gone in reversed(first):
            cloud.contrail.scenario.delete(gone)
        await cloud.until(lambda: not cloud.plugged(vm.host))
        await cloud.until(lambda: not cloud.is_open(cloud.port(vm)))
        _, second, _ = cloud.neutron_port(vm, network)
        await cloud.until(lambda: set(cloud.plugged(vm.host)) == {second.uuid})
        assert cloud.served(vm)


async def test_a_port_group_that_allows_no_vlan_is_named_and_changed_only_if_we_may(tmp_path):
    async with Cloud(tmp_path / "cloud") as cloud:
        network, group = await cloud.neutron_network(override=False)
        before = cloud.calls()
        await asyncio.sleep(60)
        assert "VLAN and block override" in "".join(cloud.plugin.controller.pending_deletes.values())
        assert cloud.written(before) == {}
        await cloud.crash()
        cloud.options = options(PluginSettings(mode=MODE, adopt_existing=True))
        await cloud.resume()
        vm = await cloud.vm("vm", group)
        cloud.neutron_port(vm, network)
        await cloud.until(lambda: cloud.served(vm))
        assert not cloud.groups()
        assert cloud.group(group).setting.blocked.value is False


async def test_a_name_that_ends_in_somebody_elses_uuid_means_nothing(tmp_path):
    async with Cloud(tmp_path / "cloud") as cloud:
        await cloud.neutron_network()
        other = f"backup-{uuid4()}"
        await cloud.left_group(other)
        vm = await cloud.vm("vm", other)
        await cloud.left_vlan(vm, 77)
        before = cloud.calls()
        await asyncio.sleep(400)
        assert cloud.written(before) == {}
        assert cloud.vlan(cloud.port(vm)) == 77


async def test_vms_of_clusters_that_nova_does_not_use_are_left_alone_whatever_they_are_called(tmp_path):
    async with Cloud(tmp_path / "cloud") as cloud:
        network, group = await cloud.neutron_network()
        compute, other = cloud.vcenter.scenario.hosts()
        everyone = cloud.directory_of_hosts
        await cloud.crash()
        cloud.directory_of_hosts = lambda: [each for each in everyone() if each.host == compute.moid]
        await cloud.resume()
        instance = await cloud.vm("5b1a9c3e-0000-4000-8000-000000000001", group, host=0)
        with cloud.vcenter.world.commit("nova") as tx:
            tx.set(instance, annotation="name:web-1\nuserid:7\nprojectname:--oper=delete\n")
        stranger = await cloud.vm("web-1", group, host=1)
        for vm in (instance, stranger):
            cloud.neutron_port(vm, network)
        await cloud.until(lambda: cloud.served(instance))
        before = cloud.calls()
        await asyncio.sleep(400)
        assert cloud.vlan(cloud.port(stranger)) is None
        assert not cloud.plugged(other)
        assert cloud.written(before) == {}
        (plug,) = cloud.plugged(compute).values()
        assert plug.vm == instance.instance_uuid
        assert any(each.state == "WAIT_HOST" for each in cloud.plugin.controller.ports())

        await cloud.vcenter.scenario.move_vm(instance, other)
        await cloud.until(lambda: not cloud.plugged(compute))
        await cloud.until(lambda: not cloud.is_open(cloud.port(instance)))
        assert cloud.contrail_writes(before) == {}
