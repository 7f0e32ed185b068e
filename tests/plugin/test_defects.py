"""What predecessors got wrong (the defect matrix): each must be seen to hold here, in the simulated worlds."""

from __future__ import annotations

import asyncio

import pytest
from plugin_stand import MARK, PluginStand
from plugin_worlds import connected, placed

from contrail_vsphere.simulator.core.faults import FaultRule
from contrail_vsphere.simulator.vcenter.switches import Switches

pytestmark = pytest.mark.looptime


async def test_b3_no_vlan_that_is_none_is_ever_written(tmp_path):
    async with PluginStand(tmp_path, reserved_vlans=frozenset(range(1, 4094)), quarantine=0.5) as stand:
        used = []
        stand.vcenter.world.observe(lambda _commit: used.extend(map(stand.vlan, stand.dvs.ports.ports.values())))
        (vm,) = await placed(stand, "web")
        assert connected(stand, vm).rx_vlan == 4094
        for number in range(3):
            await stand.vcenter.scenario.delete_vm(vm)
            await asyncio.sleep(5)
            vm = await stand.vm(f"vm-{number}", "blue")
            await asyncio.sleep(5)
            await stand.settle()
            connected(stand, vm)
        assert set(used) == {None, 4094}


async def test_b5_a_vm_whose_network_is_not_there_yet_waits_and_is_connected_by_itself(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        network = stand.contrail.scenario.find("virtual-network", "blue")
        for kind in ("instance-ip", "virtual-machine-interface"):
            for one in stand.objects(kind):
                stand.contrail.scenario.delete(one)
        stand.contrail.scenario.delete_network("blue")
        late = await stand.vm("late", "blue")
        await asyncio.sleep(60)
        assert not stand.is_open(stand.port(late)) and not stand.is_open(stand.port(vm))
        states = {port.vm: port.state for port in stand.plugin.controller.ports()}
        assert states == {"web": "WAIT_VN", "late": "WAIT_VN"}
        assert stand.plugged(vm.host) == {}
        stand.network("blue", uuid=network.uuid)
        both = (vm, late)
        assert await stand.until(lambda: len(stand.plugged(vm.host)) == 2) < 2
        await stand.settle()
        for each in both:
            connected(stand, each)


async def test_b7_b8_two_cards_in_one_network_are_two_ports_with_two_addresses(tmp_path):
    async with PluginStand(tmp_path) as stand:
        await placed(stand)
        vm = await stand.vm("web", "blue", "blue")
        await stand.settle()
        plugs = stand.plugged(vm.host).values()
        assert len({plug.ip for plug in plugs}) == len({plug.rx_vlan for plug in plugs}) == 2
        assert {plug.mac for plug in plugs} == {nic.mac for nic in vm.nics}


async def test_b9_a_session_that_dies_at_any_step_is_mended_within_seconds(tmp_path):
    async with PluginStand(tmp_path) as stand:
        await placed(stand)
        for number, method in enumerate(("WaitForUpdatesEx", "FetchDVPorts", "ReconfigureDVPort_Task", "FindByUuid")):
            stand.vcenter.scenario.add_fault(FaultRule(method=method, fault="NotAuthenticated", times=1))
            stand.vcenter.expire_sessions()
            vm = await stand.vm(f"vm-{number}", "blue")
            assert (
                await stand.until(lambda vm=vm: any(p.vm == vm.instance_uuid for p in stand.plugged(vm.host).values()))
                < 10
            )
            await stand.vcenter.scenario.delete_vm(vm)
            await asyncio.sleep(30)
            assert stand.client.inventory.healthy
            stand.vcenter.faults.clear()
        await stand.settle()
        assert not stand.objects("virtual-machine-interface")


async def test_b10_a_port_that_never_arrives_holds_nobody_up(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        Switches(proxy_host_flips="after", proxy_host_lag=120.0).install(stand.vcenter.world)
        target = stand.vcenter.scenario.hosts()[1]
        await stand.vcenter.scenario.move_vm(vm, target)
        times = []
        for number in range(5):
            other = await stand.vm(f"other-{number}", "blue", host=1)
            times.append(
                await stand.until(lambda o=other: any(p.vm == o.instance_uuid for p in stand.plugged(target).values()))
            )
        assert max(times) < 1, times
        await asyncio.sleep(150)
        await stand.settle()
        connected(stand, vm)


async def test_b11_a_network_made_anew_under_its_name_gets_its_vms_back(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        for kind in ("instance-ip", "virtual-machine-interface"):
            for one in stand.objects(kind):
                stand.contrail.scenario.delete(one)
        stand.contrail.scenario.delete_network("blue")
        other = stand.network("blue", "10.8.0.0/24", project="other")
        await stand.until(lambda: len(stand.groups()) == 2)
        await asyncio.sleep(20)
        assert not stand.is_open(stand.port(vm)), "one of that name in another project is not meant"
        (reason,) = stand.plugin.controller.pending_deletes.values()
        assert "web" in reason
        new = stand.network("blue", "10.7.0.0/24")
        await stand.until(lambda: any(plug.network == str(new) for plug in stand.plugged(vm.host).values()))
        await asyncio.sleep(20)
        await stand.settle()
        plug = connected(stand, vm)
        assert plug.network == str(new) and plug.ip.startswith("10.7.0.")
        assert {uuid for group in stand.groups().values() for uuid in marks(group)} == {str(new), str(other)}
        assert not stand.plugin.controller.pending_deletes


def marks(group):
    return [blob.opaqueData for blob in group.vendor if blob.key == MARK]


async def test_b12_no_port_is_ever_open_without_its_vlan_or_before_it_is_its_own(tmp_path):
    async with PluginStand(tmp_path) as stand:
        wrong = []

        def glance(_commit):
            used = set()
            for port in stand.dvs.ports.ports.values():
                if port.vm is None or port.vm.power_state != "poweredOn" or not any(marks(port.group)):
                    continue
                blocked = port.override.blocked if port.override is not None else None
                is_open = blocked is not None and not blocked.inherited and not blocked.value
                place = (port.vm.host, stand.vlan(port))
                wrong.extend([str(place)] if is_open and (not place[1] or place in used) else [])
                used |= {place} if is_open else set()

        stand.vcenter.world.observe(glance)
        vms = await placed(stand, *(f"vm-{number}" for number in range(6)))
        hosts = stand.vcenter.scenario.hosts()
        for vm in vms:
            await stand.vcenter.scenario.power_off(vm)
            await stand.vcenter.scenario.power_on(vm)
            await stand.vcenter.scenario.move_vm(vm, hosts[1] if vm.host is hosts[0] else hosts[0])
        await stand.settle()
        assert not wrong


READS = {
    "refused": {"drop": True},
    "500": {"http_status": 500},
    "503": {"http_status": 503},
    "empty": {"truncate": 0},
    "cut": {"truncate": 40},
    "cut late": {"truncate": 300},
}


@pytest.mark.parametrize("trouble", READS)
async def test_j1_whatever_a_reading_of_contrail_ends_with_nothing_is_deleted(tmp_path, trouble):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        stand.contrail.faults.add(FaultRule(method="list*", **READS[trouble]))
        stand.contrail.scenario.drop_connections()
        stand.inventory.read_again()
        await asyncio.sleep(900)
        await stand.plugin.resync()
        await asyncio.sleep(60)
        assert set(stand.groups()) == {"blue"}
        connected(stand, vm)
        assert not [key for key in stand.contrail.calls if key[0] == "delete"]
        assert stand.plugin.not_ready(), "and it says so"


async def test_j5_a_port_group_that_goes_before_its_network_costs_nothing(tmp_path):
    async with PluginStand(tmp_path) as stand:
        await placed(stand)
        await stand.crash()
        await stand.admin.run_task(stand.groups()["blue"].ref, "Destroy_Task")
        stand.contrail.scenario.delete_network("blue")
        before = stand.calls()
        await stand.resume()
        await asyncio.sleep(600)
        await stand.settle()
        assert not stand.groups() and stand.written(before) == {}


async def test_f_a_port_group_that_somebody_renames_keeps_every_interface(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        before, plug = stand.calls(), connected(stand, vm)
        await stand.admin.run_task(stand.groups()["blue"].ref, "Rename_Task", newName="mine")
        await stand.until(lambda: "blue" in stand.groups())
        await stand.settle()
        assert connected(stand, vm) == plug
        assert set(stand.written(before)) == {"Rename_Task"}
