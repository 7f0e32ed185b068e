"""A VLAN is given up only where no switch shows its port in it, and who has none shows nobody's frames."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from dataclasses import replace

import pytest
from plugin_stand import PluginStand
from plugin_worlds import connected, placed

from contrail_vsphere.model.inventory import Change
from contrail_vsphere.simulator.core.faults import FaultRule
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.wire.soap.types import vim

pytestmark = pytest.mark.looptime
_DVS = vim.dvs.VmwareDistributedVirtualSwitch


def all_but(*vlans):
    return frozenset(range(1, 4095)) - frozenset(vlans)


async def test_a_card_keeps_its_vlan_while_contrail_cannot_give_it_another_network(tmp_path):
    async with PluginStand(tmp_path, reserved_vlans=all_but(1, 2, 3, 4, 5, 6)) as stand:
        stand.network("red", "10.2.0.0/24")
        vm, other = await placed(stand, "web", "other")
        await stand.until(lambda: "red" in stand.groups())
        stand.contrail.scenario.lose_zookeeper()
        before = stand.calls()
        seen = {stand.vlan(stand.port(vm))}
        stand.vcenter.world.observe(lambda _commit: seen.update(stand.vlan(port) for port in stand.ports(vm)))
        await stand.change(vm, ("edit", vm.nics[0].key, "red"))
        await asyncio.sleep(120)
        assert stand.written(before)["ReconfigureDVPort_Task"] == 1
        assert len(seen - {None}) == 1, "it would take one VLAN after another, and leave none to anybody"
        assert not [port for port in stand.plugged(vm.host).values() if port.name == "web"]
        stand.contrail.scenario.lose_zookeeper(lost=False)
        await asyncio.sleep(60)
        await stand.settle()
        assert str(connected(stand, vm).network) == str(stand.contrail.scenario.find("virtual-network", "red").uuid)
        connected(stand, other)


async def test_a_card_that_left_for_another_network_is_closed_where_it_is_when_it_goes(tmp_path):
    async with PluginStand(tmp_path) as stand:
        stand.network("red", "10.2.0.0/24")
        (vm,) = await placed(stand, "web")
        await stand.until(lambda: "red" in stand.groups())
        await stand.change(vm, ("edit", vm.nics[0].key, "red"))
        await stand.settle()
        connected(stand, vm)
        key = stand.port(vm).key
        await stand.vcenter.scenario.power_off(vm)
        await stand.settle()
        await stand.admin.call(vm.ref, "MarkAsTemplate")
        await asyncio.sleep(60)
        port = stand.dvs.ports.ports[key]
        assert (stand.vlan(port), stand.is_open(port)) == (None, False)


async def test_a_vm_that_comes_where_no_vlan_is_left_is_closed(tmp_path):
    async with PluginStand(tmp_path, reserved_vlans=all_but(1)) as stand:
        await stand.carry()
        stand.network("red", "10.2.0.0/24")
        await stand.until(lambda: "red" in stand.groups())
        (here,) = await placed(stand, "here")
        comes = await stand.vm("comes", "red", host=1)
        await stand.settle()
        connected(stand, here)
        connected(stand, comes)
        await stand.vcenter.scenario.crash_host(comes.host)
        await stand.until(lambda: comes.host is here.host and comes.power_state == "poweredOn", seconds=600)
        await asyncio.sleep(5)
        assert not stand.is_open(stand.port(comes)), "its VLAN is another's here"
        assert not stand.frame_arrives(here, comes)
        connected(stand, here)
        await stand.vcenter.scenario.delete_vm(here)
        await asyncio.sleep(200)
        await stand.settle()
        connected(stand, comes)


async def test_a_closed_port_keeps_no_vlan_that_is_given_up(tmp_path):
    async with PluginStand(tmp_path, reserved_vlans=all_but(1, 2), quarantine=5.0) as stand:
        vm, other = await placed(stand, "web", "other")
        await stand.vcenter.scenario.power_off(vm)
        await stand.settle()
        blocked = _DVS.VmwarePortConfigPolicy(blocked=vim.BoolPolicy(inherited=False, value=True))
        for setting in (blocked, _DVS.VmwarePortConfigPolicy(vlan=_DVS.VlanIdSpec(inherited=False, vlanId=777))):
            spec = vim.dvs.DistributedVirtualPort.ConfigSpec(operation="edit", key=stand.port(vm).key, setting=setting)
            await stand.admin.run_task(stand.dvs.ref, "ReconfigureDVPort_Task", port=[spec])
            await stand.settle()
            assert stand.vlan(stand.port(vm)) in (1, None)
        await stand.vcenter.scenario.move_vm(vm, other.host)
        await asyncio.sleep(30)
        await stand.settle()
        assert stand.vlan(stand.port(vm)) is None, "it is another port's from now on"
        new = await stand.vm("new", "blue", host=1)
        await stand.settle()
        connected(stand, new)
        await stand.vcenter.scenario.move_vm(vm, stand.vcenter.scenario.hosts()[0])
        await stand.vcenter.scenario.power_on(vm)
        await stand.settle()
        connected(stand, vm)


async def test_a_vm_that_comes_back_at_once_has_its_vlan_back(tmp_path):
    async with PluginStand(tmp_path) as stand:
        vm, other = await placed(stand, "web", "other")
        home, held = vm.host, stand.vlan(stand.port(vm))
        before = stand.calls()
        for host in (other.host, home):
            await stand.vcenter.scenario.move_vm(vm, host)
            await stand.settle()
            connected(stand, vm)
        assert stand.vlan(stand.port(vm)) == held
        assert "ReconfigureDVPort_Task" not in stand.written(before), "a change would have interrupted it"
        await stand.vcenter.scenario.move_vm(vm, other.host)
        await stand.settle()
        new = await stand.vm("new", "blue")
        await stand.settle()
        assert stand.vlan(stand.port(new)) != held, "it rests for everybody else"


async def test_a_port_travels_closed_to_a_host_that_has_no_vlan_left(tmp_path):
    async with PluginStand(tmp_path, reserved_vlans=all_but(1), quarantine=5.0) as stand:
        stand.network("red", "10.2.0.0/24")
        await stand.until(lambda: "red" in stand.groups())
        (here,) = await placed(stand, "here")
        goes = await stand.vm("goes", "red", host=1)
        await stand.settle()
        home, together = goes.host, set()

        def look(_commit):
            if goes.host is here.host and stand.is_open(stand.port(goes)):
                together.add(stand.vlan(stand.port(goes)))

        stand.vcenter.world.observe(look)
        stand.vcenter.world.services[Timing] = replace(Timing.instant(), relocate=6.0)
        await stand.vcenter.scenario.move_vm(goes, here.host)
        await asyncio.sleep(5)
        assert not together, "on arrival it would have seen the frames of another network"
        connected(stand, here)
        await stand.vcenter.scenario.move_vm(goes, home)
        await asyncio.sleep(30)
        await stand.settle()
        connected(stand, goes)


async def test_a_vlan_that_a_sleeping_port_shows_is_given_to_nobody_else(tmp_path):
    async with PluginStand(tmp_path, switches={"write_while_off": "lost"}, quarantine=5.0) as stand:
        (web,) = await placed(stand, "web")
        vlan, key = stand.vlan(stand.port(web)), stand.port(web).key
        await stand.crash()
        policy = stand.groups()["blue"].policy
        policy.portConfigResetAtDisconnect = False
        await stand.vcenter.scenario.power_off(web)
        await stand.vcenter.scenario.delete_vm(web)
        late = await stand.vm("late", "blue", on=False)
        port = stand.port(late)
        assert (port.key, stand.vlan(port), stand.is_open(port)) == (key, vlan, True), "it is handed on as it was"
        await stand.resume()
        await asyncio.sleep(120)
        assert stand.vlan(port) == vlan, "what is written is lost"
        for number in range(3):
            new = await stand.vm(f"new-{number}", "blue", host=number % 2)
            await stand.settle()
            connected(stand, new)
            assert stand.vlan(stand.port(new)) != vlan, "it would meet the other as soon as that runs"
        await stand.crash()
        await stand.vcenter.scenario.power_on(late)
        await stand.resume()
        await stand.settle()
        connected(stand, late)


async def test_a_port_whose_card_left_while_it_was_written_is_closed(tmp_path):
    async with PluginStand(tmp_path) as stand:
        stand.network("red", "10.2.0.0/24")
        stand.network("blue")
        await stand.until(lambda: {"red", "blue"} <= set(stand.groups()))
        stand.vcenter.scenario.add_fault(FaultRule(method="ReconfigureDVPort_Task", delay=1.0, times=1))
        vm = await stand.vm("web", "blue")
        key = stand.port(vm).key
        await asyncio.sleep(0.5)
        await stand.change(vm, ("edit", vm.nics[0].key, "red"))
        await stand.settle()
        connected(stand, vm)
        left = stand.dvs.ports.ports[key]
        assert (left.vm, stand.vlan(left), stand.is_open(left)) == (None, None, False), "the next card would be in it"


async def test_a_vm_that_leaves_a_host_where_its_vlan_is_shown_keeps_it(tmp_path):
    switches = {"write_while_off": "lost", "proxy_host_when_off": False}
    async with PluginStand(tmp_path, switches=switches) as stand:
        vm, other = await placed(stand, "web", "other")
        asleep = await stand.vm("asleep", "blue", on=False)
        leave_settings(stand, stand.ports(asleep), stand.vlan(stand.port(vm)), blocked=False)
        await stand.plugin.resync()
        await stand.settle()
        assert stand.vlan(stand.port(asleep)) == stand.vlan(stand.port(vm)), "what is written is lost"
        before = stand.calls()
        await stand.vcenter.scenario.move_vm(vm, other.host)
        await stand.settle()
        connected(stand, vm)
        assert "ReconfigureDVPort_Task" not in stand.written(before), (
            "it would be interrupted for one that sleeps elsewhere"
        )


def leave_settings(stand, ports, vlan, **blocked):
    """Somebody's card has left them on these ports."""
    fields = {name: vim.BoolPolicy(inherited=False, value=value) for name, value in blocked.items()}
    setting = _DVS.VmwarePortConfigPolicy(vlan=_DVS.VlanIdSpec(inherited=False, vlanId=vlan), **fields)
    with stand.vcenter.world.commit("somebody") as tx:
        for port in ports:
            stand.dvs.ports.put(tx, replace(port, override=setting))


@pytest.mark.parametrize("tells", [True, False])
async def test_a_card_that_sleeps_shows_no_vlan_that_is_another_port_s(tmp_path, tells):
    async with PluginStand(tmp_path, switches={"proxy_host_when_off": tells}) as stand:
        vm, _ = await placed(stand, "web", "other")
        asleep = await stand.vm("asleep", "blue", on=False)
        await stand.settle()
        leave_settings(stand, stand.ports(asleep), 77)
        await stand.plugin.resync()
        await stand.settle()
        assert stand.vlan(stand.port(asleep)) == 77, "nobody else has it, and nobody else gets it"
        leave_settings(stand, stand.ports(asleep), stand.vlan(stand.port(vm)))
        await stand.plugin.resync()
        await stand.settle()
        assert stand.vlan(stand.port(asleep)) is None
        connected(stand, vm)


async def a_network_that_is_gone(stand, name):
    """Its port group, which stays for the card of a VM that is off, and which resets no port that is left."""
    stand.network(name, "10.3.0.0/24")
    await stand.until(lambda: name in stand.groups())
    await stand.vm("stays", name, host=1, on=False)
    await stand.settle()
    for kind in ("instance-ip", "virtual-machine-interface"):
        for one in stand.objects(kind):
            stand.contrail.scenario.delete(one)
    stand.contrail.scenario.delete_network(name)
    await asyncio.sleep(30)
    group = stand.groups()[name]
    policy = deepcopy(group.policy)
    policy.portConfigResetAtDisconnect = False
    with stand.vcenter.world.commit("somebody") as tx:
        tx.set(group, policy=policy)
    return group


def free_ports(stand, group):
    return [port for port in stand.dvs.ports.ports.values() if port.group is group and port.vm is None]


@pytest.mark.parametrize("blocked", [False, True])
async def test_a_card_whose_network_is_gone_is_closed_at_the_port_that_it_has(tmp_path, blocked):
    async with PluginStand(tmp_path) as stand:
        await stand.carry()
        gone = await a_network_that_is_gone(stand, "gone")
        vm, _ = await placed(stand, "web", "other")
        leave_settings(stand, free_ports(stand, gone), stand.vlan(stand.port(vm)), blocked=blocked)
        new = await stand.vm("new", "gone")
        await asyncio.sleep(5)
        assert (stand.vlan(stand.port(new)), stand.is_open(stand.port(new))) == (None, False)
        await stand.settle()
        # A card that was served before has another port there: that one counts, not the one that it had.
        leave_settings(stand, free_ports(stand, gone), stand.vlan(stand.port(vm)), blocked=blocked)
        moved = await stand.vm("moved", "blue")
        await stand.settle()
        connected(stand, moved)
        had = stand.port(moved).key
        await stand.change(moved, ("edit", moved.nics[0].key, "gone"))
        await asyncio.sleep(5)
        assert (stand.vlan(stand.port(moved)), stand.is_open(stand.port(moved))) == (None, False)
        follows = await stand.vm("follows", "blue")
        await stand.settle()
        assert stand.port(follows).key == had
        before = stand.calls()
        await stand.plugin.resync()
        await stand.settle()
        assert stand.written(before) == {}, "closed and opened again, it would be interrupted with each look"
        for each in (vm, follows):
            connected(stand, each)


@pytest.mark.parametrize("tells", [True, False])
async def test_a_vlan_that_vcenter_goes_on_to_show_is_given_to_nobody(tmp_path, tells):
    switches = {"write_while_off": "lost", "proxy_host_when_off": tells}
    options = {"reserved_vlans": all_but(1, 2, 3), "quarantine": 5.0, "switches": switches}
    async with PluginStand(tmp_path, **options) as stand:
        gone = await a_network_that_is_gone(stand, "gone")
        (vm,) = await placed(stand, "web")
        assert stand.vlan(stand.port(vm)) == 1
        await stand.vcenter.scenario.power_off(vm)
        await stand.settle()
        leave_settings(stand, free_ports(stand, gone), 2, blocked=False)
        await stand.change(vm, ("edit", vm.nics[0].key, "gone"))
        await asyncio.sleep(60)
        assert stand.vlan(stand.port(vm)) == 2, "the simulated vCenter loses what is written to it"
        for restart in (False, True):
            if restart:
                await stand.crash()
                await stand.resume()
            for host in range(2):
                there = stand.vcenter.scenario.hosts()[host]
                if vm.host is not there:
                    await stand.vcenter.scenario.move_vm(vm, there)
                    await asyncio.sleep(30)
                new = [await stand.vm(f"new-{number}", "blue", host=host) for number in range(3)]
                await asyncio.sleep(30)
                used = sorted(stand.vlan(stand.port(each)) for each in new if stand.is_open(stand.port(each)))
                assert used == [1, 3], "one of them waits"
                for each in new:
                    await stand.vcenter.scenario.delete_vm(each)
                await asyncio.sleep(30)
        await stand.admin.call(vm.ref, "MarkAsTemplate")
        await asyncio.sleep(60)
        (state,) = (each for each in stand.plugin.controller.ports() if each.vm == "web")
        assert (state.state, state.reason) == (
            "DRAINING",
            "its port keeps VLAN 2 until the VM runs or the card is gone",
        )


async def test_a_card_is_closed_in_another_s_vlan_though_it_cannot_be_unplugged(tmp_path):
    async with PluginStand(tmp_path) as stand:
        await stand.carry()
        stand.network("red", "10.2.0.0/24")
        await stand.until(lambda: "red" in stand.groups())
        (vm,) = await placed(stand, "web")
        comes = await stand.vm("comes", "blue", host=0)
        await stand.settle()
        policy = deepcopy(stand.groups()["red"].policy)
        policy.portConfigResetAtDisconnect = False
        await stand.vm("stays", "red", host=1, on=False)
        await stand.settle()
        await stand.vcenter.vrouters.kill(comes.host.moid)
        await asyncio.sleep(30)
        with stand.vcenter.world.commit("somebody") as tx:
            tx.set(stand.groups()["red"], policy=policy)
        leave_settings(stand, free_ports(stand, stand.groups()["red"]), stand.vlan(stand.port(vm)), blocked=False)
        await stand.change(comes, ("edit", comes.nics[0].key, "red"))
        await asyncio.sleep(5)
        port = stand.port(comes)
        assert not stand.is_open(port) or stand.vlan(port) != stand.vlan(stand.port(vm))
        await stand.vcenter.vrouters.restart(comes.host.moid)
        await asyncio.sleep(60)
        await stand.settle()
        connected(stand, comes)


@pytest.mark.parametrize("moves_first", [True, False])
async def test_a_dead_host_that_a_card_has_left_does_not_keep_it_from_another_network(tmp_path, moves_first):
    async with PluginStand(tmp_path) as stand:
        stand.network("red", "10.2.0.0/24")
        (vm,) = await placed(stand, "web")
        await stand.until(lambda: "red" in stand.groups())
        dead, there = stand.vcenter.scenario.hosts()
        before = stand.vlan(stand.port(vm))
        stand.vcenter.vrouters.hang(dead.moid)
        steps = [stand.vcenter.scenario.move_vm(vm, there), stand.change(vm, ("edit", vm.nics[0].key, "red"))]
        for step in steps if moves_first else reversed(steps):
            await step
            await asyncio.sleep(60)
        red = str(stand.contrail.scenario.find("virtual-network", "red").uuid)
        assert str(connected(stand, vm, also=[dead]).network) == red
        (state,) = stand.plugin.controller.ports()
        assert (state.state, state.reason) == (
            "ACTIVE",
            f"to be unplugged at {dead.name}, whose agent does not answer",
        )
        await stand.vm("new", "blue", host=0, on=False)
        assert stand.plugin.vlans.owner(dead.moid, before) == state.id, "it is forwarded there until it is unplugged"
        stand.vcenter.vrouters.hang(dead.moid, hung=False)
        await asyncio.sleep(60)
        await stand.settle()
        connected(stand, vm)
        assert stand.plugin.vlans.owner(dead.moid, before) is None


@pytest.mark.parametrize("moves", [True, False])
async def test_a_dead_host_does_not_keep_the_addresses_of_vms_that_are_gone(tmp_path, moves):
    async with PluginStand(tmp_path) as stand:
        (vm,) = await placed(stand, "web")
        dead, there = stand.vcenter.scenario.hosts()
        before = stand.vlan(stand.port(vm))
        stand.vcenter.vrouters.hang(dead.moid)
        if moves:
            await stand.vcenter.scenario.move_vm(vm, there)
            await asyncio.sleep(60)
        await stand.vcenter.scenario.power_off(vm)
        await stand.admin.run_task(vm.ref, "Destroy_Task")
        await asyncio.sleep(60)
        for kind in ("instance-ip", "virtual-machine-interface", "virtual-machine"):
            assert not stand.objects(kind)
        owner = stand.plugin.vlans.owner(dead.moid, before)
        assert owner is not None, "it is forwarded there until it is unplugged"
        (state,) = stand.plugin.controller.ports()
        assert (state.id, state.state) == (owner, "OWED")
        await stand.crash()
        await stand.resume()
        stand.vcenter.vrouters.hang(dead.moid, hung=False)
        await asyncio.sleep(60)
        await stand.settle()
        assert not stand.plugged(dead)
        assert not list(stand.plugin.vlans.ports())


async def test_the_vlan_of_a_card_that_is_not_ours_is_free_when_its_vm_is_gone(tmp_path):
    async with PluginStand(tmp_path, events=False) as stand:
        await placed(stand, "web")
        spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
            name="foreign", type="earlyBinding", numPorts=4,
            policy=_DVS.VMwarePortgroupPolicy(
                blockOverrideAllowed=True, shapingOverrideAllowed=False, vendorConfigOverrideAllowed=False,
                livePortMovingAllowed=False, portConfigResetAtDisconnect=True, vlanOverrideAllowed=True,
            ),
        )  # fmt: skip
        await stand.admin.run_task(stand.dvs.ref, "AddDVPortgroup_Task", spec=[spec])
        vm = await stand.vm("foreign", "foreign", host=1)
        leave_settings(stand, stand.ports(vm), 77)
        await stand.plugin.resync()
        assert stand.plugin.vlans.owner(vm.host.moid, 77) is not None
        host = vm.host.moid
        seen = stand.plugin.observed.vsphere.vms[vm.moid]
        stand.plugin.ports.vsphere_changed(Change(seen, None))
        assert stand.plugin.vlans.owner(host, 77) is None
        stand.plugin.ports.vsphere_changed(Change(None, seen))
        assert stand.plugin.vlans.owner(host, 77) is not None, "it was only out of sight"
        await stand.vcenter.scenario.power_off(vm)
        await stand.admin.run_task(vm.ref, "Destroy_Task")
        await asyncio.sleep(10)
        await stand.plugin.resync()
        assert stand.plugin.vlans.owner(host, 77) is None
