"""Random mischief in the inventory, then quiet and Resolve: every host that can have one ends with one EsxAgent."""

from __future__ import annotations

import asyncio
import contextlib

import hypothesis.strategies as st
import looptime
import pytest
from bundles import bundle, vib_xml
from eam_site import Site, running_depot
from hypothesis import HealthCheck, given, settings

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.eam.host_image import HostImage
from contrail_vsphere.simulator.eam.switches import Switches
from contrail_vsphere.simulator.vcenter import host_life, vm_life
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.simulator.vcenter.vm_wiring import move_to_host
from contrail_vsphere.wire.soap.fault import SoapFault

VERBS = (
    "power_off",
    "power_on",
    "suspend",
    "delete",
    "migrate",
    "enter_maintenance",
    "exit_maintenance",
    "disconnect",
    "reconnect",
    "crash",
    "boot",
    "add_host",
    "remove_host",
    "fail_step",
    "depot_down",
    "depot_up",
    "resolve",
    "mark",
    "update",
    "disable",
    "enable",
    "restart",
    "patch",
    "drop_vibs",
    "wait",
)
BUNDLES = {
    "none": b"",
    "live": bundle(vib_xml()),
    "maintenance": bundle(vib_xml(maintenance=True)),
    "reboot": bundle(vib_xml(maintenance=True, live_install=False, live_remove=False)),
}

steps = st.lists(st.tuples(st.sampled_from(VERBS), st.integers(0, 7), st.sampled_from([0, 1, 20, 200])), max_size=25)
switch_positions = st.builds(
    Switches,
    parallel_deployments=st.sampled_from([1, 8]),
    maintenance_issue=st.sampled_from(["pending-only", "always"]),
    maintenance_status=st.sampled_from(["green", "yellow"]),
    heartbeat_lost=st.sampled_from(["yellow", "ignored"]),
    pre_power_on_hook=st.booleans(),
    removal_waits_for_maintenance=st.booleans(),
    pool_name=st.sampled_from(["ESX Agents", ""]),
)


class Walk:
    def __init__(self, site: Site, *, hooks: bool, vibs: str) -> None:
        self.site, self.hooks, self.vibs = site, hooks, vibs
        self.agency = None
        self.version = 1
        self.work: set[asyncio.Task] = set()

    def config(self, url=None):
        config = self.site.config(url, hooks=self.hooks)
        if BUNDLES[self.vibs]:
            self.site.depot.files["/vibs.zip"] = BUNDLES[self.vibs]
            config.agentConfig[0].vibUrl = f"{self.site.depot.url}/vibs.zip"
        return config

    def begin(self, coroutine) -> None:
        async def guarded():
            with contextlib.suppress(SoapFault):  # not possible now, as for any other client
                await coroutine

        task = asyncio.get_running_loop().create_task(guarded())
        self.work.add(task)
        task.add_done_callback(self.work.discard)

    async def step(self, verb: str, number: int, pause: float) -> None:
        site, world = self.site, self.site.world
        hosts = list(site.cluster.hosts)
        vms = site.eam_vms()
        host = hosts[number % len(hosts)] if hosts else None
        vm = vms[number % len(vms)] if vms else None
        if verb in {"power_off", "power_on", "suspend"} and vm is not None:
            self.begin(getattr(vm_life, verb)(world, vm, user="somebody"))
        elif verb == "delete" and vm is not None:
            self.begin(self._delete(vm))
        elif verb == "migrate" and vm is not None and host.connection_state == vm.connection_state == "connected":
            if not vm.busy_chain and not host.in_maintenance:
                with world.commit("somebody") as tx:
                    move_to_host(tx, vm, host)
        elif verb in {"enter_maintenance", "exit_maintenance", "disconnect", "reconnect"} and host is not None:
            self.begin(getattr(host_life, verb)(world, host, user="somebody"))
        elif verb == "crash" and host is not None and not host.crashed:
            self.begin(host_life.crash(world, host))
        elif verb == "boot" and host is not None and host.crashed:
            self.begin(host_life.boot(world, host))
        elif verb == "add_host" and len(hosts) < 5:
            self.begin(self._add_host(f"esx-new-{world.seq}"))
        elif verb == "remove_host" and len(hosts) > 1:
            self.begin(host_life.remove_host(world, host, user="somebody"))
        elif verb == "fail_step":
            points = ("eam.deploy", "eam.power_on", "eam.power_off", "eam.delete")
            faults = ("HostCommunication", "NoDiskSpace", "InsufficientMemoryResourcesFault", "FileNotFound")
            site.add_fault(point=points[number % 4], fault=faults[number // 2 % 4], times=1)
        elif verb in {"depot_down", "depot_up"}:
            site.depot.status = 503 if verb == "depot_down" else 200
        elif verb == "restart":
            await site.eam.restart()
        elif verb == "patch" and host is not None:
            with world.commit("somebody") as tx:
                tx.set(host, partial_maintenance=not host.partial_maintenance)
        elif verb == "drop_vibs" and host is not None and HostImage.of(world, host) is not None:
            with world.commit("somebody") as tx:
                tx.set(HostImage.of(world, host), vibs=())
        else:
            self._call(verb)
        await world.clock.sleep(pause)

    def _call(self, verb: str) -> None:
        site, agency = self.site, self.agency
        try:
            if verb == "resolve":
                agency.ResolveAll(site.solution)
            elif verb == "mark":
                for agent in agency.agents:
                    agent.MarkAsAvailable(site.solution)
            elif verb == "disable":
                agency.Agency_Disable(site.solution)
            elif verb == "enable":
                agency.Agency_Enable(site.solution)
            elif verb == "update":
                self.version += 1
                url = site.depot.package(f"v{self.version}", memory_mb=1024 * self.version)
                self.begin(agency.Update(site.solution, config=self.config(url)))
        except SoapFault:
            pass  # EAM is restarting

    async def _delete(self, vm) -> None:
        if vm.power_state == "poweredOn":
            await vm_life.power_off(self.site.world, vm, user="somebody")
        await vm_life.destroy(self.site.world, vm, user="somebody")

    async def _add_host(self, name: str) -> None:
        self.site.set_agent_places(await host_life.add_host(self.site.world, self.site.cluster, name=name))

    async def quiet(self) -> None:
        """Everything is repaired that a person would repair, then the solution resolves and marks for an hour."""
        site, world = self.site, self.site.world
        site.depot.status = 200
        from contrail_vsphere.simulator.core.faults import FaultBook

        world.service(FaultBook).clear()
        for _ in range(4):
            for host in list(site.cluster.hosts):
                if host.crashed:
                    await self._try(host_life.boot(world, host))
                if host.connection_state != "connected":
                    await self._try(host_life.reconnect(world, host))
                if host.partial_maintenance:
                    with world.commit("somebody") as tx:
                        tx.set(host, partial_maintenance=False)
                if host.in_maintenance:
                    self.begin(host_life.exit_maintenance(world, host))
            await world.clock.sleep(60)
        self._call("enable")
        for _ in range(60):
            self._call("resolve")
            self._call("mark")
            await world.clock.sleep(90)

    async def _try(self, coroutine) -> None:
        with contextlib.suppress(SoapFault):
            await coroutine

    def check(self) -> None:
        site, agency = self.site, self.agency
        told = [(agent, agent.phase, site.issues(agent), agent.vm) for agent in agency.agents]
        wanted = {
            host.moid
            for host in site.cluster.hosts
            if host.connection_state == "connected" and not host.in_maintenance and not host.entering_maintenance
        }
        assert wanted == {host.moid for host in site.cluster.hosts}, "the tear-down left a host in maintenance"
        found = [(vm.host.moid, vm.power_state) for vm in site.world.of_type(VirtualMachine) if vm.esx_agent]
        assert sorted(found) == sorted((moid, "poweredOn") for moid in wanted), told
        assert agency.status == "green", told
        memory = 2048 if self.version == 1 else 1024 * self.version
        last = agency.QueryConfig(site.solution).agentConfig[0].ovfPackageUrl
        for agent in agency.agents:
            assert agent.deployed.package.url == last
            if last.endswith(f"/v{self.version}/contrailvm.ovf"):
                assert agent.vm.memory_mb == memory
            assert (agent.host.required_agents, agent.host.available_agents) == (1, 1)
            image = HostImage.of(site.world, agent.host)
            assert (image is not None and len(image.vibs) == 1) is (self.vibs != "none")


async def walk(actions, hooks, vibs, switches) -> None:
    async with running_depot() as depot:
        site = Site(depot, hosts=2, timing=Timing.real(), switches=switches)
        await site.start()
        try:
            trip = Walk(site, hooks=hooks, vibs=vibs)
            trip.agency = await site.eam.manager.CreateAgency(
                site.solution, agencyConfigInfo=trip.config(), initialGoalState="enabled"
            )
            for action in actions:
                await trip.step(*action)
            await trip.quiet()
            trip.check()
        finally:
            for task in list(trip.work):
                task.cancel()
            await asyncio.gather(*trip.work, return_exceptions=True)
            await site.stop()


def run_virtually(coroutine) -> None:
    loop = looptime.new_event_loop()
    try:
        loop.run_until_complete(coroutine)
    finally:
        loop.close()


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(actions=steps, hooks=st.booleans(), vibs=st.sampled_from(sorted(BUNDLES)), switches=switch_positions)
def test_quiet_and_resolve_lead_to_one_esx_agent_per_host(actions, hooks, vibs, switches):
    run_virtually(walk(actions, hooks, vibs, switches))


@pytest.mark.soak
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(actions=steps, hooks=st.booleans(), vibs=st.sampled_from(sorted(BUNDLES)), switches=switch_positions)
def test_long_walks(actions, hooks, vibs, switches):
    run_virtually(walk(actions, hooks, vibs, switches))
