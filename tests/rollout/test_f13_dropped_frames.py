"""F13: the gate is not passed by a vRouter that has a controller but drops frames; counters are those of the agent."""

import pytest

from contrail_vsphere.simulator.core.faults import FaultRule

pytestmark = pytest.mark.looptime


def in_turn(lab) -> str:
    """What the status says of the hosts in turn."""
    (rollout,) = lab.manager.status().rollouts
    return " ".join(f"{each.name}: {each.note}" for each in rollout.hosts if each.place == "in turn")


def lossy_package(lab, version) -> int:
    return lab.vcenter.faults.add(FaultRule(point="vrouter.loss", where={"version": version}, drop=True))


async def test_f13_a_vrouter_that_drops_frames_keeps_its_turn_and_nobody_follows(scene):
    async with scene(hosts=3) as lab:
        lab.begin_watch()
        lossy_package(lab, "1.1.0")
        await lab.upgrade("1.1.0")
        await lab.until(lambda: "frames a second" in in_turn(lab), seconds=600)
        assert "esx-00: its vRouter drops 100 frames a second; 10 are allowed" in in_turn(lab)
        await lab.pass_time(60)
        assert lab.rollout().state == "running" and lab.turns == ["esx-00"]
        await lab.scenario.vrouter(lab.on("esx-00").moid, "lossless")
        lab.vcenter.faults.clear()
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.1.0")


async def test_f14_one_that_drops_them_until_the_deadline_has_failed(scene):
    async with scene(hosts=4) as lab:
        lab.begin_watch()
        lossy_package(lab, "1.1.0")
        await lab.upgrade("1.1.0")
        await lab.until(lambda: lab.rollout().kind == "rollback", seconds=600)
        assert "drops 100 frames a second" in lab.rollout().reason
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.0.0") and set(lab.turns) == {"esx-00"}


async def test_f13_where_most_vrouters_drop_frames_the_package_is_not_to_blame(scene):
    async with scene(hosts=4) as lab:
        for vm in lab.contrailvms():
            await lab.scenario.vrouter(vm.moid, "lossy")
        lossy_package(lab, "1.1.0")
        await lab.upgrade("1.1.0")
        await lab.until(lambda: len(lab.rollout().passed) >= 1, seconds=600)
        assert (lab.rollout().kind, lab.rollout().state) == ("upgrade", "running")


@pytest.mark.parametrize("rollout", ['gate = 20\ndrops = "any"', "gate = 20\ndrops = 200"])
async def test_a_deployment_may_allow_more(scene, rollout):
    async with scene(hosts=2, rollout=rollout) as lab:
        lossy_package(lab, "1.1.0")
        await lab.upgrade("1.1.0")
        await lab.until(lab.over, seconds=1800)
        assert lab.all_on("1.1.0")


async def test_nobody_asks_what_is_dropped_when_nothing_is_rolled_out(scene):
    async with scene(hosts=2) as lab:
        await lab.pass_time(300)
        assert not lab.vcenter.vrouters.calls["GET Snh_KDropStatsReq"]
