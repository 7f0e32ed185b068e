"""The packet oracle's word on F13 and F14: tenants on hosts that are not in turn never lose a frame."""

import pytest
from rollout_tenants import Tenants

pytestmark = pytest.mark.looptime


async def test_f13_tenants_on_hosts_not_in_turn_never_lose_a_frame(scene):
    async with scene(hosts=3, vms=0) as lab, await Tenants.settle(lab) as tenants:
        lab.begin_watch()
        await lab.upgrade("1.1.0")
        await lab.until(lab.over, seconds=3600)
        assert not tenants.lost, tenants.lost[:5]
        assert tenants.dark == set(lab.versions()), "each lost some in its own turn, or this test sees nothing"
        assert lab.most_dark == 1 and not tenants.lost_now()


async def test_f14_a_bad_package_costs_the_tenants_of_the_canary_frames_and_nobody_else(scene):
    async with scene(hosts=3, vms=0) as lab, await Tenants.settle(lab) as tenants:
        lab.break_package("1.1.0")
        tenants.failed.add("esx-00")
        await lab.upgrade("1.1.0")
        await lab.until(lambda: lab.rollout().kind == "rollback" and lab.over(), seconds=3600)
        assert not tenants.lost, tenants.lost[:5]
        assert tenants.dark == {"esx-00"} and not tenants.lost_now()


async def test_a_turn_ends_only_when_all_ports_are_plugged(scene):
    async with scene(hosts=2, vms=0, rollout="gate = 20") as lab, await Tenants.settle(lab) as tenants:
        owed = tenants.by_host["esx-00"]
        await lab.upgrade("1.1.0")
        await lab.until(lambda: lab.version_on("esx-00") == "1.1.0", seconds=600)
        tenants.by_host["esx-00"] = []  # nobody plugs them

        async def lacking(_host):
            return False, "2 ports are not plugged"

        lab.manager.watch._synced = lacking
        await lab.pass_time(120)
        assert lab.forwards_now("esx-00") and lab.turns_open() == {"esx-00"}, "forwards, but is not synced"
        tenants.by_host["esx-00"], lab.manager.watch._synced = owed, tenants.synced
        await lab.until(lab.over, seconds=3600)
        assert not tenants.lost_now()
