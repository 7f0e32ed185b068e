"""The race catalogue: what happens at the worst moment, and what must be true once it is quiet."""

from __future__ import annotations

import asyncio

import pytest
from plugin_stand import PluginStand
from plugin_worlds import connected, placed

from contrail_vsphere.wire.soap.types import vim

pytestmark = pytest.mark.looptime


async def test_r1_contrail_is_away_when_the_vm_comes(tmp_path):
    async with PluginStand(tmp_path) as stand:
        await placed(stand)
        await stand.contrail.scenario.stop_api()
        vm = await stand.vm("web", "blue")
        await asyncio.sleep(120)
        assert stand.plugged(vm.host) == {}
        await stand.contrail.scenario.start_api()
        await stand.until(lambda: stand.plugged(vm.host), seconds=120)
        await stand.settle()
        connected(stand, vm)


async def test_r2_a_network_that_goes_while_vms_are_in_it_waits_and_says_for_whom(tmp_path):
    async with PluginStand(tmp_path) as stand:
        await placed(stand)
        vm = await stand.vm("web", "blue", on=False)
        await stand.settle()
        for kind in ("instance-ip", "virtual-machine-interface"):
            for one in stand.objects(kind):
                stand.contrail.scenario.delete(one)
        stand.contrail.scenario.delete_network("blue")
        await asyncio.sleep(30)
        assert "blue" in stand.groups()
        (reason,) = stand.plugin.controller.pending_deletes.values()
        assert "web" in reason
        await stand.vcenter.scenario.delete_vm(vm)
        await stand.until(lambda: not stand.groups())


async def test_r3_a_port_group_that_a_user_destroys_comes_back(tmp_path):
    async with PluginStand(tmp_path) as stand:
        await placed(stand)
        await stand.admin.run_task(stand.groups()["blue"].ref, "Destroy_Task")
        await stand.until(lambda: "blue" in stand.groups())
        await stand.admin.run_task(stand.groups()["blue"].ref, "Rename_Task", newName="green")
        await stand.until(lambda: "blue" in stand.groups())
        await stand.settle()


async def test_r4_many_vms_at_once_get_one_vlan_each_in_few_tasks(tmp_path):
    async with PluginStand(tmp_path, hosts=2) as stand:
        await placed(stand)
        vms = [await stand.vm(f"vm-{number}", "blue", host=number % 2, on=False) for number in range(30)]
        await stand.settle()
        before = stand.calls()
        await asyncio.gather(*(stand.vcenter.scenario.power_on(vm) for vm in vms))
        await stand.until(lambda: sum(len(stand.plugged(host)) for host in stand.vcenter.scenario.hosts()) == 30)
        await stand.settle()
        assert len({stand.vlan(stand.port(vm)) for vm in vms}) == 30, "unique in the whole cluster"
        assert (stand.calls() - before)["ReconfigureDVPort_Task"] <= 3


async def test_r5_two_vms_change_places(tmp_path):
    async with PluginStand(tmp_path) as stand:
        one, two = await placed(stand, "one", "two")
        here, there = stand.vcenter.scenario.hosts()
        await asyncio.gather(stand.vcenter.scenario.move_vm(one, there), stand.vcenter.scenario.move_vm(two, here))
        await stand.settle()
        connected(stand, one)
        connected(stand, two)


async def test_r6_a_move_and_a_new_card_at_once(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        stand.network("red", "10.2.0.0/24")
        await stand.until(lambda: "red" in stand.groups())
        await stand.vcenter.scenario.move_vm(vm, stand.vcenter.scenario.hosts()[1])
        await stand.change(vm, ("edit", 4000, "red"), ("add", -1, "blue"))
        await stand.settle()
        plugs = stand.plugged(vm.host)
        assert len(plugs) == 2 and not stand.plugged(stand.vcenter.scenario.hosts()[0])
        assert {port.network for port in plugs.values()} == {
            stand.contrail.scenario.find("virtual-network", name).uuid for name in ("red", "blue")
        }
        assert len(stand.objects("virtual-machine-interface")) == 2


async def test_r9_a_dead_host_holds_nobody_up_and_is_cleaned_when_it_is_back(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        source, target = stand.vcenter.scenario.hosts()
        await stand.vcenter.vrouters.kill(source.moid)
        await stand.vcenter.scenario.move_vm(vm, target)
        assert await stand.until(lambda: stand.plugged(target)) < 5
        await asyncio.sleep(600)
        assert stand.plugged(source), "the port file is still there"
        held = stand.plugin.vlans.owner(source.moid, stand.vlan(stand.port(vm)))
        assert held is not None, "its VLAN there is not given away"
        await stand.vcenter.vrouters.restart(source.moid)
        await stand.until(lambda: not stand.plugged(source), seconds=60)
        await stand.settle()
        connected(stand, vm)


async def test_b6_an_agent_that_was_away_gets_its_ports_without_another_event(tmp_path):
    async with PluginStand(tmp_path) as stand:
        await placed(stand)
        host = stand.vcenter.scenario.hosts()[0]
        await stand.vcenter.vrouters.kill(host.moid)
        await asyncio.sleep(35)
        vm = await stand.vm("web", "blue")
        await asyncio.sleep(600)
        assert not stand.is_open(stand.port(vm)), "no vRouter, no frames"
        assert not stand.plugin.readiness(host.moid).synced
        await stand.vcenter.vrouters.restart(host.moid)
        assert await stand.until(lambda: stand.plugged(host)) < 10
        await stand.settle()
        connected(stand, vm)
        assert stand.plugin.readiness(host.moid).synced


async def test_r10_a_vm_that_is_deleted_right_after_a_move(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        await stand.vcenter.scenario.move_vm(vm, stand.vcenter.scenario.hosts()[1])
        await stand.vcenter.scenario.delete_vm(vm)
        await stand.until(lambda: not stand.objects("virtual-machine"))
        await stand.settle()
        assert not any(stand.plugged(host) for host in stand.vcenter.scenario.hosts())
        assert not list(stand.plugin.vlans.ports())


async def test_r12_a_vm_that_is_registered_again_elsewhere_keeps_its_address(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        address = connected(stand, vm).ip
        from contrail_vsphere.simulator.vcenter import vm_life

        path, folder, pool = (
            vm.path_name if hasattr(vm, "path_name") else vm.read("config.files").vmPathName,
            vm.parent,
            vm.resource_pool,
        )
        await stand.vcenter.scenario.power_off(vm)
        vm_life.unregister(stand.vcenter.world, vm)
        await asyncio.sleep(2)
        target = stand.vcenter.scenario.hosts()[1]
        await stand.admin.run_task(
            folder.ref, "RegisterVM_Task", path=path, asTemplate=False, pool=pool.ref, host=target.ref
        )
        vm = stand.vcenter.scenario.vm("web")
        await stand.vcenter.scenario.power_on(vm)
        await stand.settle()
        assert connected(stand, vm).ip == address
        assert stand.contrail.calls["delete", "virtual-machine-interface"] == 0


async def test_r13_a_rename_and_a_new_vm_of_the_old_name(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        before = connected(stand, vm)
        await stand.vcenter.scenario.rename_vm(vm, 'x" --oper="delete" --uuid="1"\n\u202e')
        other = await stand.vm("web", "blue")
        await stand.settle()
        assert connected(stand, vm) == before
        assert connected(stand, other).ip != before.ip
        names = {one.uuid: one.properties["display_name"] for one in stand.objects("virtual-machine")}
        assert names[vm.instance_uuid] == vm.name and names[other.instance_uuid] == "web"


async def test_r14_an_agent_that_starts_anew_without_its_files_is_plugged_again(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        await stand.vcenter.vrouters.restart(vm.host.moid)
        await asyncio.sleep(60)
        await stand.settle()
        connected(stand, vm)


async def test_r16_r17_vcenter_forgets_its_sessions_in_the_middle(tmp_path):
    async with PluginStand(tmp_path) as stand:
        await placed(stand)
        vms = []
        for number in range(6):
            vms.append(await stand.vm(f"vm-{number}", "blue", host=number % 2))
            stand.vcenter.expire_sessions()
            await stand.vcenter.drop_connections()
            await asyncio.sleep(1)
        await stand.until(lambda: sum(len(stand.plugged(h)) for h in stand.vcenter.scenario.hosts()) == 6, seconds=300)
        await asyncio.sleep(90)
        await stand.settle()
        for vm in vms:
            connected(stand, vm)
        assert stand.contrail.calls["delete", "virtual-machine-interface"] == 0


async def test_r19_a_crash_at_any_moment_leaves_no_vlan_twice(tmp_path):
    for moment in range(0, 24, 6):
        async with PluginStand(tmp_path / str(moment)) as stand:
            await placed(stand)
            await stand.vm("old", "blue")
            for number in range(3):
                await stand.vm(f"vm-{number}", "blue")
            await asyncio.sleep(moment / 50)
            await stand.crash()
            await stand.vcenter.scenario.delete_vm(stand.vcenter.scenario.vm("vm-1"))
            await stand.resume()
            await stand.settle()
            await asyncio.sleep(15)
            await stand.settle()
            for name in ("old", "vm-0", "vm-2"):
                connected(stand, stand.vcenter.scenario.vm(name))
            assert len(stand.plugged(stand.vcenter.scenario.hosts()[0])) == 3
            assert len(stand.objects("virtual-machine-interface")) == 3


async def test_b1_what_switches_show_is_claimed_before_anything_is_given_out(tmp_path):
    async with PluginStand(tmp_path) as stand:
        vms = await placed(stand, "one", "two", "three")
        before = {vm.name: stand.vlan(stand.port(vm)) for vm in vms}
        await stand.crash()
        (tmp_path / "plugin.db").unlink()
        new = await stand.vm("four", "blue")
        await stand.resume()
        await stand.settle()
        assert {vm.name: stand.vlan(stand.port(vm)) for vm in vms} == before, "without our own memory too"
        assert stand.vlan(stand.port(new)) not in before.values()
        for vm in (*vms, new):
            connected(stand, vm)


async def test_r23_a_template_has_no_place(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        await stand.vcenter.scenario.power_off(vm)
        await stand.admin.call(vm.ref, "MarkAsTemplate")
        await stand.until(lambda: not stand.objects("virtual-machine-interface"))
        await stand.settle()
        assert not any(stand.plugged(host) for host in stand.vcenter.scenario.hosts())


async def test_r26_a_port_without_a_vlan_stays_closed(tmp_path):
    reserved = frozenset(range(3, 4095))
    async with PluginStand(tmp_path, hosts=1, reserved_vlans=reserved) as stand:
        stand.network("blue")
        await stand.until(lambda: "blue" in stand.groups())
        vms = [await stand.vm(f"vm-{number}", "blue") for number in range(3)]
        await asyncio.sleep(20)
        open_ones = [vm for vm in vms if stand.is_open(stand.port(vm))]
        assert len(open_ones) == 2
        assert any("no VLAN is left" in entry.reason for entry in stand.health.bad())
        await stand.vcenter.scenario.delete_vm(open_ones[0])
        (rest,) = [vm for vm in vms if vm not in open_ones]
        await stand.until(lambda: stand.is_open(stand.port(rest)), seconds=2400)
        await stand.settle()


async def test_j1_nothing_is_deleted_while_contrail_is_away(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        await stand.contrail.scenario.stop_api()
        await asyncio.sleep(3600)
        assert "blue" in stand.groups()
        connected(stand, vm)
        await stand.contrail.scenario.start_api()
        await asyncio.sleep(120)
        await stand.settle()
        connected(stand, vm)


async def test_b2_a_card_on_another_switch_is_never_touched(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        port = stand.port(vm)
        folder = stand.dvs.parent
        spec = vim.DistributedVirtualSwitch.CreateSpec(
            configSpec=vim.dvs.VmwareDistributedVirtualSwitch.ConfigSpec(name="other")
        )
        await stand.admin.run_task(folder.ref, "CreateDVS_Task", spec=spec)
        await stand.until(lambda: len(stand.plugin.observed.switches()) == 2)
        await stand.until(
            lambda: len([g for g in stand.vcenter.world.of_type(type(stand.group("blue"))) if g.vendor]) >= 2
        )
        await stand.settle()
        assert stand.vlan(port) == stand.vlan(stand.port(vm))
        connected(stand, vm)


@pytest.mark.parametrize(
    "switches",
    [
        {"write_while_off": "lost"},
        {"reset_at": "power_off"},
        {"proxy_host_flips": "after"},
        {"proxy_host_flips": "before"},
        {"proxy_host_when_off": False},
        {"bulk_fault_keeps": "nothing"},
    ],
    ids=str,
)
async def test_whatever_vcenter_does_where_nobody_knows(tmp_path, switches):
    async with PluginStand(tmp_path, switches=switches) as stand:
        vm, other = await placed(stand, "web", "other")
        for _ in range(2):
            await stand.vcenter.scenario.power_off(vm)
            await asyncio.sleep(2)
            await stand.vcenter.scenario.power_on(vm)
            await stand.settle()
            connected(stand, vm)
            target = next(host for host in stand.vcenter.scenario.hosts() if host is not vm.host)
            await stand.vcenter.scenario.move_vm(vm, target)
            await asyncio.sleep(5)
            await stand.settle()
            connected(stand, vm)
            connected(stand, other)


async def test_everything_is_found_when_no_event_is_heard(tmp_path):
    async with PluginStand(tmp_path, events=False) as stand:
        (vm,) = await placed(stand, "web")
        port = stand.port(vm)
        policies = vim.dvs.VmwareDistributedVirtualSwitch.VmwarePortConfigPolicy
        vlan = vim.dvs.VmwareDistributedVirtualSwitch.VlanIdSpec(inherited=False, vlanId=88)
        spec = vim.dvs.DistributedVirtualPort.ConfigSpec(operation="edit", key=port.key, setting=policies(vlan=vlan))
        await stand.admin.run_task(stand.dvs.ref, "ReconfigureDVPort_Task", port=[spec])
        await stand.until(lambda: stand.vlan(stand.port(vm)) != 88, seconds=400)
        await stand.settle()
        connected(stand, vm)
