"""System VMs that are a set somewhere in the cluster (9.1): placed, moved, grown, upgraded, handed over."""

from __future__ import annotations

import asyncio

import pytest
from rest_client import running
from test_system_vms import HOOKS, make_agency

from contrail_vsphere.simulator.eam.service import EamService
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.wire.system_vm import paths

pytestmark = pytest.mark.looptime

LATER = {"profile": "vc91", "hosts": 3}


def machines(rest) -> list[VirtualMachine]:
    return [vm for vm in rest.vcenter.world.of_type(VirtualMachine) if vm.managed_by is not None]


def spec(rest, package=1, *, count=2, hooks=None, policy=None, **wish):
    network = rest.vcenter.inventory["mgmt"].moid
    wanted = {"vm_count": count, "vm_networks": {"Management": network}} | wish
    whole = rest.spec(package, hooks=hooks, deployment_type="CLUSTER_VM_SET", cluster_solution_spec=wanted)
    del whole["host_solution_spec"]
    return whole | ({"redeployment_policy": policy} if policy else {})


async def check(rest, cluster="") -> dict[str, dict]:
    """Deployment unit -> its deployment."""
    path = paths.solutions(cluster or rest.cluster)
    task = await rest.task("POST", path, {}, action="check-compliance")
    sets = task["result"]["cluster_solutions_status"]
    assert (sets["status"] == "COMPLIANT") == (task["result"]["status"] == "COMPLIANT")
    found = next(iter(sets["compliances"].values()), {"compliances": {}})["compliances"]
    return {unit: item["deployment"] for unit, item in found.items()}


async def statuses(rest, cluster=""):
    return sorted(item["status"] for item in (await check(rest, cluster)).values())


async def apply(rest, units=(), cluster=""):
    body = {"cluster_solutions": {"deployment_units": list(units)}}
    task = await rest.task("POST", paths.solutions(cluster or rest.cluster), body, action="apply")
    return task["result"]["cluster_solutions_status"]["status"]["status"]


async def refused(rest, document):
    task = await rest.put(document)
    assert (task["status"], task["error"]["error_type"]) == ("FAILED", "INVALID_ARGUMENT")
    return task["error"]["messages"][0]["default_message"]


async def test_a_set_is_deployed_grown_shrunk_and_removed():
    async with running(**LATER) as rest:
        await rest.manage_by_image()
        assert (await rest.put(spec(rest)))["status"] == "SUCCEEDED"
        assert await statuses(rest) == ["NOT_APPLIED"] * 2
        await asyncio.sleep(600)
        assert machines(rest) == [], "nothing happens before an apply"
        assert (await rest.apply())["result"]["status"]["status"] == "SUCCESS"
        assert machines(rest) == [], "that was for solutions of hosts"
        assert await apply(rest) == "SUCCESS"
        assert await statuses(rest) == ["COMPLIANT"] * 2
        vms = machines(rest)
        assert len({vm.host for vm in vms}) == 2, "apart, as long as there is room"
        assert all(vm.power_state == "poweredOn" and not vm.esx_agent for vm in vms)
        assert {vm.managed_by.type for vm in vms} == {"cluster-agent"}
        assert [nic.network.name for vm in vms for nic in vm.nics] == ["mgmt", "mgmt"]
        assert {host.required_agents for host in rest.vcenter.scenario.hosts()} == {0}, "DRS waits for none of them"

        await rest.put(spec(rest, count=4))
        assert await statuses(rest) == ["NOT_APPLIED"] * 2 + ["OBSOLETE_SPEC"] * 2
        assert await apply(rest) == "SUCCESS"
        assert len(machines(rest)) == 4
        await rest.put(spec(rest, count=1))
        assert len(machines(rest)) == 4
        assert await apply(rest) == "SUCCESS"
        assert machines(rest) == vms[:1], "the newest go"
        await rest.task("DELETE", paths.solution(rest.cluster, "contrail"))
        assert machines(rest) == vms[:1]
        assert await apply(rest) == "SUCCESS"
        assert machines(rest) == []
        assert await check(rest) == {}


async def test_units_are_applied_one_by_one_if_asked():
    async with running(**LATER) as rest:
        await rest.manage_by_image()
        await rest.put(spec(rest))
        first, second = await check(rest)
        assert await apply(rest, [first]) == "SUCCESS"
        found = await check(rest)
        assert [found[unit]["status"] for unit in (first, second)] == ["COMPLIANT", "NOT_APPLIED"]
        body = {"cluster_solutions": {"deployment_units": ["none"]}}
        query = {"action": "apply", paths.TASK_PARAMETER: "true"}
        status, error = await rest.call("POST", paths.solutions(rest.cluster), body, **query)
        assert (status, error["error_type"]) == (400, "INVALID_ARGUMENT")


async def test_vms_of_a_set_move_like_others_and_their_units_with_them():
    async with running(**LATER) as rest:
        await rest.manage_by_image()
        await rest.put(spec(rest, count=1))
        await apply(rest)
        (vm,) = machines(rest)
        home = vm.host
        await rest.vcenter.scenario.enter_maintenance(home)
        assert vm.power_state == "poweredOn"
        assert vm.host is not home
        assert await statuses(rest) == ["COMPLIANT"]
        await rest.vcenter.scenario.crash_host(vm.host)
        await asyncio.sleep(1200)
        assert (vm.power_state, vm.host.connection_state) == ("poweredOn", "connected"), "HA restarts it elsewhere"
        assert await statuses(rest) == ["COMPLIANT"]
        await rest.vcenter.scenario.power_off(vm)
        (deployment,) = (await check(rest)).values()
        assert [issue["type"] for issue in deployment["issues"]] == ["VM_POWERED_OFF"]
        assert rest.vcenter.events.of_type("com.vmware.vim.eam.issue.cluster.agent.vmPoweredOff")
        assert await apply(rest) == "SUCCESS"
        assert vm.power_state == "poweredOn"
        await rest.vcenter.scenario.delete_vm(vm)
        assert await statuses(rest) == ["ISSUE"]
        assert await apply(rest) == "SUCCESS"
        assert machines(rest)[0] is not vm


async def test_vms_that_must_be_apart_are_never_two_on_a_host():
    async with running(**LATER) as rest:
        await rest.manage_by_image()
        await rest.put(spec(rest, count=4, vm_placement_policies=["VM_VM_ANTI_AFFINITY"]))
        assert await apply(rest) == "ERROR"
        assert await statuses(rest) == ["COMPLIANT"] * 3 + ["ISSUE"]
        assert len({vm.host for vm in machines(rest)}) == len(machines(rest)) == 3
        (issue,) = [one["type"] for item in (await check(rest)).values() for one in item["issues"]]
        assert issue == "INSUFFICIENT_RESOURCES"
        await rest.vcenter.scenario.add_host("esx-99")
        with rest.vcenter.world.commit() as tx:
            host = rest.vcenter.scenario.host("esx-99")
            shared = rest.vcenter.inventory["nfs-shared"]
            if shared not in host.datastores:
                tx.set(host, datastores=(*host.datastores, shared))
        assert await apply(rest) == "SUCCESS"
        assert len({vm.host for vm in machines(rest)}) == 4


@pytest.mark.parametrize("policy", ["RECREATE", "BLUE_GREEN"])
async def test_an_upgrade_leaves_a_gap_or_none(policy):
    async with running(**LATER) as rest:
        await rest.manage_by_image()
        await rest.put(spec(rest, count=1, policy=policy))
        await apply(rest)
        (old,) = machines(rest)
        await rest.put(spec(rest, 2, count=1, hooks=HOOKS, policy=policy))
        body = {"action": "apply", paths.TASK_PARAMETER: "true"}
        _, task = await rest.call("POST", paths.solutions(rest.cluster), {}, **body)
        seen = []
        for _ in range(2):
            await asyncio.sleep(60)
            (hook,) = await rest.hooks()
            (deployment,) = (await check(rest)).values()
            present = {vm.memory_mb: vm.power_state for vm in machines(rest)}
            seen.append((hook["lifecycle_state"], present, deployment.get("vm") == old.moid))
            assert await rest.process(hook) == 204
        assert (await rest.over(task))["result"]["status"]["status"] == "SUCCESS"
        provisioned = ("POST_PROVISIONING", {1024: "poweredOn", 2048: "poweredOff"}, True)
        both = ("POST_POWER_ON", {1024: "poweredOn", 2048: "poweredOn"}, True)
        alone = ("POST_POWER_ON", {2048: "poweredOn"}, False)
        assert seen == [provisioned, both if policy == "BLUE_GREEN" else alone]
        assert [(vm.memory_mb, vm.power_state) for vm in machines(rest)] == [(2048, "poweredOn")]
        assert await statuses(rest) == ["COMPLIANT"]


async def test_a_blue_green_upgrade_that_fails_keeps_the_old_vm_running():
    async with running(**LATER) as rest:
        await rest.manage_by_image()
        await rest.put(spec(rest, count=1, policy="BLUE_GREEN"))
        await apply(rest)
        (old,) = machines(rest)
        await rest.put(spec(rest, 2, count=1, policy="BLUE_GREEN"))
        rest.vcenter.scenario.add_fault(point="eam.power_on", fault="GenericVmConfigFault", fields={"reason": "x"})
        assert await apply(rest) == "ERROR"
        assert old.power_state == "poweredOn"
        (deployment,) = (await check(rest)).values()
        assert [issue["type"] for issue in deployment["issues"]] == ["VM_INVALID_CONFIG"]
        rest.vcenter.faults.clear()
        assert await apply(rest) == "SUCCESS"
        assert [vm.memory_mb for vm in machines(rest)] == [2048]


async def test_one_after_the_other_stops_at_the_first_that_fails():
    async with running(**LATER) as rest:
        await rest.manage_by_image()
        await rest.put(spec(rest, count=3, remediation_policy="SEQUENTIAL"))
        _, task = await rest.call(
            "POST", paths.solutions(rest.cluster), {}, **{"action": "apply", paths.TASK_PARAMETER: "true"}
        )
        most = 0
        while (await rest.call("GET", paths.task(task)))[1]["status"] == "RUNNING":
            busy = [vm for vm in machines(rest) if vm.heartbeat != "green"]
            most = max(most, len(busy))
            await asyncio.sleep(1)
        assert most <= 1
        assert await statuses(rest) == ["COMPLIANT"] * 3
        await rest.put(spec(rest, 2, count=3, remediation_policy="SEQUENTIAL"))
        rest.vcenter.scenario.add_fault(point="eam.deploy", fault="NoDiskSpace", times=1)
        assert await apply(rest) == "ERROR"
        assert await statuses(rest) == ["BLOCKED", "BLOCKED", "ISSUE"]
        assert [vm.memory_mb for vm in machines(rest)] == [1024] * 3
        assert await apply(rest) == "SUCCESS"
        assert [vm.memory_mb for vm in machines(rest)] == [2048] * 3


async def test_agencies_become_one_set_whose_vms_stay_as_they_are():
    async with running(**LATER) as rest:
        await rest.manage_by_image()
        world = rest.vcenter.world
        service: EamService = world.service(EamService)
        agencies = [make_agency(rest, service), make_agency(rest, service)]
        for agency in agencies:
            await asyncio.sleep(120)
            assert len(agency.agents) == 3
        before = machines(rest)
        body = {"eam_agency_ids": [item.moid for item in agencies], "solution": spec(rest, count=7)}
        path = paths.transition(rest.cluster, "contrail")
        task = await rest.task("POST", path, body, action="multi-source-enable")
        assert task["status"] == "SUCCEEDED"
        assert [world.get(agency.moid) for agency in agencies] == [None, None]
        assert machines(rest) == before
        assert {(vm.power_state, vm.esx_agent) for vm in before} == {("poweredOn", False)}
        assert await statuses(rest) == ["NOT_APPLIED"] * 7
        assert await apply(rest) == "SUCCESS"
        assert len(machines(rest)) == 7
        again = await rest.task("POST", path, body, action="multi-source-enable")
        assert again["error"]["error_type"] == "NOT_FOUND"


async def test_a_set_moves_to_another_cluster_with_the_next_apply():
    async with running(profile="vc91", hosts=4, clusters=2) as rest:
        await rest.manage_by_image()
        source, target = rest.cluster, rest.vcenter.inventory["C1"]
        await rest.put(spec(rest))
        await apply(rest)
        vms = machines(rest)
        rest.cluster = target.moid
        await rest.manage_by_image()
        path, body = paths.transition(rest.cluster, "contrail"), {"source_cluster": source, "solution": spec(rest)}
        with rest.vcenter.world.commit() as tx:
            tx.set(target, drs=False)
        refused = await rest.task("POST", path, body, action="transition")
        assert "DRS" in refused["error"]["messages"][0]["default_message"]
        with rest.vcenter.world.commit() as tx:
            tx.set(target, drs=True)
        assert (await rest.task("POST", path, body, action="transition"))["status"] == "SUCCEEDED"
        assert {vm.host.parent.moid for vm in vms} == {source}, "the VMs are untouched"
        assert (await rest.call("GET", paths.solution(source, "contrail")))[0] == 404
        with rest.vcenter.world.commit() as tx:
            for host in target.hosts:
                tx.set(host, in_maintenance=True)
        assert await apply(rest) == "ERROR"
        found = await check(rest)
        assert {issue["type"] for item in found.values() for issue in item["issues"]} == {"CLUSTER_TRANSITION_FAILED"}
        with rest.vcenter.world.commit() as tx:
            for host in target.hosts:
                tx.set(host, in_maintenance=False)
        assert await apply(rest) == "SUCCESS"
        assert machines(rest) == vms, "the same VMs"
        assert {vm.host.parent for vm in vms} == {target}
        assert {vm.power_state for vm in vms} == {"poweredOn"}


async def test_a_dynamic_update_is_processed_in_the_hook():
    async with running(**LATER) as rest:
        await rest.manage_by_image()
        await rest.put(spec(rest, count=1, hooks=HOOKS))
        _, task = await rest.call(
            "POST", paths.solutions(rest.cluster), {}, **{"action": "apply", paths.TASK_PARAMETER: "true"}
        )
        await asyncio.sleep(60)
        (hook,) = await rest.hooks()
        assert hook["dynamic_update_processed"] is False
        body = {"vm": hook["vm"], "solution": "contrail", "lifecycle_state": hook["lifecycle_state"]}
        path, query = paths.hooks(rest.cluster), {"action": "process-dynamic-update"}
        devices = {"selection_criteria": {"selection_type": "VM_EXTRA_CONFIG", "extra_config_value": "x"}}
        assert (await rest.call("POST", path, body | {"alternative_vm_spec": devices}, **query))[0] == 400
        assert (await rest.call("POST", path, body | {"lifecycle_state": "POST_POWER_ON"}, **query))[0] == 400
        assert (await rest.call("POST", path, body, **query))[0] == 204
        (hook,) = await rest.hooks()
        assert hook["dynamic_update_processed"] is True
        await rest.process(hook)
        await asyncio.sleep(60)
        (hook,) = await rest.hooks()
        assert hook["dynamic_update_processed"] is False
        await rest.process(hook)
        assert (await rest.over(task))["status"] == "SUCCEEDED"


async def test_what_no_set_can_have_is_refused():
    async with running(**LATER) as rest:
        await rest.manage_by_image()
        good = spec(rest)
        for wrong, word in (
            (good | {"host_solution_spec": {}}, "host_solution_spec"),
            ({name: value for name, value in good.items() if name != "cluster_solution_spec"}, "must be set"),
            (spec(rest, count=0), "vm_count"),
            (spec(rest, vm_networks={"Management": "network-0"}), "network-0"),
            (spec(rest, vm_datastores=["datastore-0"]), "datastore-0"),
            (spec(rest, devices={}), "Devices"),
            (rest.spec(redeployment_policy="BLUE_GREEN"), "BLUE_GREEN"),
        ):
            assert word in await refused(rest, wrong)
        await rest.put(good)
        assert "deployment type" in await refused(rest, rest.spec())
        with rest.vcenter.world.commit() as tx:
            tx.set(rest.vcenter.inventory["C0"], drs=False)
        assert "DRS" in await refused(rest, good)
        shared = rest.vcenter.inventory["nfs-shared"].moid
        assert (await rest.put(spec(rest, vm_datastores=[shared])))["status"] == "SUCCEEDED"


async def test_release_9_0_has_no_sets_unless_the_reference_is_right():
    async with running(profile="vc90") as rest:
        await rest.manage_by_image()
        assert await refused(rest, spec(rest)) == "CLUSTER_VM_SET is not supported."
        rest.vcenter.scenario.set_switch("eam.sets_in_9_0", "true")
        assert "9.1" in await refused(rest, spec(rest, policy="BLUE_GREEN"))
        assert "9.1" in await refused(rest, spec(rest, remediation_policy="SEQUENTIAL"))
        assert (await rest.put(spec(rest)))["status"] == "SUCCEEDED"
        assert await apply(rest) == "SUCCESS"
        assert len(machines(rest)) == 2
