"""A stand on which a deployment runs, with eyes on the simulated vCenter: what is asserted is never our own record."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager

from stand import DEPLOYMENT, KEY, Stand

from contrail_vsphere.contrailvm.plan.actions import changes_world
from contrail_vsphere.simulator.core.faults import FaultRule
from contrail_vsphere.simulator.eam.agency import Agency
from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualPortgroup
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

__all__ = ["DEPLOYMENT", "KEY", "Scene"]


class Scene(Stand):
    """Verbs for tests; hosts are given by name."""

    def __init__(self, directory, *, deploy=True, text=DEPLOYMENT, **options):
        super().__init__(directory, **options)
        self._deploy, self._text = deploy, text
        self.violations: list[str] = []

    async def __aenter__(self) -> Scene:
        await self.start()
        self.vcenter.world.observe(self._watch)
        self.world = self.vcenter.world
        self.scenario = self.vcenter.scenario
        if self._deploy:
            self.apply(self._text)
            await self.until(self.healed)
        return self

    async def __aexit__(self, *exc) -> None:
        await self.stop()
        if exc[0] is None:
            assert not self.violations, "\n".join(self.violations)
            assert not self.world.defects, self.world.defects

    # -- what is true in the simulated vCenter -------------------------------------------------------------------

    def host(self, name) -> HostSystem:
        return self.scenario.host(name)

    def on(self, host) -> VirtualMachine | None:
        """The ContrailVM of a host."""
        return next((vm for vm in self.contrailvms() if vm.host is not None and vm.host.name == host), None)

    def agent(self, host) -> EsxAgent:
        return next(each for each in self.world.of_type(EsxAgent) if each.host.name == host)

    def agencies(self) -> list[Agency]:
        return list(self.world.of_type(Agency))

    def forwarding(self, host) -> bool:
        """A ContrailVM runs there and its VRouterAgent has a controller."""
        vm = self.on(host)
        agent = self.vcenter.vrouters.agents.get(vm.moid) if vm is not None else None
        return vm is not None and vm.power_state == "poweredOn" and agent is not None and agent.forwards

    def open_for_tenants(self, host) -> bool:
        return self.host(host).available_agents >= self.host(host).required_agents == 1

    def in_service(self) -> list[HostSystem]:
        return [
            each
            for each in self.world.of_type(HostSystem)
            if each.connection_state == "connected" and not each.in_maintenance and not each.entering_maintenance
        ]

    def healed(self) -> bool:
        """Every host in service has one running, forwarding ContrailVM, is green in EAM and open for tenants."""
        hosts = self.in_service()
        served = self.served()
        return (
            all(
                each.name in served and self.forwarding(each.name) and self.open_for_tenants(each.name)
                for each in hosts
            )
            and {agent.host.name for agent in self.world.of_type(EsxAgent) if agent.status == "green"}
            >= {each.name for each in hosts}
            and len(self.contrailvms()) == len(list(self.world.of_type(EsxAgent)))
        )

    def wiring(self, vm) -> list[str]:
        """Names of the networks of a VM's NICs, in their order."""
        return [nic.network.name if nic.network else "" for nic in sorted(vm.nics, key=lambda nic: nic.key)]

    def trunk(self, name="contrailvm-overlay", *, missing_ok=False) -> DistributedVirtualPortgroup | None:
        found = next((each for each in self.world.of_type(DistributedVirtualPortgroup) if each.name == name), None)
        assert missing_ok or found is not None
        return found

    def resolves(self) -> int:
        return self.vcenter.calls["Resolve"] + self.vcenter.calls["ResolveAll"]

    def marked(self) -> int:
        return self.vcenter.calls["MarkAsAvailable"]

    def told_in_vcenter(self, kind) -> list:
        """Events of ours in vCenter's history: repaired, held, degraded, healthy."""
        return self.vcenter.events.of_type(f"{KEY}.{kind}")

    # -- what the manager tells ----------------------------------------------------------------------------------

    def told(self, host):
        """The host's line of the status."""
        return next(h for d in self.manager.status().deployments for h in d.hosts if h.name == host)

    def alarms(self, host=None) -> str:
        if host is not None:
            return " | ".join(self.told(host).alarms)
        return " | ".join(alarm for d in self.manager.status().deployments for alarm in d.alarms)

    def writes_planned(self) -> list[str]:
        return [each.action.verb for each in self.manager.plan_preview() if changes_world(each.action)]

    # -- what happens ---------------------------------------------------------------------------------------------

    async def pass_time(self, seconds) -> None:
        await asyncio.sleep(seconds)

    async def heals(self, *, seconds=900) -> float:
        return await self.until(self.healed, seconds=seconds)

    def fault(self, **fields) -> int:
        return self.vcenter.faults.add(FaultRule(**fields))

    @contextmanager
    def while_faulty(self, **fields):
        key = self.fault(**fields)
        try:
            yield
        finally:
            self.vcenter.faults.remove(key)

    async def suspend_resume_manager(self, seconds) -> None:
        """The manager's process is gone for a while."""
        await self.crash()
        await self.pass_time(seconds)
        await self.resume()

    # -- what must never happen -----------------------------------------------------------------------------------

    def _watch(self, done) -> None:
        """Seen on every single commit of the simulated vCenter."""
        running: dict[str, int] = {}
        for vm in self.contrailvms():
            if vm.power_state == "poweredOn" and vm.host is not None and not vm.host.crashed:
                running[vm.host.name] = running.get(vm.host.name, 0) + 1
        self.violations += [f"{count} ContrailVMs run on {host}" for host, count in running.items() if count > 1]
        for event in done.events:
            kind = type(event).__name__.rpartition(".")[2]
            if event.userName == KEY and not self._may_touch(event, kind):
                self.violations.append(f"we caused {kind}: {event.fullFormattedMessage}")

    def _may_touch(self, event, kind) -> bool:
        """Our events concern our VMs, our port group, our pool, ourselves; never a host's maintenance or a tenant."""
        if "MaintenanceMode" in kind:
            return False
        vm = getattr(event, "vm", None)
        if vm is not None:
            entity = self.world.get(vm.vm._moId)
            return entity is None or bool(getattr(entity, "esx_agent", False))
        net = getattr(event, "net", None)
        if net is not None:
            return "contrailvm" in net.name
        return True
