"""Other settings for guests reach them as an upgrade does: read at boot, so ContrailVMs are restarted turn by turn."""

from dataclasses import replace

import pytest

from contrail_vsphere.model.errors import DesiredStateError, RefusedError

pytestmark = pytest.mark.looptime
OTHER = "127.0.0.9"


def told(lab) -> dict[str, str]:
    """Host -> the controller that its VRouterAgent calls."""
    return {vm.host.name: lab.vcenter.vrouters.agents[vm.moid].controllers[0] for vm in lab.contrailvms()}


def change(lab) -> None:
    lab.apply(lab.text.replace('controllers = ["127.0.0.1"]', f'controllers = ["{OTHER}"]'))


async def test_other_settings_come_host_by_host_and_nothing_is_deployed(scene):
    async with scene(hosts=3) as lab:
        before = {vm.moid for vm in lab.contrailvms()}
        lab.begin_watch()
        change(lab)
        assert lab.rollout().state == "running"
        await lab.until(lambda: OTHER in told(lab).values(), seconds=300)
        assert list(told(lab).values()).count(OTHER) == 1, "the canary alone"
        await lab.until(lab.over, seconds=1800)
        assert set(told(lab).values()) == {OTHER} and lab.healed()
        assert {vm.moid for vm in lab.contrailvms()} == before
        assert lab.most_dark == 1 and set(lab.dark) == {"esx-00", "esx-01", "esx-02"}


async def test_settings_with_which_a_vrouter_does_not_come_up_are_taken_back(scene):
    async with scene(hosts=3) as lab:
        lab.begin_watch()
        rule = lab.break_package("1.0.0")
        change(lab)
        await lab.until(lambda: lab.rollout().kind == "rollback", seconds=1800)
        lab.vcenter.faults.remove(rule)
        await lab.until(lab.over, seconds=3600)
        assert set(told(lab).values()) == {"127.0.0.1"} and lab.healed()
        assert set(lab.dark) == {"esx-00"}


async def test_a_manager_that_dies_in_the_middle_restarts_the_others(scene):
    async with scene(hosts=3) as lab:
        change(lab)
        await lab.until(lambda: len(lab.rollout().passed) == 1, seconds=900)
        await lab.suspend_resume_manager(30)
        await lab.until(lab.over, seconds=1800)
        assert set(told(lab).values()) == {OTHER} and lab.healed()


async def test_a_size_is_refused_where_this_vcenter_has_no_word_for_it(scene):
    async with scene(hosts=1, profile="vc70") as lab:
        with pytest.raises(RefusedError, match=r"no word for sizes.*8\.0 U3"):
            await lab.upgrade("1.1.0", size="small")
        assert lab.rollout() is None


async def test_a_size_that_the_package_does_not_have_is_refused_in_one_line_and_nothing_is_begun(scene):
    async with scene(hosts=1, deploy=False) as lab:
        huge = lab.text.replace("clusters =", 'size = "huge"\nclusters =').format(version="1.0.0")
        for verb in (lab.manager.operator.check_deployments, lab.manager.operator.apply_deployments):
            with pytest.raises(DesiredStateError) as refused:
                verb(huge)
            assert "dc1.size: no size 'huge'; there is medium, small" in str(refused.value)
            assert "\n" not in str(refused.value)
        lab.apply(lab.text)
        await lab.heals()
        with pytest.raises(RefusedError, match=r"package 1\.1\.0 has no size 'huge'; it has small, medium"):
            await lab.upgrade("1.1.0", size="huge", force=True)
        (key,) = lab.manager.notebook.desired
        updates = lab.vcenter.calls["Update"]
        wanted = replace(lab.manager.notebook.desired[key], size="huge")
        lab.manager.notebook.write_desired({key: wanted}, sources={})  # as by an older release's journal
        await lab.suspend_resume_manager(5)
        await lab.until(lambda: "no size 'huge'" in lab.alarms(), seconds=120)
        await lab.pass_time(600)
        assert lab.vcenter.calls["Update"] == updates and lab.forwarding("esx-00")
