"""The plugin of one host follows its host and no other, and still loses nobody who leaves it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from scoped_stand import ScopedStand

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter import vm_life
from contrail_vsphere.simulator.vcenter.property_filter import PropertyFilter
from contrail_vsphere.simulator.vcenter.session_manager import SessionManager
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.vcenter_plugin.desired import Scope

pytestmark = pytest.mark.looptime


def per_host(hosts=2):
    scopes = {f"host-{n}": Scope(networks=False, hosts=frozenset({f"esx-{n:02}"})) for n in range(hosts)}
    return {"networks": Scope(ports=False), **scopes}


def followed(stand, name):
    """What vCenter would tell the plugin of: members of the filters of its session, by kind."""
    (manager,) = stand.vcenter.world.of_type(SessionManager)
    cookie = stand.plugins[name].vcenter.session._cookie
    (session,) = [each for key, each in manager.sessions.items() if key in cookie]
    found = {}
    for each in session.objects.values():
        if isinstance(each, PropertyFilter):
            for member in each.members.values():
                found.setdefault(member.wsdl, set()).add(member.name if hasattr(member, "name") else member.moid)
    return found


async def placed(stand, *hosts, network="red"):
    if network not in stand.groups():
        stand.network(network)
        await stand.until(lambda: network in stand.groups())
    vms = [await stand.vm(f"vm-{n}-on-{host}", network, host=host) for n, host in enumerate(hosts)]
    await stand.until(lambda: all(stand.served(vm) for vm in vms))
    return vms


async def test_vcenter_tells_it_of_its_own_host_alone(tmp_path):
    async with ScopedStand(tmp_path, per_host(3), hosts=3) as stand:
        vms = await placed(stand, 0, 0, 1, 1, 1, 2)
        told = followed(stand, "host-0")
        assert told["HostSystem"] == {"esx-00"}
        assert told["VirtualMachine"] == {"vm-0-on-0", "vm-1-on-0"}
        assert {"red"} <= told["DistributedVirtualPortgroup"]
        assert set(told) <= {
            "HostSystem", "VirtualMachine", "DistributedVirtualPortgroup", "VmwareDistributedVirtualSwitch",
            "EventManager", "Task",
        }  # fmt: skip
        heard = []
        stand.plugins["host-0"].vcenter.inventory.subscribe(heard.append)
        for vm in vms[2:]:
            await stand.vcenter.scenario.rename_vm(vm, f"other {vm.name}")
            await stand.vcenter.scenario.power_off(vm)
        await stand.vcenter.scenario.move_vm(vms[5], stand.vcenter.scenario.hosts()[1])
        await asyncio.sleep(30)
        assert not heard
        assert all(stand.served(vm) for vm in vms[:2])


async def test_who_has_left_is_followed_until_it_is_handed_over_and_no_longer(tmp_path):
    async with ScopedStand(tmp_path, per_host()) as stand:
        (vm,) = await placed(stand, 0)
        here, there = stand.vcenter.scenario.hosts()
        await stand.stop("host-1")
        await stand.vcenter.scenario.move_vm(vm, there)
        await stand.until(lambda: not stand.plugged(here))
        await asyncio.sleep(60)
        assert len(stand.objects("virtual-machine-interface")) == 1, "it has moved: nothing of it goes"
        assert not list(stand.plugins["host-0"].ledger.all())
        assert not followed(stand, "host-0").get("VirtualMachine")
        await stand.begin("host-1")
        await stand.until(lambda: stand.served(vm))


@pytest.mark.parametrize("fate", ["moves", "is deleted"])
async def test_what_befell_a_vm_while_its_plugin_was_away_is_asked(tmp_path, fate):
    async with ScopedStand(tmp_path, per_host()) as stand:
        vm, other = await placed(stand, 0, 0)
        here, there = stand.vcenter.scenario.hosts()
        await stand.stop("host-0")
        if fate == "moves":
            await stand.vcenter.scenario.move_vm(vm, there)
            await stand.until(lambda: stand.is_open(stand.port(vm)))
        else:
            await stand.vcenter.scenario.delete_vm(vm)
        await asyncio.sleep(5)
        before = stand.calls()
        await stand.begin("host-0")
        await stand.until(lambda: len(stand.plugged(here)) == 1)
        await asyncio.sleep(30)
        assert stand.served(other)
        assert len(stand.objects("virtual-machine-interface")) == (2 if fate == "moves" else 1)
        if fate == "moves":
            assert stand.served(vm)
            assert not stand.written(before), "nothing of a VM that another plugin serves is touched"


@pytest.mark.parametrize("fate", ["moves", "is deleted"])
async def test_what_befell_a_vm_while_the_session_was_lost_is_asked(tmp_path, fate):
    async with ScopedStand(tmp_path, per_host()) as stand:
        vm, other = await placed(stand, 0, 0)
        here, there = stand.vcenter.scenario.hosts()
        (manager,) = stand.vcenter.world.of_type(SessionManager)
        manager.expire_all()
        if fate == "moves":
            await stand.admin.session.renew(stand.admin.session.epoch)
            await stand.vcenter.scenario.move_vm(vm, there)
        else:
            await stand.vcenter.scenario.delete_vm(vm)
        await stand.until(lambda: len(stand.plugged(here)) == 1, seconds=120)
        await asyncio.sleep(60)
        assert stand.served(other)
        assert len(stand.objects("virtual-machine-interface")) == (2 if fate == "moves" else 1)
        if fate == "moves":
            assert stand.served(vm)


async def test_a_vm_that_is_registered_on_another_host_under_another_id_keeps_its_objects(tmp_path):
    async with ScopedStand(tmp_path, per_host()) as stand:
        (vm,) = await placed(stand, 0)
        there = stand.vcenter.scenario.hosts()[1]
        objects = {each.uuid for kind in ("virtual-machine-interface", "instance-ip") for each in stand.objects(kind)}
        path, folder = vm.vmx, vm.parent
        await stand.vcenter.scenario.power_off(vm)
        await asyncio.sleep(5)
        vm_life.unregister(stand.vcenter.world, vm)
        await asyncio.sleep(0.5)
        pool = there.compute_resource.root_pool.ref
        await stand.admin.run_task(
            folder.ref, "RegisterVM_Task", path=path, asTemplate=False, pool=pool, host=there.ref
        )
        (again,) = [each for each in stand.vcenter.world.of_type(VirtualMachine) if each.name == vm.name]
        assert again is not vm
        await stand.vcenter.scenario.power_on(again)
        await stand.until(lambda: stand.served(again))
        await asyncio.sleep(60)
        assert stand.served(again)
        now = {each.uuid for kind in ("virtual-machine-interface", "instance-ip") for each in stand.objects(kind)}
        assert now == objects
        assert not list(stand.plugins["host-0"].ledger.all())


async def crowded(stand):
    """``mover`` on the first host has the VLAN of ``twin`` on the second: their plugins know nothing of each other."""
    (mover,) = await placed(stand, 0)
    (twin,) = await placed(stand, 1, network="blue")
    here = stand.vlan(stand.port(mover))
    assert stand.vlan(stand.port(twin)) == here, "there is but one VLAN to begin with"
    await stand.carry()
    return mover, twin


def shared(stand):
    """VLANs that two open ports of running VMs have on one host."""
    used, found = set(), []
    for port in stand.dvs.ports.ports.values():
        if port.vm is not None and stand.is_open(port) and port.vm.power_state == "poweredOn" and stand.vlan(port):
            place = (port.vm.host, stand.vlan(port))
            found += [place] if place in used else []
            used.add(place)
    return found


@pytest.mark.parametrize("fails", [False, True])
async def test_a_port_whose_vlan_is_another_s_at_the_next_plugin_travels_closed(tmp_path, fails):
    async with ScopedStand(tmp_path, per_host(), reserved_vlans=frozenset(range(2, 4095)), quarantine=1.0) as stand:
        mover, twin = await crowded(stand)
        stand.more_vlans("host-1", 3)
        here, there = stand.vcenter.scenario.hosts()
        stand.vcenter.world.services[Timing] = replace(Timing.instant(), relocate=6.0)
        leaks = []

        def look(_commit):
            leaks.extend(shared(stand))
            if mover.host is there and (stand.frame_arrives(mover, twin) or stand.frame_arrives(twin, mover)):
                leaks.append("a frame crossed from red to blue")

        stand.vcenter.world.observe(look)
        move = asyncio.create_task(stand.vcenter.scenario.move_vm(mover, there))
        await stand.until(lambda: not stand.is_open(stand.port(mover)), seconds=4)
        assert mover.host is here, "closed before it leaves"
        if fails:
            await stand.vcenter.scenario.disconnect_host(there)
        await asyncio.gather(move, return_exceptions=True)
        if fails:
            await stand.vcenter.scenario.reconnect_host(there)
        await stand.until(lambda: stand.served(mover) and stand.served(twin), seconds=60)
        assert mover.host is (here if fails else there)
        assert stand.vlan(stand.port(mover)) == (1 if fails else 3)
        assert leaks == []


async def test_a_vlan_that_is_on_its_way_is_given_to_nobody(tmp_path):
    async with ScopedStand(tmp_path, per_host(), reserved_vlans=frozenset(range(3, 4095)), quarantine=1.0) as stand:
        (mover,) = await placed(stand, 0)
        there = stand.vcenter.scenario.hosts()[1]
        own = stand.vlan(stand.port(mover))
        stand.vcenter.world.services[Timing] = replace(Timing.instant(), relocate=6.0)
        move = asyncio.create_task(stand.vcenter.scenario.move_vm(mover, there))
        await asyncio.sleep(1)
        leaks = []
        stand.vcenter.world.observe(lambda _commit: leaks.extend(shared(stand)))
        new = await stand.vm("new", "red", host=1)
        await move
        await stand.until(lambda: stand.served(mover) and stand.served(new))
        assert stand.vlan(stand.port(mover)) == own
        assert stand.vlan(stand.port(new)) not in (None, own)
        assert leaks == []


async def test_an_unannounced_arrival_in_another_s_vlan_is_put_right_at_once(tmp_path):
    """Nobody can prevent it, as a port takes its settings along; how long it may last can be bounded."""
    async with ScopedStand(tmp_path, per_host(), reserved_vlans=frozenset(range(2, 4095)), quarantine=1.0) as stand:
        mover, twin = await crowded(stand)
        stand.more_vlans("host-1", 3)
        for plugin in stand.plugins.values():
            await plugin.vcenter.events.stop()
        await stand.vcenter.scenario.move_vm(mover, stand.vcenter.scenario.hosts()[1])
        assert await stand.until(lambda: not shared(stand), seconds=10) < 1
        await stand.until(lambda: stand.served(mover) and stand.served(twin), seconds=60)
        assert not stand.frame_arrives(mover, twin)
