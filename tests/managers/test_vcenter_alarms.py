"""Alarms in vCenter itself: red on the object that is in trouble, green when it is over, whoever restarts meanwhile."""

import pytest
from service_site import LongSite, ServiceSite
from stand import DEPLOYMENT, KEY

from contrail_vsphere.app.contrailvm_register import destruction, unregister
from contrail_vsphere.contrailvm.notices import vcenter_alarms
from contrail_vsphere.contrailvm.notices.alarm_kinds import (
    BRAKE,
    CERTIFICATE,
    FORWARDING,
    HOLD,
    KINDS,
    ROLLOUT,
)
from contrail_vsphere.contrailvm.package import make_demo_package
from contrail_vsphere.contrailvm.records import HoldRecord
from contrail_vsphere.contrailvm.rollout.upgrades import UpgradeWish
from contrail_vsphere.model.errors import BrakeEngaged
from contrail_vsphere.simulator.vcenter.alarm import Alarm
from contrail_vsphere.simulator.vcenter.alarm_manager import AlarmManager

pytestmark = pytest.mark.looptime
OURS = {kind.name for kind in KINDS}


def red(lab):
    """(alarm, object) of ours that are triggered in the simulated vCenter."""
    board = AlarmManager.of(lab.world)
    return {
        (lab.world.objects[alarm].name, lab.world.objects[entity].name)
        for (alarm, entity), state in board.states.items()
        if state.triggered and lab.world.objects[alarm].name in OURS
    }


async def test_every_alarm_is_defined_once_and_its_events_are_registered(tmp_path):
    async with ServiceSite(tmp_path, hosts=1) as lab:
        await lab.until(lambda: {each.name for each in lab.world.of_type(Alarm)} >= OURS, seconds=60)
        before = len(list(lab.world.of_type(Alarm)))
        await lab.suspend_resume_manager(5)
        await lab.pass_time(120)
        assert len(list(lab.world.of_type(Alarm))) == before and not red(lab)
        extension = lab.world.get("ExtensionManager").extensions[KEY]
        schemas = {each.eventID: each.eventTypeSchema for each in extension.eventList}
        for kind in KINDS:
            for event in (kind.raises, kind.calms):
                assert f"<eventTypeID>{KEY}.{event}</eventTypeID>" in schemas[f"{KEY}.{event}"]
                assert "<name>reason</name><type>string</type>" in schemas[f"{KEY}.{event}"]


async def test_a_host_that_does_not_forward_is_red_until_it_does(tmp_path):
    async with ServiceSite(tmp_path, hosts=2) as lab:
        vm = lab.on("esx-01")
        await lab.vcenter.guests.hang(vm)
        await lab.until(lambda: red(lab), seconds=300)
        assert red(lab) == {(FORWARDING.name, "esx-01")}
        assert lab.host("esx-01").status == "red" and lab.host("esx-00").status == "green"
        await lab.suspend_resume_manager(5)
        await lab.pass_time(60)
        await lab.heals(seconds=1800)
        await lab.until(lambda: not red(lab), seconds=300)
        assert lab.host("esx-01").status == "green"


async def test_a_hold_is_red_and_comes_back_where_a_hand_cleared_it(tmp_path, monkeypatch):
    monkeypatch.setattr(vcenter_alarms, "REREAD", 60.0)
    async with ServiceSite(tmp_path, hosts=1) as lab:
        (key,) = lab.manager.notebook.desired
        hold = HoldRecord(reason="repaired 2 times and broken again", since=0.0)
        lab.manager.notebook.update_host(key, lab.host("esx-00").moid, hold=hold)
        await lab.until(lambda: red(lab) == {(HOLD.name, "esx-00")}, seconds=60)
        with lab.world.commit() as tx:
            AlarmManager.of(lab.world).forget(tx, lambda alarm, _entity, _state: alarm.name in OURS)
        assert not red(lab)
        await lab.until(lambda: red(lab) == {(HOLD.name, "esx-00")}, seconds=120)
        lab.manager.operator.release()
        await lab.until(lambda: not red(lab), seconds=60)


async def test_what_an_administrator_made_of_one_of_ours_stays(tmp_path):
    async with ServiceSite(tmp_path, hosts=1) as lab:
        await lab.until(lambda: {each.name for each in lab.world.of_type(Alarm)} >= OURS, seconds=60)
        alarm = next(each for each in lab.world.of_type(Alarm) if each.name == BRAKE.name)
        alarm.spec.enabled = False
        await lab.suspend_resume_manager(5)
        await lab.pass_time(30)
        assert alarm in lab.world.of_type(Alarm) and not alarm.enabled


async def test_an_expiring_certificate_is_red_on_the_vcenter_itself(tmp_path):
    async with LongSite(tmp_path, hosts=1) as lab:
        with lab.while_faulty(method="SetExtensionCertificate", fault="NotFound"):
            await lab.days_pass(370)
            assert {name for name, _root in red(lab)} == {CERTIFICATE.name}
        await lab.until(lambda: not red(lab), seconds=200)


STOPPING = (
    DEPLOYMENT
    + """[deployment.dc1.rollout]
gate = 10
deadline = 120
on_failure = "stop"
"""
)


async def test_a_stopped_rollout_is_red_on_its_cluster_until_somebody_decides(tmp_path):
    async with ServiceSite(tmp_path, hosts=1, text=STOPPING) as lab:
        await lab.data.packages().add(make_demo_package(tmp_path / "next", version="1.1.0"))
        lab.publisher.reload()
        upgrades, stopped = lab.manager.operator.upgrades, (ROLLOUT.name, "C0")
        with lab.while_faulty(point="vrouter.connect", where={"version": "1.1.0"}, drop=True):
            await upgrades.upgrade(UpgradeWish("dc1", to="1.1.0"), by="tester")
            await lab.until(lambda: stopped in red(lab), seconds=1800)
            await lab.pass_time(120)
            assert stopped in red(lab)
            assert upgrades.resume("dc1")
            await lab.until(lambda: stopped not in red(lab), seconds=60)
            await lab.until(lambda: stopped in red(lab), seconds=600)  # it is as bad as before
        upgrades.rollback("dc1", by="tester")
        await lab.until(lambda: not red(lab), seconds=1800)
        await lab.until(lambda: not lab.manager.notebook.rollouts["dc1"].active and lab.healed(), seconds=1800)
        assert {vm.product_version for vm in lab.contrailvms()} == {"1.0.0"} and not red(lab)


async def test_unregistering_takes_our_alarms_along_and_nobody_elses(tmp_path):
    async with ServiceSite(tmp_path, hosts=1) as lab:
        await lab.until(lambda: {each.name for each in lab.world.of_type(Alarm)} >= OURS, seconds=60)
        others = {each.name for each in lab.world.of_type(Alarm)} - OURS
        await lab.vcenter.guests.hang(lab.on("esx-00"))
        await lab.until(lambda: red(lab), seconds=300)
        await lab.crash()
        await unregister(lab.settings, accepted=await destruction(lab.settings))
        assert {each.name for each in lab.world.of_type(Alarm)} == others and others
        assert not any(alarm not in lab.world.objects for alarm, _on in AlarmManager.of(lab.world).states)
        await lab.until(lambda: not lab.contrailvms(), seconds=600)


async def test_the_brake_is_red_on_the_vcenter_itself(tmp_path):
    async with ServiceSite(tmp_path, hosts=1) as lab:
        with pytest.raises(BrakeEngaged):
            lab.manager.brake.permit([f"vm-{n}" for n in range(99)], population=100)
        await lab.until(lambda: {name for name, _root in red(lab)} == {BRAKE.name}, seconds=60)
        lab.manager.brake.release(by="a person", reason="meant")
        await lab.until(lambda: not red(lab), seconds=60)
