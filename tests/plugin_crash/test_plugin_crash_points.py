"""The plugin dies at every kind of moment, a hundred times; after each restart one truth is left, and nothing leaks."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from plugin_crash_site import PluginCrashSite
from plugin_worlds import connected

pytestmark = pytest.mark.looptime
KINDS = ("virtual-machine", "virtual-machine-interface", "instance-ip")
DEATHS, LONG = 25, 400
"""On each of four sites: ``make test``, ``make soak``."""
FURTHEST = 16
"""Points that a VM's way from nothing to plugged has, and some more."""


async def deaths(directory, *, seed: int, wanted: int) -> None:
    chance = Random(seed)
    async with PluginCrashSite(directory, brake_absolute=10_000, quarantine=5.0, linger=1.0) as site:
        networks = ["blue", "red"]
        for name, prefix in zip(networks, ("10.1.0.0/16", "10.2.0.0/16"), strict=True):
            site.network(name, prefix)
        await site.until(lambda: len(site.groups()) == 2)
        vms, died, number = [], 0, 0
        while died < wanted:
            number += 1
            site.arm(chance.randrange(1, FURTHEST))
            await act(site, vms, chance, number)
            died += await site.over(seconds=5.0)
            await asyncio.sleep(3)
            await site.settle()
            assert not site.shared, site.shared
            agree(site, vms)
        for vm in vms:
            await site.vcenter.scenario.delete_vm(vm)
        await asyncio.sleep(15)
        await site.settle()
        agree(site, [])
        assert not list(site.plugin.ledger.all()) and not list(site.plugin.vlans.ports()), "nothing is remembered"
        await asyncio.sleep(10)
        for host in site.vcenter.scenario.hosts():
            assert site.plugin.capacity(host.moid).free == 4094, "no VLAN leaked"


async def act(site, vms, chance, number):
    """One thing that people do."""
    scenario = site.vcenter.scenario
    vm = chance.choice(vms) if vms else None
    what = chance.choice(["create", "create", "move", "card", "off and on", "delete"]) if len(vms) > 1 else "create"
    if what == "create" and len(vms) < 5:
        vms.append(await site.vm(f"vm-{number}", chance.choice(list(site.groups())), host=chance.randrange(2)))
    elif what == "move":
        await scenario.move_vm(vm, next(host for host in scenario.hosts() if host is not vm.host))
    elif what == "card":
        await site.change(vm, ("edit", vm.nics[0].key, chance.choice(list(site.groups()))))
    elif what == "off and on":
        await scenario.power_off(vm)
        await asyncio.sleep(chance.choice((0.0, 0.3)))
        await scenario.power_on(vm)
    else:
        vms.remove(vm)
        await scenario.delete_vm(vm)


def agree(site, vms):
    for vm in vms:
        connected(site, vm)
    assert [len(site.objects(kind)) for kind in KINDS] == [len(vms)] * 3, f"after a death {site.last}"
    assert sum(len(site.plugged(host)) for host in site.vcenter.scenario.hosts()) == len(vms)
    assert len(site.groups()) == 2


@pytest.mark.parametrize("seed", range(4))
async def test_a_hundred_deaths(tmp_path, seed):
    await deaths(tmp_path, seed=seed, wanted=DEATHS)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 110))
async def test_thousands_of_deaths(tmp_path, seed):
    await deaths(tmp_path, seed=seed, wanted=LONG)
