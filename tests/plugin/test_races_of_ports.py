"""Rows of the race catalogue about ports, agents and Contrail: what others do to them at the worst moment."""

from __future__ import annotations

import asyncio
import shutil

import pytest
from plugin_stand import PluginStand
from plugin_worlds import connected, placed

from contrail_vsphere.engine.leader import AlwaysLeader
from contrail_vsphere.model.errors import Conflict
from contrail_vsphere.simulator.core.faults import FaultRule
from contrail_vsphere.simulator.vcenter import vm_life
from contrail_vsphere.simulator.vrouter.ports import AgentAborts, PortTable
from contrail_vsphere.vcenter_plugin.audit import audit
from contrail_vsphere.wire.soap.types import vim

pytestmark = pytest.mark.looptime


async def test_r11_clones_with_the_same_mac_address_are_served_and_reported(tmp_path):
    async with PluginStand(tmp_path) as stand:
        one, two = await placed(stand, "one", "two")
        card = vim.vm.device.VirtualVmxnet3(key=two.nics[0].key, macAddress=one.nics[0].mac, addressType="manual")
        spec = vim.vm.ConfigSpec(deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)])
        await stand.vcenter.scenario.power_off(two)
        await vm_life.reconfigure(stand.vcenter.world, two, spec, user="somebody")
        await stand.vcenter.scenario.power_on(two)
        await stand.settle()
        await asyncio.sleep(2)
        assert one.nics[0].mac == two.nics[0].mac
        first, second = connected(stand, one), connected(stand, two)
        assert (first.id, first.ip, first.rx_vlan) != (second.id, second.ip, second.rx_vlan)
        assert first.mac == second.mac == one.nics[0].mac
        assert [finding.what for finding in audit(stand.plugin.observed)] == ["mac-twice"]
        await stand.plugin.resync()
        await stand.settle()
        assert any("MAC address" in port.reason for port in stand.plugin.controller.ports())


async def test_r15_a_stale_port_file_does_not_outlive_the_next_look(tmp_path):
    async with PluginStand(tmp_path) as stand:
        vm, other = await placed(stand, "web", "other")
        host = vm.host
        table = stand.vcenter.vrouters.agents[host.moid].table
        mine = connected(stand, vm)
        # The file of an interface is not overwritten: after "same id, other values" the old one comes back.
        table.files[mine.id] = table.files[mine.id].replace(f'"rx-vlan-id": {mine.rx_vlan}', '"rx-vlan-id": 99')
        table.files[mine.id] = table.files[mine.id].replace(f'"tx-vlan-id": {mine.rx_vlan}', '"tx-vlan-id": 99')
        assert '"rx-vlan-id": 99' in table.files[mine.id]
        await stand.vcenter.vrouters.restart(host.moid)
        assert stand.plugged(host)[mine.id].rx_vlan == 99
        await stand.until(lambda: stand.plugged(host)[mine.id].rx_vlan == mine.rx_vlan, seconds=330)
        await stand.settle()
        connected(stand, vm)
        connected(stand, other)
        await stand.vcenter.vrouters.restart(host.moid)
        assert connected(stand, vm).rx_vlan == mine.rx_vlan, "and the file is right now"


async def test_r23_a_template_s_port_keeps_no_vlan_although_the_first_writes_fail(tmp_path):
    async with PluginStand(tmp_path, linger=0.0) as stand:
        (vm,) = await placed(stand, "web")
        port = stand.port(vm)
        await stand.vcenter.scenario.power_off(vm)
        await stand.settle()
        blocked = vim.BoolPolicy(inherited=False, value=True)
        setting = vim.dvs.VmwareDistributedVirtualSwitch.VmwarePortConfigPolicy(blocked=blocked)
        spec = vim.dvs.DistributedVirtualPort.ConfigSpec(operation="edit", key=port.key, setting=setting)
        await stand.admin.run_task(stand.dvs.ref, "ReconfigureDVPort_Task", port=[spec])
        stand.vcenter.scenario.add_fault(FaultRule(method="ReconfigureDVPort_Task", http_status=503, times=4))
        await stand.admin.call(vm.ref, "MarkAsTemplate")
        await asyncio.sleep(700)
        await stand.settle()
        assert stand.vlan(stand.dvs.ports.ports[port.key]) is None
        assert not stand.objects("virtual-machine-interface")
        assert not list(stand.plugin.ledger.all())


async def test_r19_an_agent_that_dies_of_a_plug_does_not_keep_the_link_of_a_vm_that_is_off(tmp_path, monkeypatch):
    async with PluginStand(tmp_path) as stand:
        vm, other = await placed(stand, "web", "other")
        await stand.vcenter.scenario.power_off(vm)
        await stand.settle()
        table, host = stand.vcenter.vrouters.agents[vm.host.moid].table, vm.host
        for vmi in list(table.ports):
            table.delete(vmi)
        take = PortTable.post

        def take_and_die(ports, body):
            take(ports, body)
            raise AgentAborts("the reply was never written")

        monkeypatch.setattr(PortTable, "post", take_and_die)
        await stand.vcenter.scenario.power_on(vm)
        await asyncio.sleep(5)
        monkeypatch.undo()
        await stand.vcenter.scenario.power_off(vm)
        await asyncio.sleep(5)
        await stand.crash()
        await stand.vcenter.vrouters.restart(host.moid)
        assert [port.link_up for port in stand.plugged(host).values()] == [True], "from its file"
        await stand.resume()
        await asyncio.sleep(10)
        await stand.settle()
        assert [port.link_up for port in stand.plugged(host).values()] == [False]
        before = stand.vcenter.vrouters.calls["PUT disable-port"]
        await stand.plugin.resync()
        await asyncio.sleep(30)
        assert stand.vcenter.vrouters.calls["PUT disable-port"] == before, "once is enough"
        await stand.vcenter.scenario.power_on(vm)
        await stand.settle()
        connected(stand, vm)
        connected(stand, other)


TROUBLE = {
    "500": {"http_status": 500, "times": 2},
    "503": {"http_status": 503, "times": 3},
    "409": {"http_status": 409, "message": "already exists", "times": 1},
    "lost before": {"drop": True, "times": 2},
    "lost after": {"drop_reply": True, "times": 2},
    "cut": {"truncate": 10, "times": 2},
    "slow": {"delay": 40.0, "times": 1},
}


@pytest.mark.parametrize("trouble", TROUBLE)
async def test_r18_whatever_contrail_answers_there_is_one_of_each(tmp_path, trouble):
    kinds = ("virtual-machine", "virtual-machine-interface", "instance-ip")
    async with PluginStand(tmp_path) as stand:
        (old,) = await placed(stand, "old")
        for verb in ("create", "update", "delete"):
            for kind in kinds:
                stand.contrail.faults.add(FaultRule(method=verb, type=kind, **TROUBLE[trouble]))
        vm = await stand.vm("web", "blue")
        await stand.vcenter.scenario.rename_vm(old, "renamed")
        await asyncio.sleep(700)
        await stand.settle()
        connected(stand, vm)
        assert [len(stand.objects(kind)) for kind in kinds] == [2, 2, 2]
        await stand.vcenter.scenario.delete_vm(old)
        await asyncio.sleep(700)
        await stand.settle()
        connected(stand, vm)
        assert [len(stand.objects(kind)) for kind in kinds] == [1, 1, 1]


class Deposable(AlwaysLeader):
    """Leads until it finds itself succeeded, which it does when it asks."""

    def __init__(self) -> None:
        super().__init__()
        self.deposed = False
        self.refused = 0

    async def confirm(self) -> int:
        if self.deposed:
            self.refused += 1
            raise Conflict("another process leads")
        return self.epoch


async def test_r20_a_leader_that_slept_writes_nothing_more(tmp_path):
    async with PluginStand(tmp_path) as stand:
        await stand.crash()
        sleeper = stand.leader = Deposable()
        await stand.resume()
        stand.network("blue")
        await stand.until(lambda: "blue" in stand.groups())
        vms = [await stand.vm(f"vm-{number}", "blue", host=number % 2, on=False) for number in range(20)]
        await stand.settle()
        asleep = stand.asleep = [stand.plugin, stand.journal, stand.inventory, stand.api, stand.client, stand.http]
        starts = [asyncio.create_task(stand.vcenter.scenario.power_on(vm)) for vm in vms]
        await asyncio.sleep(0.08)  # in the middle of its writes
        sleeper.deposed = True
        shutil.copy(tmp_path / "plugin.db", tmp_path / "second.db")
        stand.leader, stand.database = AlwaysLeader(), "second.db"
        await stand.resume()
        stand.network("red", "10.2.0.0/24")
        await asyncio.gather(*starts)
        await asyncio.sleep(60)
        await stand.settle()
        for vm in vms:
            connected(stand, vm)
        assert len({stand.vlan(stand.port(vm)) for vm in vms}) == len(vms)
        assert set(stand.groups()) == {"blue", "red"}
        assert len(stand.objects("virtual-machine-interface")) == len(vms)
        first = asleep[0]
        assert sleeper.refused, "it tried"
        await first.stop(0.01)
        await asleep[2].stop()
        await asleep[3].__aexit__(None, None, None)
        await asleep[4].close()
        await asleep[5].close()
        asleep[1].close()


@pytest.mark.parametrize("auto_shrink", [True, False])
async def test_r21_port_keys_that_vanish_and_come_again(tmp_path, auto_shrink):
    async with PluginStand(tmp_path, switches={"auto_shrink": auto_shrink}, brake_absolute=100) as stand:
        vms = await placed(stand, *(f"vm-{number}" for number in range(20)))
        keys = {stand.port(vm).key for vm in vms}
        for vm in vms[2:]:
            await stand.vcenter.scenario.delete_vm(vm)
        new = [await stand.vm(f"new-{number}", "blue", host=number % 2) for number in range(18)]
        await asyncio.sleep(30)
        await stand.settle()
        assert keys & {stand.port(vm).key for vm in new}, "keys are used again"
        for vm in (*vms[:2], *new):
            connected(stand, vm)
        assert len(stand.objects("virtual-machine-interface")) == 20
        assert sum(len(stand.plugged(host)) for host in stand.vcenter.scenario.hosts()) == 20


async def test_r22_a_host_comes_back_with_other_vms_than_it_left_with(tmp_path):
    async with PluginStand(tmp_path) as stand:
        stays, off, leaves = await placed(stand, "stays", "else", "leaves", network="blue")
        off, host = await stand.vm("off", "blue"), stays.host
        assert off.host is host and leaves.host is host
        await stand.settle()
        await stand.vcenter.scenario.lose_host(host)
        await asyncio.sleep(60)
        with stand.vcenter.world.commit("hostd") as tx:
            tx.set(off, power_state="poweredOff")
            tx.set(leaves, power_state="poweredOff")
        vm_life.unregister(stand.vcenter.world, leaves)
        await asyncio.sleep(30)
        await stand.vcenter.scenario.reconnect_host(host)
        await asyncio.sleep(30)
        await stand.settle()
        connected(stand, stays)
        plugs = {port.vm: port.link_up for port in stand.plugged(host).values()}
        assert plugs == {stays.instance_uuid: True, off.instance_uuid: False}
        assert len(stand.objects("virtual-machine-interface")) == 3


async def test_r24_a_revert_changes_the_cards_and_nobody_says_so(tmp_path):
    async with PluginStand(tmp_path, events=False) as stand:
        stand.network("red", "10.2.0.0/24")
        (vm,) = await placed(stand, "web")
        await stand.until(lambda: "red" in stand.groups())
        fields = {"name": "before", "memory": False, "quiesce": False}
        await stand.admin.run_task(vm.ref, "CreateSnapshot_Task", **fields)
        await stand.change(vm, ("edit", vm.nics[0].key, "red"), ("add", -1, "blue"))
        await stand.settle()
        assert len(stand.objects("virtual-machine-interface")) == 2
        await stand.admin.run_task(vm.ref, "RevertToCurrentSnapshot_Task")
        assert len(vm.nics) == 1
        if vm.power_state != "poweredOn":
            await stand.vcenter.scenario.power_on(vm)
        await asyncio.sleep(30)
        await stand.settle()
        assert connected(stand, vm).network == stand.contrail.scenario.find("virtual-network", "blue").uuid
        assert len(stand.objects("virtual-machine-interface")) == 1


async def test_r25_a_conflict_port_gets_a_vlan_of_its_own(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        host, folder, path = vm.host, vm.parent, vm.vmx
        await stand.vcenter.scenario.power_off(vm)
        vm_life.unregister(stand.vcenter.world, vm)
        await asyncio.sleep(1)
        other = await stand.vm("other", "blue")
        where = {"pool": host.compute_resource.root_pool.ref, "host": host.ref}
        await stand.admin.run_task(folder.ref, "RegisterVM_Task", path=path, asTemplate=False, **where)
        vm = stand.vcenter.scenario.vm("web")
        assert stand.port(vm).conflict_with == stand.port(other).key
        await stand.vcenter.scenario.power_on(vm)
        await asyncio.sleep(30)
        await stand.settle()
        assert connected(stand, vm).rx_vlan != connected(stand, other).rx_vlan


NAMES = (
    'x" --oper="delete" --uuid="1',
    "--help",
    "a\nb\r\tc",
    "\u202eevil\u202c",
    "größer 日本語 🚀",
    "%2f/%25\\",
    "<a>&amp;'\"",
    "n" * 80,
    " lead and trail ",
)


async def test_r27_names_are_data(tmp_path):
    async with PluginStand(tmp_path) as stand:
        for number, name in enumerate(NAMES):
            stand.network(name, f"10.{number + 1}.0.0/24", project=f"p{number % 2}")
        stand.network("long" * 60, "10.99.0.0/24")
        await stand.until(lambda: len(stand.groups()) == len(NAMES) + 1)
        assert all(len(name) <= 80 for name in stand.groups())
        vms = [await stand.vm(f"vm-{number}", group, host=number % 2) for number, group in enumerate(stand.groups())]
        with stand.vcenter.world.commit("folders") as tx:
            for vm in vms:
                tx.set(vm, name="same")  # each in a folder of its own
        await stand.settle()
        assert len({connected(stand, vm).ip for vm in vms}) == len(vms)
        for vm, name in zip(vms, NAMES, strict=False):
            await stand.vcenter.scenario.rename_vm(vm, name)
        await asyncio.sleep(5)
        await stand.settle()
        for vm in vms:
            assert connected(stand, vm)
        assert stand.vcenter.vrouters.calls["POST port"] == len(vms), "a name needs no new plug, and unplugs nobody"
        shown = {one.uuid: one.properties["display_name"] for one in stand.objects("virtual-machine")}
        assert shown == {vm.instance_uuid: stand.client.inventory.vms[vm.moid].name for vm in vms}
        before = stand.calls()
        await stand.plugin.resync()
        await stand.settle()
        assert stand.written(before) == {}
