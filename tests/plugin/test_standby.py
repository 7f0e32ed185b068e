"""Several plugins, one acts: processes at a real ZooKeeper, killed and frozen, judged by the simulated worlds."""

import asyncio

import pytest
from kazoo.client import KazooClient
from standby_rig import SESSION, StandbyRig

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("zookeeper")]


async def test_after_kill_nine_the_standby_goes_on_and_writes_nothing_twice(tmp_path, real_zookeeper):
    async with StandbyRig(tmp_path / "rig", real_zookeeper.hosts, path="/test/kill") as rig:
        await rig.start("a")
        assert await rig.leading() == "a"
        await rig.start("b")
        rig.network("red")
        await rig.until(lambda: "red" in rig.groups(), seconds=30)
        vms = [await rig.vm(f"vm-{number}", "red", host=number % 2) for number in range(6)]
        await rig.until_served(*vms)
        vlans = [rig.vlan(rig.port(vm)) for vm in vms]
        assert (await rig.reign("b"))["missing"] == ["stands by: it has not been elected yet"]

        before = rig.calls()
        await rig.kill("a")
        assert await rig.leading() == "b"
        await asyncio.sleep(1.5)
        assert rig.written(before) == {}, "everything was as it should be"

        late = await rig.vm("late", "red")
        await rig.until_served(late)
        assert [rig.vlan(rig.port(vm)) for vm in vms] == vlans
        rig.check()
        assert len(rig.objects("virtual-machine-interface")) == 7

        # What the first one remembered, the second one can undo: of the VM that goes, nothing stays.
        await rig.vcenter.scenario.delete_vm(vms[0])
        await rig.until(lambda: len(rig.objects("virtual-machine-interface")) == 6, seconds=30)
        assert sum(len(rig.plugged(host)) for host in rig.vcenter.scenario.hosts()) == 6


async def test_a_leader_that_was_frozen_finds_itself_succeeded(tmp_path, real_zookeeper):
    async with StandbyRig(tmp_path / "rig", real_zookeeper.hosts, path="/test/frozen") as rig:
        await rig.start("a")
        assert await rig.leading() == "a"
        await rig.start("b")
        rig.network("red")
        await rig.until(lambda: "red" in rig.groups(), seconds=30)
        vms = [await rig.vm(f"vm-{number}", "red", host=number % 2, on=False) for number in range(8)]
        starts = [asyncio.create_task(rig.vcenter.scenario.power_on(vm)) for vm in vms]
        await asyncio.sleep(0.1)
        rig.freeze("a")  # in the middle of its writes
        await asyncio.gather(*starts)
        assert await rig.leading(among=("b",)) == "b"
        rig.thaw("a")
        await rig.until_served(*vms)
        await asyncio.sleep(1.5)
        rig.check()
        assert len(rig.objects("virtual-machine-interface")) == len(rig.objects("instance-ip")) == len(vms)
        assert not (await rig.reign("a"))["leads"]
        assert await rig.leading() == "b"


async def test_without_zookeeper_nobody_writes_and_afterwards_one_does(tmp_path, real_zookeeper):
    async with StandbyRig(tmp_path / "rig", real_zookeeper.hosts, path="/test/away") as rig:
        await rig.start("a")
        assert await rig.leading() == "a"
        rig.network("red")
        await rig.until(lambda: "red" in rig.groups(), seconds=30)
        first = await rig.vm("first", "red")
        await rig.until_served(first)
        real_zookeeper.kill()
        try:
            await asyncio.sleep(SESSION)
            before = rig.calls()
            late = await rig.vm("late", "red")
            await asyncio.sleep(2)
            assert rig.written(before).keys() <= {"Rename_Task"}
            assert not rig.is_open(rig.port(late)), "blocked until somebody may act"
            assert rig.served(first)
        finally:
            real_zookeeper.start()
        await rig.until_served(first, late, seconds=60)
        rig.check()


async def test_the_old_plugin_and_we_never_act_at_once(tmp_path, real_zookeeper):
    path = "/vcenter-plugin"
    old = KazooClient(real_zookeeper.hosts, timeout=SESSION)
    await asyncio.to_thread(old.start)
    try:
        latch = f"{path}/_c_3f3b-latch-"
        await asyncio.to_thread(
            lambda: old.create(latch, b"vcenter-plugin", ephemeral=True, sequence=True, makepath=True)
        )
        async with StandbyRig(tmp_path / "rig", real_zookeeper.hosts, path=path) as rig:
            await rig.start("a")
            rig.network("red")
            await asyncio.sleep(3)
            assert not (await rig.reign("a"))["leads"]
            assert not rig.groups()
            await asyncio.to_thread(old.stop)
            await rig.until(lambda: "red" in rig.groups(), seconds=40)
    finally:
        await asyncio.to_thread(old.stop)
        old.close()
