"""F17, F25, F29: what stands in the way is named per host; contradictory reads are doubted; clocks may disagree."""

from datetime import timedelta

import pytest

from contrail_vsphere.simulator.core.clock import Clock
from contrail_vsphere.simulator.core.timing import Timing

pytestmark = pytest.mark.looptime


async def test_f17_a_nic_that_somebody_moved_is_put_back(scene):
    async with scene(hosts=2) as lab:
        vm = lab.on("esx-01")
        wired, booted = lab.wiring(vm), vm.boot_time
        wrong = next(each for each in lab.host("esx-01").networks if each.name == "VM Network")
        from dataclasses import replace

        with lab.world.commit("somebody") as tx:
            nics = tuple(
                replace(nic, network=wrong, port_key="") if hasattr(nic, "port_key") else nic for nic in vm.nics
            )
            tx.set(vm, nics=nics)
        assert lab.wiring(vm) != wired
        await lab.until(lambda: lab.wiring(vm) == wired, seconds=60)
        assert vm.boot_time == booted, "while it runs"


async def test_f25_an_issue_that_is_gone_at_the_second_look_is_not_resolved(scene):
    async with scene(hosts=2, timing=Timing.instant()) as lab:
        victim = lab.on("esx-01")
        await lab.scenario.power_off(victim)
        await lab.until(lambda: lab.told("esx-01").issues or lab.resolves(), seconds=5)
        await lab.scenario.power_on(victim)
        await lab.heals(seconds=120)
        assert lab.resolves() == 0


async def test_f25_an_inventory_that_lags_behind_is_not_acted_on(scene):
    """vCenter's updates are late by a minute: EAM's word is checked against it, and nothing is doubled."""
    async with scene(hosts=2) as lab:
        key = lab.fault(method="WaitForUpdatesEx", delay=60.0)
        await lab.scenario.delete_vm(lab.on("esx-01"))
        await lab.heals(seconds=1500)
        lab.vcenter.faults.remove(key)
        await lab.heals()
        assert len(lab.contrailvms()) == 2 and len(lab.agencies()) == 1


@pytest.mark.parametrize("hours", [-3, 3])
async def test_f29_the_clocks_of_manager_and_vcenter_disagree(scene, hours):
    from datetime import UTC, datetime

    async with scene(hosts=2, deploy=False, clock=Clock(datetime.now(UTC) + timedelta(hours=hours))) as lab:
        lab.apply()
        took = await lab.heals()
        assert took < 120
        await lab.scenario.power_off(lab.on("esx-01"))
        assert await lab.until(lab.resolves, seconds=30) <= 3
        await lab.heals(seconds=120)
        await lab.scenario.delete_vm(lab.on("esx-00"))
        await lab.heals()
        lab.vcenter.expire_sessions()
        await lab.heals()
        assert lab.client.events.cursor is not None and lab.client.events.cursor.time.tzinfo is not None
        assert lab.now().tzinfo is not None
