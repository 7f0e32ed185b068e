"""One plugin per host beside one for the networks, and one per switch: together they do what one alone would do."""

import asyncio

import pytest
from scoped_stand import ScopedStand

from contrail_vsphere.vcenter_plugin.desired import Scope

pytestmark = pytest.mark.looptime


def per_host(stand_hosts: int) -> dict[str, Scope]:
    scopes = {
        f"host-{number}": Scope(networks=False, hosts=frozenset({f"esx-{number:02}"})) for number in range(stand_hosts)
    }
    return {"networks": Scope(ports=False), **scopes}


async def test_each_host_serves_its_own_vms_and_networks_are_made_once(tmp_path):
    async with ScopedStand(tmp_path, per_host(2)) as stand:
        names = [host.name for host in stand.vcenter.scenario.hosts()]
        assert names == ["esx-00", "esx-01"], names
        stand.network("red")
        await stand.until(lambda: "red" in stand.groups())
        vms = [await stand.vm(f"vm-{number}", "red", host=number % 2) for number in range(6)]
        await stand.until(lambda: all(stand.served(vm) for vm in vms))
        await asyncio.sleep(30)
        stand.check()
        assert len(stand.objects("virtual-machine-interface")) == len(stand.objects("virtual-machine")) == 6
        assert len([name for name in stand.groups() if name.startswith("red")]) == 1


async def test_a_move_hands_the_port_over_and_keeps_its_objects(tmp_path):
    async with ScopedStand(tmp_path, per_host(2)) as stand:
        stand.network("red")
        await stand.until(lambda: "red" in stand.groups())
        vm = await stand.vm("wanderer", "red")
        await stand.until(lambda: stand.served(vm))
        objects = {each.uuid for kind in ("virtual-machine-interface", "instance-ip") for each in stand.objects(kind)}
        vlan = stand.vlan(stand.port(vm))
        before = stand.calls()
        for number in (1, 0, 1):
            await stand.vcenter.scenario.move_vm(vm, stand.vcenter.scenario.hosts()[number])
            await stand.until(lambda: stand.served(vm))
            await asyncio.sleep(10)
            assert stand.served(vm)
        now = {each.uuid for kind in ("virtual-machine-interface", "instance-ip") for each in stand.objects(kind)}
        assert now == objects
        assert stand.vlan(stand.port(vm)) == vlan
        assert not [call for call in stand.written(before) if "delete" in call or call == "ReconfigureDVPort_Task"]
        assert not list(stand.plugins["host-0"].ledger.all()), "the plugin of the host it left has forgotten it"


async def test_what_one_deletes_the_others_do_not_miss(tmp_path):
    async with ScopedStand(tmp_path, per_host(2)) as stand:
        stand.network("red")
        await stand.until(lambda: "red" in stand.groups())
        vms = [await stand.vm(f"vm-{number}", "red", host=number % 2) for number in range(4)]
        await stand.until(lambda: all(stand.served(vm) for vm in vms))
        await stand.vcenter.scenario.delete_vm(vms[0])
        await stand.until(lambda: len(stand.objects("virtual-machine")) == 3)
        await asyncio.sleep(700)
        assert all(stand.served(vm) for vm in vms[1:])
        assert len(stand.objects("virtual-machine-interface")) == 3
        stand.check()


async def test_the_death_of_one_plugin_touches_one_host(tmp_path):
    async with ScopedStand(tmp_path, per_host(3), hosts=3) as stand:
        stand.network("red")
        await stand.until(lambda: "red" in stand.groups())
        old = [await stand.vm(f"old-{number}", "red", host=number) for number in range(3)]
        await stand.until(lambda: all(stand.served(vm) for vm in old))
        await stand.stop("host-0")
        new = [await stand.vm(f"new-{number}", "red", host=number) for number in range(3)]
        await stand.until(lambda: stand.served(new[1]) and stand.served(new[2]))
        await stand.vcenter.scenario.delete_vm(old[0])
        await asyncio.sleep(60)
        assert not stand.is_open(stand.port(new[0])), "blocked until its plugin is back"
        assert all(stand.served(vm) for vm in (*old[1:], *new[1:]))
        await stand.begin("host-0")
        await stand.until(lambda: stand.served(new[0]))
        await stand.until(lambda: len(stand.objects("virtual-machine")) == 5)
        assert len(stand.plugged(stand.vcenter.scenario.hosts()[0])) == 1
        stand.check()


async def test_objects_of_a_host_that_never_comes_back_are_cleared_up(tmp_path):
    async with ScopedStand(tmp_path, per_host(2)) as stand:
        stand.network("red")
        await stand.until(lambda: "red" in stand.groups())
        vms = [await stand.vm(f"vm-{number}", "red", host=number) for number in range(2)]
        await stand.until(lambda: all(stand.served(vm) for vm in vms))
        await stand.stop("host-0")
        await stand.vcenter.scenario.delete_vm(vms[0])
        await asyncio.sleep(120)
        assert len(stand.objects("virtual-machine")) == 2, "its own plugin is given time"
        await stand.until(lambda: len(stand.objects("virtual-machine")) == 1, seconds=900)
        assert len(stand.objects("virtual-machine-interface")) == 1
        assert stand.served(vms[1])
