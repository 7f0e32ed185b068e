"""Two managers as processes at a real ZooKeeper, killed and frozen; judged by the simulated vCenter."""

import asyncio

import pytest
from elected_rig import ElectedRig
from two_managers import WRITES

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("zookeeper")]


def written(before, after):
    return {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}


async def test_after_kill_nine_the_standby_goes_on_and_writes_nothing_twice(tmp_path, real_zookeeper):
    async with ElectedRig(tmp_path / "rig", real_zookeeper.hosts, path="/test/managers-kill") as rig:
        await rig.start("a")
        assert await rig.leader() == "a"
        await rig.start("b")
        await rig.apply("a")
        await rig.heals()
        vms = {vm.moid for vm in rig.contrailvms()}
        assert (await rig.ask("b", "/v1/reign"))["leads"] is False

        assert not rig.secrets_seen()
        before = rig.calls()
        await rig.kill("a")
        assert await rig.leader() == "b"
        await asyncio.sleep(3)
        assert written(before, rig.calls()).keys() & WRITES <= {"UpdateExtension"}, "all was as it should be"
        assert {vm.moid for vm in rig.contrailvms()} == vms

        await rig.vcenter.scenario.delete_vm(rig.contrailvms()[0])
        await rig.heals()
        status = await rig.ask("b", "/v1/status")
        assert [each["deployment"] for each in status["deployments"]] == ["dc1"]
        assert rig.calls()["CreateAgency"] == 1


async def test_a_leader_that_is_frozen_in_the_middle_finds_itself_succeeded(tmp_path, real_zookeeper):
    async with ElectedRig(tmp_path / "rig", real_zookeeper.hosts, path="/test/managers-frozen", hosts=3) as rig:
        await rig.start("a")
        assert await rig.leader() == "a"
        await rig.start("b")
        await rig.apply("a")
        while not rig.contrailvms():  # noqa: ASYNC110 - something is to happen in the other process
            await asyncio.sleep(0.02)
        rig.freeze("a")
        assert await rig.leader(among=("b",)) == "b"
        rig.thaw("a")
        await rig.heals()
        assert rig.calls()["CreateAgency"] == 1 and not (await rig.ask("a", "/v1/reign"))["leads"]
        assert not rig.vcenter.world.defects
