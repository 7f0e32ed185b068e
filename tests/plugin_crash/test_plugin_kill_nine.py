"""The plugin as a process, killed with signal 9 in the middle of its work; after each start one truth is left."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from plugin_stand import PluginStand
from standby_rig import StandbyRig

from contrail_vsphere.vcenter_plugin.desired import Scope
from contrail_vsphere.vcenter_plugin.plugin import PluginOptions

pytestmark = [pytest.mark.process]
KILLS = 10
SEEDS, LONG = range(2, 12), 100
"""``make soak``: 10 * 100 = 1,000 kills, on as many sites as there are workers at a time."""
KINDS = ("virtual-machine", "virtual-machine-interface", "instance-ip")


async def kills(directory, *, count: int, seed: int) -> None:
    chance, broken = Random(seed), []
    async with StandbyRig(directory / "rig", "", path="/none") as rig:
        rig.vcenter.world.observe(lambda _commit: broken.extend(shared(rig)))
        await rig.start("plugin")
        for name, prefix in (("blue", "10.1.0.0/16"), ("red", "10.2.0.0/16")):
            rig.network(name, prefix)
        await rig.until(lambda: len(rig.groups()) == 2, seconds=60)
        vms: list = []
        for number in range(count):
            work = [asyncio.create_task(act(rig, vms, chance, f"{number}-{each}")) for each in range(2)]
            await asyncio.sleep(chance.choice((0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)))
            await rig.kill("plugin")
            await asyncio.gather(*work)
            await rig.start("plugin")
        await rig.until_served(*vms, seconds=120)
        assert not broken, broken
        for vm in vms:
            await rig.vcenter.scenario.delete_vm(vm)
        async with asyncio.timeout(120):
            while any(rig.objects(kind) for kind in KINDS):
                # The long form deletes more at a time than the brake lets go without being asked.
                if (await rig.status("plugin"))["brake"]["engaged"]:
                    await rig.release("plugin")
                await asyncio.sleep(1)
        await rig.until(lambda: not any(rig.plugged(host) for host in rig.vcenter.scenario.hosts()), seconds=60)
        assert not any(
            rig.is_open(port) for port in rig.dvs.ports.ports.values() if port.group in rig.groups().values()
        )
        assert set(rig.groups()) == {"blue", "red"}
        free = [host["vlans_free"] for host in (await rig.status("plugin"))["hosts"]]
        assert all(each >= 4094 - count for each in free), "what is not free rests for a minute"


def shared(rig) -> list[str]:
    used, found = {}, []
    for port in rig.dvs.ports.ports.values():
        if (
            port.vm is not None
            and rig.is_open(port)
            and port.vm.power_state == "poweredOn"
            and port.vm.host is not None
        ):
            other = used.setdefault((port.vm.host.moid, rig.vlan(port)), port.key)
            found += [f"{other} and {port.key} have VLAN {rig.vlan(port)}"] if other != port.key else []
    return found


async def act(rig, vms, chance, name) -> None:
    scenario = rig.vcenter.scenario
    if len(vms) < 4 or (len(vms) < 7 and chance.random() < 0.4):
        vms.append(await rig.vm(f"vm-{name}", chance.choice(["blue", "red"]), host=chance.randrange(2)))
        return
    vm = vms.pop(chance.randrange(len(vms)))
    if chance.random() < 0.4:
        await scenario.delete_vm(vm)
        return
    await scenario.move_vm(vm, next(host for host in scenario.hosts() if host is not vm.host))
    vms.append(vm)


async def test_the_death_of_one_hosts_plugin_touches_that_host_alone(tmp_path):
    """The first host's plugin is a process, and killed; the second host's, and that of the networks, is in the test."""
    async with StandbyRig(tmp_path / "rig", "", path="/none") as rig:
        first, second = rig.vcenter.scenario.hosts()
        rig.options = PluginOptions(scope=Scope(hosts=frozenset({second.name})))
        await PluginStand.resume(rig)
        try:
            await rig.start(first.name, f'part = "ports"\nhosts = "{first.name}"')
            rig.network("red", "10.2.0.0/16")
            await rig.until(lambda: "red" in rig.groups(), seconds=60)
            old = [await rig.vm(f"old-{number}", "red", host=number) for number in range(2)]
            await rig.until_served(*old, seconds=60)
            await rig.kill(first.name)
            new = [await rig.vm(f"new-{number}", "red", host=number) for number in range(2)]
            await rig.until_served(new[1], *old, seconds=60)
            assert not rig.is_open(rig.port(new[0])), "closed until its plugin is back"
            rig.check()
        finally:
            await PluginStand.crash(rig)


async def test_ten_kills(tmp_path):
    await kills(tmp_path, count=KILLS, seed=1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_thousand_kills(seed, tmp_path):
    """Each is one signal 9 to a plugin that works; beside them the ten of ``make test``."""
    await kills(tmp_path, count=LONG, seed=seed)
