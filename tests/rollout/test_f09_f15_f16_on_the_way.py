"""F9, F15, F16 and what else can happen in the middle: no space, a dead manager, hosts that come and go."""

import pytest

from contrail_vsphere.model.errors import RefusedError
from contrail_vsphere.simulator.vcenter.datastore import Datastore

pytestmark = pytest.mark.looptime


def set_free(lab, *, megabytes):
    store = next(each for each in lab.world.of_type(Datastore) if each.name == "nfs-shared")
    with lab.world.commit("somebody") as tx:
        tx.set(store, free=megabytes * 2**20)


async def test_f15_without_space_for_two_the_upgrade_is_refused_and_says_how_much_it_needs(scene):
    async with scene(hosts=4) as lab:
        set_free(lab, megabytes=200)
        await lab.pass_time(60)
        with pytest.raises(RefusedError, match=r"nfs-shared has 200 MB free; 4 new ContrailVMs .* need 281 MB"):
            await lab.upgrade("1.1.0")
        assert any("would be refused" in line for line in await lab.upgrade("1.1.0", dry_run=True))
        assert lab.all_on("1.0.0") and lab.rollout() is None


async def test_f15_by_apply_it_waits_until_there_is_space(scene):
    async with scene(hosts=4) as lab:
        set_free(lab, megabytes=200)
        await lab.pass_time(60)
        lab.apply(lab.text, version="1.1.0")
        await lab.pass_time(300)
        assert "beside the old" in lab.alarms() and lab.all_on("1.0.0")
        set_free(lab, megabytes=100_000)
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.1.0")


@pytest.mark.parametrize("profile", ["vc65", "vc80u3"])
async def test_f16_a_night_without_manager_costs_nothing(scene, profile):
    async with scene(hosts=3, profile=profile) as lab:
        await lab.upgrade("1.1.0")
        await lab.until(lambda: len(lab.waiting()) >= 2, seconds=600)
        lab.begin_watch(every=60.0)
        dark = {host for host in lab.versions() if not lab.forwards_now(host)}
        await lab.suspend_resume_manager(8 * 3600)
        assert set(lab.dark) <= dark | {"esx-00"}, "those in the hook forwarded all night"
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.1.0"), "a night in a hook is not held against the package"


@pytest.mark.parametrize("after", [31, 130])
async def test_f9_a_manager_that_dies_in_the_middle_goes_on_where_it_was(scene, after):
    async with scene(hosts=3) as lab:
        lab.begin_watch()
        await lab.upgrade("1.1.0")
        await lab.pass_time(after)
        await lab.suspend_resume_manager(20)
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.1.0") and lab.most_dark <= 1


async def test_f9_a_manager_that_dies_in_a_rollback_finishes_it(scene):
    async with scene(hosts=3) as lab:
        lab.break_package("1.1.0")
        lab.begin_watch()
        await lab.upgrade("1.1.0")
        await lab.until(lambda: lab.rollout().kind == "rollback", seconds=1800)
        for _ in range(5):
            await lab.suspend_resume_manager(5)
            await lab.pass_time(13)
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.0.0") and set(lab.dark) == {"esx-00"}


async def test_a_host_in_maintenance_does_not_stop_the_others_and_follows(scene):
    async with scene(hosts=3) as lab:
        await lab.scenario.enter_maintenance(lab.host("esx-01"))
        lab.begin_watch()
        await lab.upgrade("1.1.0")
        others = ("esx-00", "esx-02")
        await lab.until(
            lambda: all(lab.version_on(each) == "1.1.0" and lab.forwards_now(each) for each in others), seconds=3600
        )
        await lab.scenario.exit_maintenance(lab.host("esx-01"))
        await lab.until(lambda: lab.all_on("1.1.0"), seconds=3600)
        assert lab.most_dark <= 1


async def test_a_host_that_joins_in_the_middle_gets_the_new_version(scene):
    async with scene(hosts=3) as lab:
        await lab.upgrade("1.1.0")
        await lab.until(lambda: lab.rollout().passed, seconds=900)
        await lab.scenario.add_host("esx-new")
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.1.0") and "esx-new" in lab.versions()


async def test_a_contrailvm_deleted_in_the_middle_is_replaced_and_counts_as_down(scene):
    async with scene(hosts=4) as lab:
        await lab.upgrade("1.1.0")
        await lab.until(lambda: lab.rollout().passed, seconds=900)
        lab.begin_watch()
        await lab.scenario.delete_vm(lab.on("esx-03"))
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.1.0")
        assert lab.most_dark <= 2, "the one in turn when it happened, and the deleted one"


async def test_another_upgrade_in_the_middle_takes_over(scene):
    async with scene(hosts=3) as lab:
        lab.begin_watch()
        await lab.upgrade("1.1.0")
        await lab.until(lambda: lab.rollout().passed, seconds=900)
        await lab.upgrade("1.2.0")
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.2.0") and lab.most_dark <= 1
        assert dict(lab.rollout().before)["dc1/" + lab.agencies()[0].scope[0].moid].package.version == "1.0.0"


async def test_a_rollout_whose_cluster_is_given_up_is_over_and_the_other_cluster_is_served(scene):
    """The deployment moves from C1 to C0 in the middle of an upgrade of C1, which C0 has no part in."""
    async with scene(hosts=4, clusters=2, deploy=False) as lab:
        one = lab.text.replace('["C0", "C1"]', '["C1"]')
        lab.apply(one)
        await lab.until(lambda: len(lab.contrailvms()) == 2 and lab.converged(), seconds=900)
        lab.apply(one, version="1.1.0")
        await lab.until(lambda: lab.rollout().turns, seconds=900)
        moved = lab.text.replace('["C0", "C1"]', '["C0"]').format(version="1.2.0")
        lab.manager.operator.apply_deployments(moved, allow_removal=True)
        await lab.until(lambda: [each.scope[0].name for each in lab.agencies()] == ["C0"], seconds=1800)
        await lab.until(lambda: len(lab.contrailvms()) == 2 and lab.converged(), seconds=1800)
        assert lab.rollout() is None or not lab.rollout().active


async def test_an_upgrade_to_a_package_that_eam_could_not_fetch_is_refused_and_eam_is_not_told(scene):
    async with scene(hosts=1) as lab:
        updates = lab.vcenter.calls["Update"]
        await lab.publisher.stop()
        with pytest.raises(RefusedError, match=r"1\.1\.0.*cannot be fetched|contrailvm\.ovf"):
            await lab.upgrade("1.1.0")
        await lab.restart_publisher()
        await lab.pass_time(60)
        assert lab.rollout() is None and lab.vcenter.calls["Update"] == updates and lab.all_on("1.0.0")
