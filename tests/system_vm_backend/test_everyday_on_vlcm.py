"""The everyday on vCenter 9: the same deployment file, ContrailVMs kept by vLCM as System VMs."""

import asyncio

import pytest

pytestmark = pytest.mark.looptime


async def test_four_hosts_become_green(scene, profile):
    async with scene(hosts=4, profile=profile) as lab:
        assert set(lab.kept_by().values()) == {"vLCM"} and len(lab.served()) == 4
        assert lab.eam_agencies() == [] and not lab.vcenter.calls["CreateAgency"]
        await lab.until(lab.converged)
        assert lab.writes_planned() == []
        assert lab.rest_calls("Solutions.apply") == 1, "all hosts in one apply"


async def test_f1_a_powered_off_contrailvm_comes_back(scene):
    async with scene(hosts=3) as lab:
        victim = lab.on("esx-01")
        await lab.scenario.power_off(victim)
        took = await lab.until(lambda: victim.power_state == "poweredOn", seconds=60)
        assert took <= 30
        await lab.until(lambda: lab.healed() and lab.converged())
        assert lab.on("esx-01") is victim


async def test_f2_a_deleted_contrailvm_is_deployed_again_with_a_new_token(scene, profile):
    async with scene(hosts=3, profile=profile) as lab:
        victim = lab.on("esx-02")
        minted = victim.vapp_properties["bootstrap_token"]
        await lab.scenario.delete_vm(victim)
        await lab.until(lambda: lab.healed() and lab.converged())
        new = lab.on("esx-02")
        assert new is not victim and new.vapp_properties["bootstrap_token"] not in ("", minted)


async def test_f3_a_host_that_joins_is_served(scene):
    async with scene(hosts=2) as lab:
        await lab.scenario.add_host("esx-99")
        await lab.until(lambda: lab.healed() and lab.converged() and len(lab.served()) == 3)


async def test_f5_a_host_passes_through_maintenance(scene, profile):
    async with scene(hosts=3, profile=profile) as lab:
        before = lab.on("esx-00")
        applied = lab.rest_calls("Solutions.apply")
        await lab.scenario.enter_maintenance("esx-00")
        await lab.until(lambda: "esx-00" not in lab.served(), seconds=120)
        await lab.until(lab.converged, seconds=120)
        assert lab.host("esx-00").in_maintenance and lab.rest_calls("Solutions.apply") == applied
        await lab.scenario.exit_maintenance("esx-00")
        await lab.until(lambda: lab.healed() and lab.converged())
        assert lab.on("esx-00") is before


async def test_f7_a_host_that_is_away_keeps_its_contrailvm(scene):
    async with scene(hosts=3) as lab:
        vms = {vm.moid for vm in lab.contrailvms()}
        await lab.scenario.disconnect_host("esx-01")
        await asyncio.sleep(900)
        await lab.scenario.reconnect_host("esx-01")
        await lab.until(lambda: lab.healed() and lab.converged())
        assert {vm.moid for vm in lab.contrailvms()} == vms


async def test_f13_an_upgrade_goes_host_by_host_by_applies(scene):
    async with scene(hosts=3, profile="vc91") as lab:
        lab.begin_watch()
        await lab.upgrade("1.1.0")
        await lab.until(lambda: lab.over() and lab.all_on("1.1.0"), seconds=7200)
        assert lab.most_dark == 1
        assert len(lab.contrailvms()) == 3


async def test_removal_leaves_nothing(scene, profile):
    async with scene(hosts=3, profile=profile) as lab:
        lab.manager.operator.remove("dc1")
        await lab.until(lambda: not lab.contrailvms() and not lab.solutions())
        await lab.until(lambda: not lab.manager.notebook.desired)
