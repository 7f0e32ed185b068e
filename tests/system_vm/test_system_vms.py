"""vLCM's System VMs over REST: desired state, apply, hooks, issues, upgrade, removal, take-over from EAM."""

from __future__ import annotations

import asyncio

import pytest
from rest_client import running

from contrail_vsphere.simulator.eam.service import EamService
from contrail_vsphere.simulator.vcenter.authorization import Account, Accounts
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.wire.soap.types import eam
from contrail_vsphere.wire.system_vm import paths

pytestmark = pytest.mark.looptime

HOOKS = {"POST_PROVISIONING": {}, "POST_POWER_ON": {"timeout": 600}}


def machines(rest) -> list[VirtualMachine]:
    return [vm for vm in rest.vcenter.world.of_type(VirtualMachine) if vm.esx_agent]


async def test_set_apply_upgrade_delete():
    async with running() as rest:
        await rest.manage_by_image()
        assert (await rest.put(rest.spec()))["status"] == "SUCCEEDED"
        assert await rest.statuses() == ["NOT_APPLIED", "NOT_APPLIED"]
        await asyncio.sleep(600)
        assert machines(rest) == [], "nothing happens before an apply"
        task = await rest.apply()
        assert task["result"]["status"]["status"] == "SUCCESS"
        assert await rest.statuses() == ["COMPLIANT", "COMPLIANT"]
        assert [(vm.memory_mb, vm.power_state) for vm in machines(rest)] == [(1024, "poweredOn")] * 2

        await rest.put(rest.spec(2))
        assert await rest.statuses() == ["OBSOLETE_SPEC", "OBSOLETE_SPEC"]
        first = rest.vcenter.scenario.host("esx-00").moid
        await rest.apply(hosts=[first])
        assert await rest.statuses() == ["COMPLIANT", "OBSOLETE_SPEC"]
        assert sorted(vm.memory_mb for vm in machines(rest)) == [1024, 2048]
        await rest.apply()
        assert [vm.memory_mb for vm in machines(rest)] == [2048, 2048]

        assert (await rest.task("DELETE", paths.solution(rest.cluster, "contrail")))["status"] == "SUCCEEDED"
        assert await rest.statuses() == ["OBSOLETE_SPEC", "OBSOLETE_SPEC"]
        assert len(machines(rest)) == 2, "nor is anything removed"
        status, _ = await rest.call("GET", paths.solution(rest.cluster, "contrail"))
        assert status == 404
        await rest.apply()
        assert machines(rest) == []
        assert await rest.compliance() == {}


async def test_hooks_are_processed_one_by_one():
    async with running(hosts=1) as rest:
        await rest.manage_by_image()
        await rest.put(rest.spec(hooks=HOOKS))
        task = await rest.begin_apply()
        await asyncio.sleep(60)
        assert await rest.statuses() == ["IN_LIFECYCLE_HOOK"]
        (hook,) = await rest.hooks()
        assert (hook["lifecycle_state"], hook["configuration"]) == ("POST_PROVISIONING", {"timeout": 36000})
        assert machines(rest)[0].power_state == "poweredOff"
        assert await rest.process(hook | {"lifecycle_state": "POST_POWER_ON"}) == 400
        assert await rest.process(hook | {"vm": "vm-0"}) == 400
        assert await rest.process(hook) == 204
        await asyncio.sleep(60)
        (hook,) = await rest.hooks()
        assert hook["lifecycle_state"] == "POST_POWER_ON"
        assert machines(rest)[0].host.available_agents == 0
        assert await rest.process(hook) == 204
        assert (await rest.over(task))["result"]["status"]["status"] == "SUCCESS"
        assert await rest.statuses() == ["COMPLIANT"]
        assert machines(rest)[0].host.available_agents == 1


async def test_a_hook_that_is_failed_or_forgotten_waits_for_the_next_apply():
    async with running(hosts=1) as rest:
        await rest.manage_by_image()
        await rest.put(rest.spec(hooks=HOOKS))
        task = await rest.begin_apply()
        await asyncio.sleep(60)
        (hook,) = await rest.hooks()
        assert await rest.process(hook, well=False) == 204
        assert (await rest.over(task))["result"]["status"]["status"] == "ERROR"
        (deployment,) = (await rest.compliance()).values()
        assert (deployment["status"], deployment["issues"][0]["type"]) == ("ISSUE", "VM_LIFECYCLE_HOOK_FAILED")
        assert await rest.process(hook) == 400

        task = await rest.begin_apply()
        await asyncio.sleep(60)
        (hook,) = await rest.hooks()
        assert await rest.process(hook) == 204
        await asyncio.sleep(700)
        (deployment,) = (await rest.compliance()).values()
        assert deployment["issues"][0]["type"] == "VM_LIFECYCLE_HOOK_TIMED_OUT"
        await rest.over(task)
        task = await rest.begin_apply()
        await asyncio.sleep(60)
        (hook,) = await rest.hooks()
        assert await rest.process(hook) == 204
        await rest.over(task)
        assert await rest.statuses() == ["COMPLIANT"]


async def test_upgrade_shows_the_replacement_and_has_no_hook_before_power_on():
    async with running(hosts=1) as rest:
        await rest.manage_by_image()
        await rest.put(rest.spec())
        await rest.apply()
        (old,) = machines(rest)
        await rest.put(rest.spec(2, hooks=HOOKS))
        task = await rest.begin_apply()
        await asyncio.sleep(60)
        (deployment,) = (await rest.compliance()).values()
        assert deployment["vm"] == old.moid
        (hook,) = await rest.hooks()
        assert hook["vm"] == deployment["replacement_vm"] != old.moid
        assert old.power_state == "poweredOn"
        await rest.process(hook)
        await asyncio.sleep(60)
        (hook,) = await rest.hooks()
        assert hook["lifecycle_state"] == "POST_POWER_ON"
        await rest.process(hook)
        await rest.over(task)
        assert [vm.memory_mb for vm in machines(rest)] == [2048]


async def test_issues_wait_for_an_apply_and_maintenance_mode_is_not_left():
    async with running() as rest:
        await rest.manage_by_image()
        scenario = rest.vcenter.scenario
        await rest.put(rest.spec())
        await rest.apply()
        await scenario.power_off(machines(rest)[0])
        await asyncio.sleep(120)
        found = await rest.compliance()
        assert [issue["type"] for issue in found["esx-00"]["issues"]] == ["VM_POWERED_OFF"]
        await rest.apply()
        assert await rest.statuses() == ["COMPLIANT", "COMPLIANT"]

        await scenario.enter_maintenance("esx-01")
        await rest.put(rest.spec(2))
        await rest.apply()
        found = await rest.compliance()
        assert found["esx-00"]["status"] == "COMPLIANT"
        assert [issue["type"] for issue in found["esx-01"]["issues"]] == ["HOST_IN_MAINTENANCE_MODE"]
        await rest.apply()
        assert scenario.host("esx-01").in_maintenance
        await scenario.exit_maintenance("esx-01")
        await asyncio.sleep(120)
        await rest.apply()
        assert await rest.statuses() == ["COMPLIANT", "COMPLIANT"]


async def test_a_new_host_waits_for_an_apply_and_one_that_leaves_takes_its_vm_along():
    async with running(hosts=1) as rest:
        await rest.manage_by_image()
        await rest.put(rest.spec())
        await rest.apply()
        scenario = rest.vcenter.scenario
        host = await scenario.add_host("esx-09")
        with rest.vcenter.world.commit() as tx:
            tx.set(host, agent_datastore=host.datastores[0], agent_network=host.networks[0])
        await asyncio.sleep(600)
        assert (await rest.compliance())["esx-09"]["status"] == "NOT_APPLIED"
        await rest.apply()
        assert len(machines(rest)) == 2
        await scenario.enter_maintenance("esx-09")
        await scenario.remove_host("esx-09")
        await asyncio.sleep(60)
        assert list(await rest.compliance()) == ["esx-00"]


async def test_what_is_refused():
    async with running() as rest:
        status, body = await rest.call("GET", paths.solutions(rest.cluster))
        assert (status, body["error_type"]) == (400, "UNSUPPORTED"), "not managed by an image"
        await rest.manage_by_image()
        status, body = await rest.call("GET", paths.solutions("domain-c404"))
        assert (status, body["error_type"]) == (404, "NOT_FOUND")
        status, body = await rest.call("GET", paths.solution(rest.cluster, "none"))
        assert (status, body["error_type"]) == (404, "NOT_FOUND")
        status, body = await rest.call("PUT", paths.solution(rest.cluster, "x"), rest.spec())
        assert (status, body["error_type"]) == (400, "INVALID_ARGUMENT"), "tasks must be asked for"
        query = {paths.TASK_PARAMETER: "true"}
        status, body = await rest.call("PUT", paths.solution(rest.cluster, "x"), {"display_name": 1}, **query)
        assert (status, body["error_type"]) == (400, "INVALID_ARGUMENT")
        wrong = [
            {"deployment_type": "CLUSTER_VM_SET"},
            {"redeployment_policy": "BLUE_GREEN"},
            {"ovf_descriptor_properties": {"with space": "x"}},
            {"ovf_resource": {"location_type": "REMOTE_FILE"}},
            {"ovf_resource": {"location_type": "REMOTE_FILE", "url": "http://127.0.0.1:1/none.ovf"}},
            {"host_solution_spec": {"vm_networks": ["network-404"]}},
        ]
        for change in wrong:
            task = await rest.put(rest.spec(**change))
            assert (task["status"], task["error"]["error_type"]) == ("FAILED", "INVALID_ARGUMENT"), change
            assert task["error"]["data"]["notifications"]["errors"]
        await rest.put(rest.spec())
        status, body = await rest.call(
            "POST", paths.solutions(rest.cluster), {"host_solutions": {"hosts": ["host-404"]}}, action="apply", **query
        )
        assert (status, body["error_type"]) == (400, "INVALID_ARGUMENT")
        status, _ = await rest.call("POST", paths.solutions(rest.cluster), {}, action="dance", **query)
        assert status == 404
        status, _ = await rest.call("GET", paths.task("none"))
        assert status == 404


async def test_one_apply_at_a_time_and_none_in_a_disabled_cluster():
    async with running(hosts=1) as rest:
        await rest.manage_by_image()
        await rest.put(rest.spec(hooks=HOOKS))
        await rest.begin_apply()
        query = {"action": "apply", paths.TASK_PARAMETER: "true"}
        status, body = await rest.call("POST", paths.solutions(rest.cluster), {}, **query)
        assert (status, body["error_type"]) == (400, "NOT_ALLOWED_IN_CURRENT_STATE")
        with rest.vcenter.world.commit() as tx:
            tx.set(rest.vcenter.inventory["C0"], disabled=True)
        (deployment,) = (await rest.compliance()).values()
        assert "VMS_DISABLED" in [issue["type"] for issue in deployment["issues"]]
        status, body = await rest.call("POST", paths.solutions(rest.cluster), {}, **query)
        assert body["error_type"] == "NOT_ALLOWED_IN_CURRENT_STATE"


async def test_sessions_privileges_and_older_releases():
    async with running() as rest:
        await rest.manage_by_image()
        assert await rest.login("nobody@vsphere.local", "wrong") == 401
        accounts = rest.vcenter.world.service(Accounts)
        accounts.add(Account("reader@vsphere.local", "secret", "Reader", frozenset({"VcIntegrity.systemVM.Read"})))
        assert await rest.login("reader@vsphere.local", "secret") == 201
        status, found = await rest.call("GET", paths.SESSION)
        assert (status, found["user"]) == (200, "reader@vsphere.local")
        status, _ = await rest.call("GET", paths.solutions(rest.cluster))
        assert status == 200
        status, body = await rest.call("PUT", paths.solution(rest.cluster, "x"), rest.spec())
        assert (status, body["error_type"]) == (403, "UNAUTHORIZED")
        status, _ = await rest.call("DELETE", paths.SESSION)
        assert status == 204
        status, body = await rest.call("GET", paths.solutions(rest.cluster))
        assert (status, body["error_type"]) == (401, "UNAUTHENTICATED")
        assert await rest.login() == 201
        await asyncio.sleep(1801)
        status, _ = await rest.call("GET", paths.SESSION)
        assert status == 401, "idle for half an hour"
    async with running(profile="vc80u3") as rest:
        status, _ = await rest.call("GET", paths.SESSION)
        assert status == 200
        status, _ = await rest.call("GET", paths.enablement(rest.cluster))
        assert status == 404


async def test_an_agency_of_eam_is_taken_over_with_its_vms():
    async with running() as rest:
        await rest.manage_by_image()
        service: EamService = rest.vcenter.world.service(EamService)
        agency = make_agency(rest, service)
        await service.idle()
        await asyncio.sleep(60)
        assert agency.status == "green"
        before = machines(rest)
        body = {"eam_agency_id": "none", "solution": rest.spec(2)}
        path = paths.transition(rest.cluster, "contrail")
        refused = await rest.task("POST", path, body, action="enable")
        assert refused["error"]["error_type"] == "NOT_FOUND"

        body["eam_agency_id"] = agency.moid
        rest.vcenter.scenario.add_fault(point="system_vm.transition", fault="HostCommunication", times=1)
        failed = await rest.task("POST", path, body, action="enable")
        assert failed["status"] == "FAILED"
        assert {record.type for agent in agency.agents for record in agent.issues} == {"TransitionFailed"}

        assert (await rest.task("POST", path, body, action="enable"))["status"] == "SUCCEEDED"
        assert rest.vcenter.world.get(agency.moid) is None, "EAM does not know it any more"
        await asyncio.sleep(600)
        assert machines(rest) == before, "the VMs are as they were"
        assert await rest.statuses() == ["NOT_APPLIED", "NOT_APPLIED"]
        await rest.apply()
        assert [vm.memory_mb for vm in machines(rest)] == [2048, 2048]
        again = await rest.task("POST", path, body, action="enable")
        assert again["error"]["error_type"] == "NOT_FOUND"


async def test_an_agency_of_several_clusters_is_not_taken_over():
    async with running(clusters=2) as rest:
        await rest.manage_by_image()
        service: EamService = rest.vcenter.world.service(EamService)
        agency = make_agency(rest, service, clusters=("C0", "C1"))
        body = {"eam_agency_id": agency.moid, "solution": rest.spec()}
        task = await rest.task("POST", paths.transition(rest.cluster, "contrail"), body, action="enable")
        assert task["error"]["error_type"] == "INVALID_ARGUMENT"
        assert rest.vcenter.world.get(agency.moid) is agency


def make_agency(rest, service: EamService, clusters=("C0",)):
    entry = eam.Agent.ConfigInfo(
        ovfPackageUrl=rest.depot.package(1),
        ovfEnvironment=eam.Agent.OvfEnvironmentInfo(
            ovfProperty=[eam.Agent.OvfEnvironmentInfo.OvfProperty(key="url", value="https://127.0.0.1:8444")]
        ),
    )
    scope = eam.Agency.ComputeResourceScope(computeResource=[rest.vcenter.inventory[name].ref for name in clusters])
    config = eam.Agency.ConfigInfo(agencyName="A", agentName="ContrailVM", agentConfig=[entry], scope=scope)

    class Call:
        user, extension, session = "administrator@vsphere.local", False, None

    return service.create(Call(), config, goal="enabled")


async def test_a_saved_inventory_keeps_solutions_with_what_was_applied(tmp_path):
    async with running() as rest:
        await rest.manage_by_image()
        await rest.put(rest.spec())
        await rest.apply()
        await rest.put(rest.spec(2))
        await rest.apply(hosts=[rest.vcenter.scenario.host("esx-00").moid])
        path = tmp_path / "inventory.json"
        rest.vcenter.scenario.save(path)
        await rest.vcenter.scenario.load(str(path))
        assert await rest.login() == 201
        assert await rest.statuses() == ["COMPLIANT", "OBSOLETE_SPEC"]
        await rest.apply()
        assert [vm.memory_mb for vm in machines(rest)] == [2048, 2048]
