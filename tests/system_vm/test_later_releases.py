"""What release 9.1 added is for sets of a cluster: refused for a VM on every host, and unknown to 9.0."""

from __future__ import annotations

import asyncio

import pytest
from rest_client import running
from test_system_vms import HOOKS, machines, make_agency

from contrail_vsphere.simulator.eam.service import EamService
from contrail_vsphere.wire.system_vm import paths

pytestmark = pytest.mark.looptime


async def refusal(rest, body, action):
    task = await rest.task("POST", paths.transition(rest.cluster, "contrail"), body, action=action)
    assert task["status"] == "FAILED"
    return task["error"]["error_type"], task["error"]["messages"][0]["default_message"]


async def test_later_transitions_are_for_sets():
    async with running(clusters=2, profile="vc91") as rest:
        await rest.manage_by_image()
        service: EamService = rest.vcenter.world.service(EamService)
        agency = make_agency(rest, service)
        wide = make_agency(rest, service, clusters=("C0", "C1"))
        source = {"eam_agency_ids": [agency.moid], "solution": rest.spec()}
        kind, words = await refusal(rest, source, "multi-source-enable")
        assert (kind, words) == ("INVALID_ARGUMENT", "This is supported for CLUSTER_VM_SET only.")
        missing = source | {"eam_agency_ids": [agency.moid, "none"]}
        assert (await refusal(rest, missing, "multi-source-enable"))[0] == "NOT_FOUND"
        outside = source | {"eam_agency_ids": [wide.moid]}
        assert "scope" in (await refusal(rest, outside, "multi-source-enable"))[1]
        assert rest.vcenter.world.get(agency.moid) is agency

        elsewhere = {"source_cluster": rest.vcenter.inventory["C1"].moid, "solution": rest.spec()}
        assert (await refusal(rest, elsewhere, "transition"))[0] in ("NOT_FOUND", "UNSUPPORTED")
        await rest.put(rest.spec())
        here = elsewhere | {"source_cluster": rest.cluster}
        assert "exists" in (await refusal(rest, here, "transition"))[1]


async def test_a_vm_of_a_host_is_not_updated_in_its_hook():
    async with running(hosts=1, profile="vc91") as rest:
        await rest.manage_by_image()
        await rest.put(rest.spec(hooks=HOOKS))
        task = await rest.begin_apply()
        await asyncio.sleep(60)
        (vm,) = machines(rest)
        path = paths.hooks(rest.cluster)
        body = {"vm": vm.moid, "solution": "contrail", "lifecycle_state": "POST_PROVISIONING"}
        for change, kind in (
            ({}, "INVALID_ARGUMENT"),
            ({"vm": "vm-0"}, "INVALID_ARGUMENT"),
            ({"lifecycle_state": "POST_POWER_ON"}, "NOT_ALLOWED_IN_CURRENT_STATE"),
            ({"solution": "other"}, "NOT_FOUND"),
        ):
            status, said = await rest.call("POST", path, body | change, action="process-dynamic-update")
            assert status >= 400
            assert said["error_type"] == kind
        for _ in range(2):
            (hook,) = await rest.hooks()
            assert hook["dynamic_update_processed"] is False
            assert await rest.process(hook) == 204
            await asyncio.sleep(60)
        assert (await rest.over(task))["result"]["status"]["status"] == "SUCCESS"


async def test_release_9_0_does_not_know_them():
    async with running(hosts=1, profile="vc90") as rest:
        await rest.manage_by_image()
        path = paths.transition(rest.cluster, "contrail")
        for action in ("multi-source-enable", "transition"):
            status, _ = await rest.call("POST", path, {}, action=action)
            assert status == 404
        status, _ = await rest.call("POST", paths.hooks(rest.cluster), {}, action="process-dynamic-update")
        assert status == 404
