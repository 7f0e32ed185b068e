"""The work shared by switch: each share has leaders and standbys of its own, and what befalls one touches no other."""

import asyncio

import pytest
from kazoo.client import KazooClient
from scoped_stand import ScopedStand
from standby_rig import SESSION, StandbyRig
from two_switches import TwoSwitches

from contrail_vsphere.vcenter_plugin.desired import Scope


class SharedBySwitch(TwoSwitches, ScopedStand):
    async def resume(self):
        await self.second()
        await super().resume()


class RigOfShares(TwoSwitches, StandbyRig):
    async def resume(self):
        await self.second()
        await super().resume()


@pytest.mark.looptime
async def test_one_plugin_for_each_switch_does_what_one_for_both_would(tmp_path):
    scopes = {"left": Scope(switches=("dvs0",)), "right": Scope(switches=("dvs1",))}
    async with SharedBySwitch(tmp_path, scopes) as stand:
        red = str(stand.network("red"))
        await stand.until(lambda: red in stand.groups_on("dvs0") and red in stand.groups_on("dvs1"))
        left = [await stand.vm(f"left-{n}", stand.groups_on("dvs0")[red], host=0) for n in range(3)]
        right = [await stand.vm(f"right-{n}", stand.groups_on("dvs1")[red], host=1) for n in range(3)]
        await stand.until(lambda: all(stand.served(vm) for vm in (*left, *right)))
        await asyncio.sleep(30)

        await stand.stop("left")
        await stand.vcenter.scenario.delete_vm(left[0])
        blue = str(stand.network("blue", "10.2.0.0/24"))
        late = await stand.vm("late", stand.groups_on("dvs1")[red], host=1)
        await stand.until(lambda: stand.served(late) and blue in stand.groups_on("dvs1"))
        await asyncio.sleep(700)
        assert blue not in stand.groups_on("dvs0")
        assert all(stand.served(vm) for vm in (*left[1:], *right, late))
        await stand.begin("left")
        await stand.until(lambda: blue in stand.groups_on("dvs0"))
        await stand.until(lambda: len(stand.objects("virtual-machine")) == 6, seconds=600)
        assert len(stand.objects("virtual-machine-interface")) == 6
        stand.check()


@pytest.mark.process
@pytest.mark.xdist_group("zookeeper")
async def test_shares_are_elected_apart_and_none_acts_beside_the_old_plugin(tmp_path, real_zookeeper):
    path = "/test/shares"
    old = KazooClient(real_zookeeper.hosts, timeout=SESSION)
    await asyncio.to_thread(old.start)
    try:
        latch = f"{path}/_c_77aa-latch-"
        await asyncio.to_thread(
            lambda: old.create(latch, b"vcenter-plugin", ephemeral=True, sequence=True, makepath=True)
        )
        async with RigOfShares(tmp_path / "rig", real_zookeeper.hosts, path=path) as rig:
            left, right = 'own_switches = "dvs0"', 'own_switches = "dvs1"'
            await asyncio.gather(rig.start("left", left), rig.start("right", right))
            red = str(rig.network("red"))
            await asyncio.sleep(3)
            assert not rig.groups(), "the old plugin leads"
            await asyncio.to_thread(old.stop)
            await rig.until(lambda: red in rig.groups_on("dvs0") and red in rig.groups_on("dvs1"), seconds=40)
            assert (await rig.reign("left"))["leads"]
            assert (await rig.reign("right"))["leads"]

            await rig.start("heir", left)
            vm = await rig.vm("vm", rig.groups_on("dvs0")[red])
            await rig.until_served(vm)
            await rig.kill("left")
            blue = str(rig.network("blue", "10.2.0.0/24"))
            await rig.until(lambda: blue in rig.groups_on("dvs1"), seconds=15)
            await rig.until(lambda: blue in rig.groups_on("dvs0"), seconds=40)
            assert (await rig.reign("heir"))["leads"]
            assert rig.served(vm)
            assert rig.groups_on("dvs0").keys() == rig.groups_on("dvs1").keys() == {red, blue}
    finally:
        await asyncio.to_thread(old.stop)
        old.close()
