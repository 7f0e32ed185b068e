"""F13: an upgrade goes host by host, canary first; who is not in turn goes on forwarding all the time."""

from datetime import timedelta

import pytest

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize("profile", ["vc65", "vc67", "vc80u3"])
async def test_f13_every_host_gets_the_new_version_and_only_the_one_in_turn_is_dark(scene, profile):
    async with scene(hosts=3, profile=profile) as lab:
        lab.begin_watch()
        await lab.upgrade("1.1.0")
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.1.0")
        assert lab.most_dark == 1
        assert sorted(lab.turns) == sorted(host.name for host in lab.in_service())
        assert {each.version for each in lab.manager.hosts()} == {"1.1.0"}


async def test_f13_the_canary_passes_its_gate_before_anybody_else_begins(scene):
    async with scene(hosts=4, rollout='gate = 120\ncanary = 1\nconcurrency = 3\norder = ["esx-02"]') as lab:
        lab.begin_watch()
        await lab.upgrade("1.1.0")
        await lab.until(lambda: lab.version_on("esx-02") == "1.1.0" and lab.forwards_now("esx-02"), seconds=900)
        await lab.pass_time(100)
        assert lab.turns == ["esx-02"], "the gate is two minutes"
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.1.0")
        assert 1 < lab.most_dark <= 3


async def test_f13_slots_are_of_the_whole_deployment_and_clusters_follow_the_canaries(scene):
    async with scene(hosts=4, clusters=2) as lab:
        lab.begin_watch()
        updates = lab.vcenter.calls["Update"]
        await lab.upgrade("1.1.0")
        await lab.until(lambda: lab.turns, seconds=600)
        assert lab.vcenter.calls["Update"] - updates == 1, "only the canary's cluster has been given the package"
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.1.0")
        assert lab.most_dark == 1


async def test_f13_pause_lets_turns_end_and_resume_goes_on(scene):
    async with scene(hosts=3) as lab:
        lab.begin_watch()
        upgrades = lab.manager.operator.upgrades
        await lab.upgrade("1.1.0")
        await lab.until(lambda: lab.turns, seconds=600)
        assert upgrades.pause("dc1", by="tester")
        await lab.until(lambda: not lab.rollout().turns, seconds=600)
        await lab.pass_time(600)
        assert list(lab.versions().values()).count("1.1.0") == 1
        assert all(lab.forwards_now(host) for host in lab.versions())
        assert upgrades.resume("dc1")
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.1.0")


async def test_f13_a_person_looks_at_the_canary(scene):
    async with scene(hosts=3, rollout="gate = 20\napproval = true") as lab:
        await lab.upgrade("1.1.0")
        await lab.until(lambda: lab.rollout().passed, seconds=900)
        await lab.pass_time(900)
        assert list(lab.versions().values()).count("1.1.0") == 1
        assert lab.manager.operator.upgrades.approve("dc1")
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.1.0")


async def test_f13_another_size_is_an_upgrade_too(scene):
    async with scene(hosts=2) as lab:
        lab.begin_watch()
        await lab.upgrade("", size="small")
        await lab.until(lab.over, seconds=3600)
        assert {vm.memory_mb for vm in lab.contrailvms()} == {4096}
        assert lab.most_dark == 1 and len(lab.turns) == 2


async def test_f13_an_asked_for_rollback_goes_the_same_way_back(scene):
    async with scene(hosts=3) as lab:
        await lab.upgrade("1.1.0")
        await lab.until(lab.over, seconds=3600)
        lab.begin_watch()
        assert lab.manager.operator.upgrades.rollback("dc1", by="tester")
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.0.0")
        assert lab.most_dark == 1


async def test_f13_turns_begin_in_maintenance_windows_only(scene):
    async with scene(hosts=2) as lab:
        opens = lab.now() + timedelta(minutes=25)
        lab.apply(lab.text + f'windows = ["{opens:%H:%M}-{opens + timedelta(hours=1):%H:%M}"]\n')
        lab.begin_watch(every=10.0)
        await lab.upgrade("1.1.0")
        await lab.pass_time(1200)
        assert not lab.turns and lab.waiting(), "made, but held in the hook"
        await lab.until(lambda: lab.turns, seconds=900)
        assert timedelta(0) <= lab.now() - opens.replace(second=0, microsecond=0) < timedelta(minutes=3)
