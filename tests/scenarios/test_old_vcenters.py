"""The everyday on releases whose EAM says and takes less: no hooks (6.5), no pools (before 6.9), no pins (8.2)."""

import pytest

from contrail_vsphere.contrailvm.package import make_demo_package

pytestmark = pytest.mark.looptime
RELEASES = ("vc65", "vc67", "vc70", "vc80u2", "vc90")


@pytest.mark.parametrize("profile", RELEASES)
async def test_a_deployment_becomes_green_and_heals(scene, profile):
    async with scene(hosts=3, profile=profile) as lab:
        assert all(lab.wiring(vm)[1] == "contrailvm-overlay" for vm in lab.contrailvms())
        await lab.until(lab.converged)
        assert not lab.alarms() and not lab.writes_planned()
        await lab.scenario.power_off(lab.on("esx-01"))
        await lab.heals()
        victim = lab.on("esx-02")
        await lab.scenario.delete_vm(victim)
        await lab.until(lambda: not lab.healed())
        await lab.heals()
        assert lab.on("esx-02") is not victim
        await lab.until(lab.converged)


async def test_where_no_hook_shows_tenants_wait_for_the_vrouter_all_the_same(scene):
    async with scene(hosts=2, profile="vc65", deploy=False) as lab:
        with lab.while_faulty(point="vrouter.connect", drop=True):
            lab.apply()
            await lab.until(lambda: len(lab.served()) == 2)
            await lab.pass_time(300)
            assert not any(lab.open_for_tenants(each.name) for each in lab.in_service())
            assert {lab.told(each.name).state for each in lab.in_service()} == {"hook-powered-on"}
        await lab.heals()


async def test_where_no_hook_shows_maintenance_is_not_taken_for_one(scene):
    async with scene(hosts=2, profile="vc65") as lab:
        await lab.until(lab.converged)
        vm, wired, marked = lab.on("esx-00"), lab.vcenter.calls["ReconfigVM_Task"], lab.marked()
        await lab.scenario.enter_maintenance("esx-00")
        await lab.pass_time(600)
        assert (lab.vcenter.calls["ReconfigVM_Task"], lab.marked()) == (wired, marked)
        await lab.scenario.exit_maintenance("esx-00")
        await lab.heals()
        assert lab.on("esx-00") is vm


async def test_where_no_hook_shows_a_new_package_replaces_the_vms(scene):
    async with scene(hosts=2, profile="vc65") as lab:
        await lab.until(lab.converged)
        old = set(lab.contrailvms())
        await lab.publisher.publish(make_demo_package(lab.directory / "next", version="1.1.0"))
        lab.apply(version="1.1.0")
        await lab.until(lambda: lab.healed() and not old & set(lab.contrailvms()))
        assert all(lab.wiring(vm)[1] == "contrailvm-overlay" for vm in lab.contrailvms())
