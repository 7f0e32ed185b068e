"""F10: two managers, one of which acts; in virtual time, over the real election and journal."""

import asyncio

import pytest
from stand import DEPLOYMENT
from two_managers import TwoManagers

from contrail_vsphere.app.control_schema import Selection
from contrail_vsphere.model.errors import ContrailVsphereError, NotReadyYet
from contrail_vsphere.simulator.eam.situation import Phase

pytestmark = pytest.mark.looptime


async def test_a_standby_writes_nothing_and_goes_on_where_the_leader_ended(tmp_path):
    async with TwoManagers(tmp_path, hosts=3) as lab:
        assert lab.b.calls == {}, "it only looked on"
        with pytest.raises(NotReadyYet):
            _ = lab.b.reigns.acting
        vms = {vm.moid for vm in lab.contrailvms()}
        before = dict(lab.a.calls)
        lab.a.zookeeper.expire()
        await lab.until(lambda: lab.b.reigns.leads, seconds=30)
        await lab.pass_time(300)
        assert {vm.moid for vm in lab.contrailvms()} == vms and len(lab.agencies()) == 1
        assert set(lab.b.calls) <= {"UpdateExtension"}, "all was as it should be"
        assert {name: count for name, count in lab.a.calls.items() if count > before.get(name, 0)} == {}
        assert lab.manager.notebook.desired, "the deployment was in the journal"
        await lab.scenario.delete_vm(lab.on("esx-01"))
        await lab.heals()
        assert lab.b.calls["Resolve"]


async def test_a_standby_tells_what_it_sees_and_who_leads(tmp_path):
    async with TwoManagers(tmp_path, hosts=2) as lab:
        watch, control = await lab.b.stands_by()
        with pytest.raises(NotReadyYet):
            control.status()
        await watch.look()
        await lab.pass_time(60)
        status = control.status()
        assert status.standby == "a leads, this manager stands by" and status.converged
        assert {unit.host_name: (unit.state, unit.forwards) for each in status.deployments for unit in each.units} == {
            "esx-00": ("healthy", True),
            "esx-01": ("healthy", True),
        }
        assert control.plan().actions == () and control.plan().standby == status.standby
        assert control.reign().leader == "a" and not control.reign().leads

        # With the leader frozen: it sees trouble itself, plans what is to be done, and does none of it.
        lab.a.reigns.acting.operator.pause(by="a person")
        await lab.a.reigns.acting.leave()
        await lab.scenario.power_off(lab.on("esx-01"))
        await watch.look()
        await lab.pass_time(90)
        (unit,) = [u for each in control.status().deployments for u in each.units if u.host_name == "esx-01"]
        assert [issue.type for issue in unit.issues] == ["VmPoweredOff"] and control.status().deployments[0].paused
        with pytest.raises(NotReadyYet, match="stands by") as refused:
            await control.resolve(Selection(), by="a person")
        assert refused.value.hint == "ask a, which leads"
        assert lab.b.calls == {}, "it only looked on"

        lab.a.zookeeper.expire()
        await lab.until(lambda: lab.b.reigns.leads, seconds=60)
        await watch.look()
        assert control.status().standby == "" and control.reign().leader == "" and watch.reader.manager is None


@pytest.mark.parametrize("phase", [Phase.HOOK_PROVISIONED, Phase.HOOK_POWERED_ON])
async def test_the_leader_dies_while_a_hook_waits(tmp_path, phase):
    async with TwoManagers(tmp_path, hosts=2) as lab:
        await lab.scenario.delete_vm(lab.on("esx-01"))
        await lab.until(lambda: lab.agent("esx-01").phase is phase)
        await lab.a.stop()
        await lab.heals()
        assert lab.b.reigns.leads and len(lab.agencies()) == 1 and len(lab.contrailvms()) == 2


async def test_a_leader_that_was_frozen_writes_nothing_although_it_does_not_know(tmp_path):
    async with TwoManagers(tmp_path, hosts=3) as lab:
        lab.a.zookeeper.expire(told=False)
        await lab.until(lambda: lab.b.reigns.leads, seconds=30)
        before = dict(lab.a.calls)
        assert lab.a.reigns.leads, "it has not heard"
        await lab.scenario.power_off(lab.on("esx-00"))
        await lab.scenario.delete_vm(lab.on("esx-02"))
        await lab.heals()
        assert lab.a.calls == before
        await lab.until(lambda: not lab.a.reigns.leads, seconds=300)
        assert len(lab.contrailvms()) == 3 and lab.b.reigns.leads


async def test_where_zookeeper_does_not_answer_nobody_writes(tmp_path):
    async with TwoManagers(tmp_path, hosts=2) as lab:
        for member in (lab.a, lab.b):
            member.zookeeper.silent = True
            member.zookeeper.tell("suspended")
        before = dict(lab.a.calls)
        await lab.scenario.power_off(lab.on("esx-00"))
        await lab.pass_time(600)
        assert lab.a.calls == before and lab.b.calls == {}
        assert lab.on("esx-00").power_state == "poweredOff"
        for member in (lab.a, lab.b):
            member.zookeeper.silent = False
            member.zookeeper.tell("connected")
        await lab.heals()


async def test_a_person_is_not_answered_before_his_word_is_kept(tmp_path):
    async with TwoManagers(tmp_path, hosts=2, deploy=False) as lab:
        manager = lab.a.reigns.acting
        await lab.until(lambda: not manager.blind(), seconds=60)
        lab.a.zookeeper.expire(told=False)
        await lab.until(lambda: lab.b.reigns.leads, seconds=30)
        manager.operator.apply_deployments(DEPLOYMENT.format(version="1.0.0"))
        with pytest.raises(ContrailVsphereError):
            await manager.leave()
        await lab.pass_time(120)
        assert not lab.agencies(), "nobody was told to"


async def test_managers_that_kill_each_other_for_an_hour_leave_one_contrailvm_per_host(tmp_path):
    async with TwoManagers(tmp_path, hosts=3) as lab:
        for number in range(5):
            victim = lab.on(f"esx-0{number % 3}")
            await (lab.scenario.delete_vm(victim) if number % 2 else lab.scenario.power_off(victim))
            await asyncio.sleep(3 + 5 * number)
            leader = next((each for each in (lab.a, lab.b) if each.reigns.leads), None)
            if leader is not None:
                leader.zookeeper.expire(told=bool(number % 3))
                leader.zookeeper.state = "connected"
            await lab.heals()
            lab.manager.operator.release()
        assert len(lab.agencies()) == 1 and lab.vcenter.calls["CreateAgency"] == 1
