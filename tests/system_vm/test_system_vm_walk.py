"""Random mischief between desired states and applies; once quiet, an apply leads to one newest VM on every host."""

from __future__ import annotations

import asyncio
import contextlib

import hypothesis.strategies as st
import looptime
import pytest
from hypothesis import HealthCheck, given, settings
from rest_client import Rest, running

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.wire.soap.fault import SoapFault

VERBS = ("set", "apply", "apply_one", "process", "fail_hook", "power_off", "delete_vm", "drop", "maintenance", "wait")
HOOKS = {"POST_PROVISIONING": {"timeout": 900}, "POST_POWER_ON": {"timeout": 900}}

steps = st.lists(st.tuples(st.sampled_from(VERBS), st.integers(0, 3), st.sampled_from([0, 5, 60])), max_size=15)


class Trip:
    def __init__(self, rest: Rest, *, hooks: bool) -> None:
        self.rest, self.hooks, self.version = rest, HOOKS if hooks else {}, 1
        self.work: set[asyncio.Task] = set()

    def begin(self, coroutine) -> None:
        async def guarded():
            with contextlib.suppress(SoapFault, LookupError):  # not possible now, as for any other person
                await coroutine

        task = asyncio.get_running_loop().create_task(guarded())
        self.work.add(task)
        task.add_done_callback(self.work.discard)

    async def step(self, verb: str, number: int, pause: float) -> None:
        rest, scenario = self.rest, self.rest.vcenter.scenario
        hosts = scenario.hosts()
        host = hosts[number % len(hosts)]
        vms = [vm for vm in scenario.vms() if vm.esx_agent]
        vm = vms[number % len(vms)] if vms else None
        if verb == "set":
            self.version += 1
            await self.put()
        elif verb in {"apply", "apply_one"}:
            await self.apply([host.moid] if verb == "apply_one" else [])
        elif verb in {"process", "fail_hook"}:
            await self.process(well=verb == "process")
        elif verb == "drop":
            await rest.call("DELETE", f"/api/esx/settings/clusters/{rest.cluster}/vms/solutions/contrail?vmw-task=true")
        elif verb == "power_off" and vm is not None and vm.power_state == "poweredOn":
            self.begin(scenario.power_off(vm))
        elif verb == "delete_vm" and vm is not None:
            self.begin(scenario.delete_vm(vm))
        elif verb == "maintenance":
            toggle = scenario.exit_maintenance if host.in_maintenance else scenario.enter_maintenance
            self.begin(toggle(host))
        await asyncio.sleep(pause)

    async def put(self) -> None:
        await self.rest.put(self.rest.spec(self.version, hooks=self.hooks))

    async def apply(self, hosts) -> None:
        path = f"/api/esx/settings/clusters/{self.rest.cluster}/vms/solutions"
        body = {"host_solutions": {"hosts": hosts}}
        status, found = await self.rest.call("POST", path, body, action="apply", **{"vmw-task": "true"})
        assert status == 202 or found["error_type"] == "NOT_ALLOWED_IN_CURRENT_STATE", found

    async def process(self, *, well: bool = True) -> None:
        path = f"/api/esx/settings/clusters/{self.rest.cluster}/vms/lifecycle-hooks/contrail"
        status, found = await self.rest.call("GET", path)
        for hook in found["hooks"] if status == 200 else ():
            assert await self.rest.process(hook, well=well) in {204, 400}

    async def quiet(self) -> None:
        scenario = self.rest.vcenter.scenario
        await asyncio.sleep(300)
        self.version += 1
        await self.put()
        for _ in range(30):
            for host in scenario.hosts():
                if host.in_maintenance:
                    self.begin(scenario.exit_maintenance(host))
            await self.apply([])
            for _ in range(4):
                await asyncio.sleep(60)
                await self.process()

    async def check(self) -> None:
        found = await self.rest.compliance()
        assert {item["status"] for item in found.values()} == {"COMPLIANT"}, found
        vms = [vm for vm in self.rest.vcenter.scenario.vms() if vm.esx_agent]
        hosts = [host.name for host in self.rest.vcenter.scenario.hosts()]
        assert sorted(vm.host.name for vm in vms) == sorted(hosts)
        assert {(vm.memory_mb, vm.power_state) for vm in vms} == {(1024 * self.version, "poweredOn")}


async def walk(actions, hooks: bool) -> None:
    async with running(timing=Timing.real(), verify_fragments=True) as rest:
        trip = Trip(rest, hooks=hooks)
        await rest.manage_by_image()
        await trip.put()
        try:
            for action in actions:
                await trip.step(*action)
            await trip.quiet()
            await trip.check()
        finally:
            for task in list(trip.work):
                task.cancel()
            await asyncio.gather(*trip.work, return_exceptions=True)


def run_virtually(coroutine) -> None:
    loop = looptime.new_event_loop()
    try:
        loop.run_until_complete(coroutine)
    finally:
        loop.close()


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(actions=steps, hooks=st.booleans())
def test_quiet_and_an_apply_lead_to_one_newest_vm_per_host(actions, hooks):
    run_virtually(walk(actions, hooks))


@pytest.mark.soak
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(actions=steps, hooks=st.booleans())
def test_long_walks_of_system_vms(actions, hooks):
    run_virtually(walk(actions, hooks))
