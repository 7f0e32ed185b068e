"""What goes wrong with System VMs: packages that fail, hooks that run out, vLCM that is busy, gone or meddled with."""

import asyncio

import pytest
from stand import KEY

from contrail_vsphere.app.system_vms import system_vm_client
from contrail_vsphere.model.errors import NotReadyYet
from contrail_vsphere.simulator.core.faults import FaultRule
from contrail_vsphere.simulator.vcenter.authorization import Account, Accounts
from contrail_vsphere.vsphere.endpoint import ExtensionLogin, PasswordLogin
from contrail_vsphere.vsphere.system_vm.rest import RestSession
from contrail_vsphere.vsphere.vcenter import VCenter
from contrail_vsphere.wire.system_vm import paths

pytestmark = pytest.mark.looptime


async def test_f14_a_failed_upgrade_goes_back_and_costs_one_host(scene):
    async with scene(hosts=3) as lab:
        lab.break_package("1.1.0")
        lab.begin_watch()
        await lab.upgrade("1.1.0")
        await lab.until(lambda: lab.rollout().kind == "rollback" and lab.over(), seconds=7200)
        assert lab.all_on("1.0.0") and len(lab.contrailvms()) == 3
        assert [host for host, dark in lab.dark.items() if dark > 120] == ["esx-00"]
        assert lab.most_dark == 1


async def test_a_broken_host_does_not_keep_the_others_from_repair_for_ever(scene):
    async with scene(hosts=3) as lab:
        await lab.scenario.delete_vm(lab.on("esx-00"))
        await lab.until(lambda: lab.on("esx-00") is not None)
        broken = lab.on("esx-00")
        lab.vcenter.faults.add(FaultRule(point="vrouter.connect", moid=broken.moid, drop=True))
        await lab.until(lambda: broken.power_state == "poweredOn")
        victim = lab.on("esx-01")
        await lab.scenario.power_off(victim)
        await lab.until(lambda: victim.power_state == "poweredOn", seconds=300)
        assert not lab.open_for_tenants("esx-00"), "given up is not opened"
        await lab.until(lambda: lab.forwarding("esx-01") and lab.open_for_tenants("esx-01"), seconds=300)
        lab.vcenter.faults.clear()
        lab.manager.operator.release()
        await lab.until(lab.healed, seconds=3600)


async def test_hooks_of_an_earlier_upgrade_keep_no_host_from_the_newest(scene):
    async with scene(hosts=3, rollout="gate = 20") as lab:
        busy = lab.vcenter.faults.add(FaultRule(method="ReconfigVM_Task", fault="TaskInProgress", times=10**6))
        await lab.upgrade("1.1.0", canary=0, concurrency=2)
        await lab.until(lambda: len(lab.contrailvms()) == 5, seconds=600)
        await lab.upgrade("1.2.0", canary=0, concurrency=1)
        lab.vcenter.faults.remove(busy)
        await lab.until(lambda: lab.over() and lab.all_on("1.2.0"), seconds=7200)
        assert len(lab.contrailvms()) == 3


async def test_a_manager_that_was_away_longer_than_a_hook_lasts_carries_on(scene):
    async with scene(hosts=2) as lab:
        await lab.scenario.add_host("esx-09")
        await lab.until(lambda: lab.on("esx-09") is not None, seconds=120)
        await lab.crash()
        await asyncio.sleep(11 * 3600)
        assert lab.on("esx-09").power_state == "poweredOff"
        await lab.resume()
        await lab.until(lambda: lab.healed() and lab.converged(), seconds=1800)


async def test_f9_a_manager_that_crashes_while_deploying_doubles_nothing(scene):
    async with scene(hosts=3, deploy=False) as lab:
        lab.apply(lab.text)
        for seconds in (1, 2, 3, 5, 8, 13):
            await asyncio.sleep(seconds)
            await lab.crash()
            await lab.resume()
        await lab.until(lambda: lab.healed() and lab.converged())
        assert len(lab.contrailvms()) == 3 and len(lab.solutions()) == 1


async def test_f9_a_manager_that_crashes_in_a_rollout_finishes_it(scene):
    async with scene(hosts=3) as lab:
        lab.begin_watch()
        await lab.upgrade("1.1.0")
        for seconds in (1, 5, 20, 40, 60):
            await asyncio.sleep(seconds)
            await lab.crash()
            await lab.resume()
        await lab.until(lambda: lab.over() and lab.all_on("1.1.0"), seconds=7200)
        assert lab.most_dark == 1 and len(lab.contrailvms()) == 3


async def test_a_solution_that_somebody_deleted_is_set_again_and_nobody_is_removed(scene):
    async with scene(hosts=3) as lab:
        before = {vm.moid for vm in lab.contrailvms()}
        (solution,) = lab.solutions()
        await lab.rest.run("DELETE", paths.solution(solution.cluster.moid, solution.key), what="meddle")
        lab.manager._agencies.nudge()
        await lab.until(lambda: not solution.deleted and lab.converged())
        assert {vm.moid for vm in lab.contrailvms()} == before and len(lab.served()) == 3


async def test_rest_that_is_away_stops_nothing_that_eam_keeps(scene):
    async with scene(hosts=2, backend="eam") as lab:
        lab.vcenter.faults.add(FaultRule(method="Solutions.list", http_status=503))
        await asyncio.sleep(120)
        victim = lab.on("esx-01")
        await lab.scenario.power_off(victim)
        await lab.until(lambda: victim.power_state == "poweredOn", seconds=60)


async def test_rest_that_was_away_is_believed_again_and_nothing_was_made_twice(scene):
    async with scene(hosts=2) as lab:
        fault = lab.vcenter.faults.add(FaultRule(method="Solutions.list", http_status=503))
        await asyncio.sleep(60)
        victim = lab.on("esx-01")
        await lab.scenario.delete_vm(victim)
        await asyncio.sleep(300)
        assert lab.eam_agencies() == [] and len(lab.contrailvms()) == 1
        lab.vcenter.faults.remove(fault)
        await lab.until(lambda: lab.healed() and lab.converged())


async def test_a_session_that_vcenter_forgot_is_opened_again(scene):
    async with scene(hosts=2) as lab:
        lab.scenario.expire_sessions()
        victim = lab.on("esx-01")
        await lab.scenario.power_off(victim)
        await lab.until(lambda: victim.power_state == "poweredOn", seconds=120)


async def test_nothing_is_said_of_what_vlcm_keeps_before_the_clusters_are_in_view(scene):
    async with scene(hosts=3) as lab, VCenter(lab._endpoint, ExtensionLogin(KEY, lab.extension)) as fresh:
        client = system_vm_client(lab.rest, fresh, KEY)
        with pytest.raises(NotReadyYet):
            await client.agency_ids()
        fresh.inventory.start()
        await fresh.inventory.ready()
        assert len(await client.agency_ids()) == 1


async def test_an_account_with_only_the_two_privileges_is_enough(scene):
    async with scene(hosts=2, deploy=False) as lab:
        accounts = lab.world.service(Accounts)
        privileges = frozenset({"VcIntegrity.systemVM.Read", "VcIntegrity.systemVM.Write"})
        accounts.add(Account("vlcm@vsphere.local", "secret", privileges=privileges))
        await lab.crash()
        lab.login = PasswordLogin("vlcm@vsphere.local", "secret")
        await lab.resume()
        lab.apply(lab.text)
        await lab.until(lambda: lab.healed() and lab.converged())
        assert set(lab.kept_by().values()) == {"vLCM"}


async def test_a_wrong_password_is_not_tried_again_and_again(scene):
    async with scene(hosts=1, deploy=False) as lab:
        rest = RestSession(lab._endpoint, PasswordLogin(lab.vcenter.ready["username"], "wrong"))
        lab.system_vms._rest, old = rest, lab.system_vms._rest
        await asyncio.sleep(1800)
        assert rest.calls["log in"] <= 7
        await rest.close()
        lab.system_vms._rest = old


async def test_f4_a_host_without_esx_agent_settings_gets_them_and_is_served(scene):
    async with scene(hosts=2, deploy=False) as lab:
        lab.apply(lab.text.replace('datastores = ["nfs-shared"]\n', ""))
        await lab.until(lambda: "NoAgentVmDatastore" in lab.alarms("esx-00"), seconds=300)
        with lab.world.commit() as tx:
            store = next(each for each in lab.host("esx-00").datastores if each.name == "nfs-shared")
            tx.set(lab.host("esx-00"), agent_datastore=store)
        await lab.until(lambda: "esx-00" in lab.served(), seconds=900)


async def test_issues_that_only_a_newer_release_has_hide_nothing():
    from contrail_vsphere.wire.system_vm.codec import decode
    from contrail_vsphere.wire.system_vm.state import DeploymentInfo, DeploymentStatus, IssueType

    text = '{"status": "%s", "issues": [{"type": "%s", "notifications": {}}]}'
    known = decode(DeploymentInfo, (text % ("ISSUE", "VM_SUSPENDED")).encode())
    assert (known.status, known.issues[0].type) == (DeploymentStatus.ISSUE, IssueType.VM_SUSPENDED)
    assert type(known.status) is DeploymentStatus
    unknown = decode(DeploymentInfo, (text % ("ASLEEP", "VM_ON_FIRE")).encode())
    assert (unknown.status, unknown.issues[0].type) == ("ASLEEP", "VM_ON_FIRE")
