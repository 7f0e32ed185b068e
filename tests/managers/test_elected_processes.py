"""Two managers as processes at a real ZooKeeper, killed and frozen; judged by the simulated vCenter."""

import asyncio

import pytest
from elected_rig import ElectedRig
from two_managers import WRITES

from contrail_vsphere.model.errors import NotReadyYet

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("zookeeper")]


def written(before, after):
    return {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}


async def standing_by(rig, name) -> str:
    """What a standby says of who leads, once it has looked."""
    while True:
        try:
            return (await rig.ask(name, "/v1/status"))["standby"]
        except NotReadyYet:
            await asyncio.sleep(0.2)


async def test_a_frozen_leader_finds_itself_succeeded_and_goes_on_when_its_successor_is_killed(
    tmp_path, real_zookeeper
):
    async with ElectedRig(tmp_path / "rig", real_zookeeper.hosts, path="/test/managers") as rig:
        await rig.start("a")
        assert await rig.leader() == "a"
        await rig.start("b")
        assert (await rig.ask("b", "/v1/reign"))["leads"] is False
        async with asyncio.timeout(60):
            assert await standing_by(rig, "b") == "a leads, this manager stands by"
        await rig.apply("a")
        while not rig.contrailvms():  # noqa: ASYNC110 - something is to happen in the other process
            await asyncio.sleep(0.02)
        rig.freeze("a")
        assert await rig.leader(among=("b",)) == "b"
        rig.thaw("a")
        await rig.heals()
        assert rig.calls()["CreateAgency"] == 1 and not (await rig.ask("a", "/v1/reign"))["leads"]
        assert not rig.secrets_seen()

        vms = {vm.moid for vm in rig.contrailvms()}
        before = rig.calls()
        await rig.kill("b")
        assert await rig.leader() == "a"
        await asyncio.sleep(3)
        assert written(before, rig.calls()).keys() & WRITES <= {"UpdateExtension"}, "all was as it should be"
        assert {vm.moid for vm in rig.contrailvms()} == vms

        await rig.vcenter.scenario.delete_vm(rig.contrailvms()[0])
        await rig.heals()
        status = await rig.ask("a", "/v1/status")
        assert [each["deployment"] for each in status["deployments"]] == ["dc1"] and not status["standby"]
        assert rig.calls()["CreateAgency"] == 1
        assert not rig.vcenter.world.defects
