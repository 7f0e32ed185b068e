"""Faults happen as the rules say, and the control port offers what the scenario does."""

import asyncio
import http.client
import xml.parsers.expat

import aiohttp
import pytest
from foreign import connect, run
from pyVmomi import vim, vmodl

from contrail_vsphere.simulator.core.faults import FaultRule
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.simulator import VCenterSimulator

# What pyVmomi raises when an answer is missing, is no SOAP, or ends early.
BROKEN = (http.client.HTTPException, OSError, xml.parsers.expat.ExpatError)

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl:ResourceWarning")


@pytest.fixture
def vcenter_options():
    return {"hosts": 2, "vms": 3, "control": True, "verify_fragments": True, "guests": False}


async def test_a_rule_hits_the_named_call_as_often_as_it_says(vcenter):
    vm = vcenter.inventory["vm-0001"]
    vcenter.scenario.add_fault(method="PowerOff*", name="vm-0001", fault="TaskInProgress", times=2, skip=1)

    def client():
        si = connect(vcenter.ready)
        target = vim.VirtualMachine(vm.moid, si._stub)
        other = vim.VirtualMachine(vcenter.inventory["vm-0002"].moid, si._stub)
        assert target.PowerOff()  # skipped
        for _ in range(2):
            with pytest.raises(vim.fault.TaskInProgress):
                target.PowerOff()
        assert other.PowerOff()
        assert target.PowerOff()

    await run(client)
    ((_, acted),) = vcenter.scenario.faults().values()
    assert acted == 2


async def test_statuses_drops_and_cut_replies(vcenter):
    def client(rule):
        si = connect(vcenter.ready)
        vcenter.scenario.add_fault(**rule, method="CurrentTime", times=1)
        with pytest.raises(BROKEN):
            si.CurrentTime()
        assert si.CurrentTime()

    for rule in ({"drop": True}, {"http_status": 503}, {"truncate": 100}, {"drop_reply": True}):
        await run(client, rule)
        vcenter.scenario.clear_faults()


async def test_a_rule_may_ask_for_arguments_and_a_wrong_fault_name_is_refused(vcenter):
    vcenter.scenario.add_fault(method="FindExtension", where={"extensionKey": "a*"}, fault="NotFound")

    def client():
        manager = connect(vcenter.ready).content.extensionManager
        assert manager.FindExtension("b") is None
        with pytest.raises(vim.fault.NotFound):
            manager.FindExtension("abc")

    await run(client)
    with pytest.raises(KeyError):
        vcenter.scenario.add_fault(fault="NoSuchFault")


async def test_the_control_port_does_what_the_scenario_does(vcenter):
    base = vcenter.ready["control_url"]
    async with aiohttp.ClientSession(base) as web:

        async def call(verb, path, status, **json):
            async with web.request(verb, path, json=json or None) as answer:
                assert answer.status == status, await answer.text()
                return await answer.json() if answer.content_length else None

        assert "/v1/hosts" in (await call("GET", "/openapi.json", 200))["paths"]
        made = await call("POST", "/v1/hosts", 201, name="esx-new")
        assert vcenter.inventory["esx-new"].moid == made["id"]
        await call("POST", "/v1/hosts/esx-new/enter-maintenance", 200)
        assert vcenter.inventory["esx-new"].in_maintenance
        await call("DELETE", "/v1/hosts/esx-new", 204)
        assert "esx-new" not in vcenter.inventory
        assert (await call("POST", "/v1/vms", 201, name="fresh", host="esx-01"))["power_state"] == "poweredOn"
        assert (await call("POST", "/v1/vms/fresh/move", 200, host="esx-00"))["name"] == "fresh"
        assert vcenter.inventory["fresh"].host.name == "esx-00"
        assert (await call("POST", "/v1/vms/fresh/rename", 200, name="stale"))["name"] == "stale"
        assert (await call("POST", "/v1/vms/stale/power-on", 409))["error"] == "InvalidPowerState"
        await call("DELETE", "/v1/vms/stale", 204)
        assert (await call("POST", "/v1/vms/stale/power-on", 404))["error"] == "NotFound"
        key = (await call("POST", "/v1/faults", 201, method="Login", http_status=503))["key"]
        assert (await call("GET", "/v1/faults", 200))[0]["rule"]["method"] == "Login"
        await call("DELETE", f"/v1/faults/{key}", 204)
        await call("POST", "/v1/faults", 422, nonsense=1)
        await call("POST", "/v1/faults", 404, fault="NoSuchFault")
        before = (await call("GET", "/v1/clock", 200))["now"]
        assert (await call("POST", "/v1/clock", 200, advance=3600, rate=10))["now"] > before
        snapshot = await call("GET", "/v1/snapshot", 200)
        assert snapshot[vcenter.inventory["vm-0000"].moid]["name"] == "vm-0000"
        assert (await call("GET", "/v1/stats", 200))["defects"] == []
        await call("POST", "/v1/vms/vm-0000/power-off", 200)
        url = vcenter.ready["url"]
        await call("POST", "/v1/reset", 204)
        assert vcenter.ready["url"] == url
        assert vcenter.inventory["vm-0000"].power_state == "poweredOn"
    await run(lambda: connect(vcenter.ready).CurrentTime())


async def test_a_control_token_is_asked_for():
    simulator = VCenterSimulator(hosts=1, control=True, control_token="s3cret", timing=Timing.instant())
    async with simulator as vcenter, aiohttp.ClientSession(vcenter.ready["control_url"]) as web:
        async with web.get("/v1/stats") as answer:
            assert answer.status == 401
        async with web.get("/v1/stats", headers={"Authorization": "Bearer s3cret"}) as answer:
            assert answer.status == 200


async def test_dropped_connections_and_expired_sessions(vcenter):
    def client():
        si = connect(vcenter.ready)
        asyncio.run_coroutine_threadsafe(vcenter.drop_connections(), loop).result(5)
        with pytest.raises(BROKEN):
            si.CurrentTime()
        assert si.CurrentTime()
        loop.call_soon_threadsafe(vcenter.expire_sessions)
        with pytest.raises(vim.fault.NotAuthenticated):
            for _ in range(100):
                si.CurrentTime()

    loop = asyncio.get_running_loop()
    await run(client)


async def test_an_old_release_speaks_its_own_version():
    async with VCenterSimulator(hosts=1, profile="vc67", timing=Timing.instant()) as vcenter:

        def client():
            si = connect(vcenter.ready)
            assert si._stub.versionId == '"urn:vim25/6.7.3"'
            assert si.content.about.version == "6.7.0"
            with pytest.raises(vmodl.fault.ManagedObjectNotFound):
                _ = vim.Folder("group-v99", si._stub).name

        await run(client)


def test_rules_are_data():
    assert FaultRule(method="X") == FaultRule(method="X")
