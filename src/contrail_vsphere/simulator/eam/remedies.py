"""Resolve: what EAM does when a solution asks it to remedy an issue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
from contrail_vsphere.simulator.eam.events import agent_event
from contrail_vsphere.simulator.eam.host_image import HostImage
from contrail_vsphere.simulator.eam.issues import Draft, IssueRecord
from contrail_vsphere.simulator.eam.situation import Phase
from contrail_vsphere.simulator.eam.worker import USER
from contrail_vsphere.simulator.vcenter import host_life
from contrail_vsphere.simulator.vcenter.folder import Folder
from contrail_vsphere.simulator.vcenter.vm_wiring import move_to_pool
from contrail_vsphere.wire.soap.fault import SoapFault

if TYPE_CHECKING:
    from contrail_vsphere.simulator.eam.eam_object import EamObject
    from contrail_vsphere.simulator.eam.service import EamService


class Remedies:
    """Starts remedies; none is waited for, their effect is seen like any other change."""

    def __init__(self, service: EamService) -> None:
        self._service = service
        self._world = service.world

    def resolve(self, known: Mapping[int, tuple[EamObject, IssueRecord]], keys: Iterable[int]) -> list[int]:
        """Start the remedy of each issue; the keys that are unknown or cannot be resolved now."""
        left: list[int] = []
        for key in dict.fromkeys(keys):
            found = known.get(key)
            if found is None or not self._resolve(*found):
                left.append(key)
        return left

    def _resolve(self, owner: EamObject, record: IssueRecord) -> bool:
        if record.type == "UnknownAgentVm":
            self._service.background(self._delete_unknown(record), f"delete unknown {record.vm}")
            return True
        if not isinstance(owner, EsxAgent):
            return self._service.drop_agency_issue(owner, record)
        by_image = (
            owner.host.compute_resource.image_managed if self._world.get(owner.host.moid) is owner.host else False
        )
        if by_image and record.rule.resolve in {"exit-maintenance", "enter-maintenance", "reboot-host"}:
            return True  # vLCM's business: nothing happens
        match record.rule.resolve:
            case "impossible":
                return False
            case "exit-maintenance":
                self._service.background(self._exit_maintenance(owner, record), f"exit maintenance of {record.host}")
            case "enter-maintenance":
                self._service.background(self._enter_maintenance(owner, record), f"enter maintenance of {record.host}")
            case "reboot-host":
                self._service.background(self._reboot(owner, record), f"reboot {record.host}")
            case "move-back":
                self._move_back(owner, record)
            case "power-up-host":
                self._service.background(self._power_up(owner, record), f"power up {record.host}")
            case "delete-orphan":
                self._service.background(self._delete_orphan(owner, record), f"delete orphan {record.vm}")
            case "rebuild":
                self._take_away(owner, record, phase=Phase.DISCARD)
            case "continue" | "recheck":
                self._take_away(owner, record)
        return True

    def _take_away(self, agent: EsxAgent, record: IssueRecord, phase: Phase | None = None) -> None:
        """Without its issue the EsxAgent goes on; should the cause persist, a new issue comes."""
        with self._world.commit(USER) as tx:
            tx.set(agent, issues=tuple(item for item in agent.issues if item.key != record.key))
            if phase is not None:
                tx.set(agent, phase=phase)
            if agent.hook:
                tx.set(agent, hook_since=self._world.clock.now())
            agent_event(tx, agent, "issue.resolved", f"{record.type} is being resolved", vm=record.vm)
            self._service.worker.settle(tx, agent)
        self._service.mark(agent)

    async def _exit_maintenance(self, agent: EsxAgent, record: IssueRecord) -> None:
        await self._world.clock.sleep(self._world.service(Timing).eam_resolve)
        if agent.host.in_maintenance:
            await self._attempt(agent, record, host_life.exit_maintenance(self._world, agent.host, user=USER))

    async def _enter_maintenance(self, agent: EsxAgent, record: IssueRecord) -> None:
        """For a VIB; the host leaves maintenance mode again when that is done."""
        await self._world.clock.sleep(self._world.service(Timing).eam_resolve)
        host = agent.host
        if host.in_maintenance or host.entering_maintenance:
            return
        deadline = self._service.switches.maintenance_deadline
        try:
            await host_life.enter_maintenance(self._world, host, deadline=deadline, user=USER)
        except SoapFault:
            self._maintenance_failed(agent)
        else:
            with self._world.commit(USER) as tx:
                tx.set(HostImage.ensure(tx, host), entered_by_eam=True)
        self._service.mark(agent)

    def _maintenance_failed(self, agent: EsxAgent) -> None:
        if self._world.get(agent.moid) is not agent:
            return
        with self._world.commit(USER) as tx:
            kept = tuple(item for item in agent.issues if item.rule.resolve not in {"enter-maintenance", "reboot-host"})
            tx.set(agent, issues=kept)
            self._service.worker.raise_issue(tx, agent, Draft("VibCannotPutHostInMaintenanceMode"))
            self._service.worker.settle(tx, agent)

    async def _reboot(self, agent: EsxAgent, record: IssueRecord) -> None:
        """Into maintenance mode, and boot; what follows is that of a VIB."""
        await self._enter_maintenance(agent, record)
        host, image = agent.host, HostImage.of(self._world, agent.host)
        if not host.in_maintenance or image is None or not image.reboot_required:
            return
        await host_life.boot(self._world, host)
        with self._world.commit(USER) as tx:
            tx.set(image, staged_at=None)
        for other in self._service.agents_on(host):
            self._service.mark(other)

    def _move_back(self, agent: EsxAgent, record: IssueRecord) -> None:
        """Into the folder or the resource pool where EAM wants it."""
        vm, operations = agent.vm, self._service.operations
        folder, pool = operations.folder(agent), operations.pool(agent)
        if vm is not None:
            with self._world.commit(USER) as tx:
                if record.type == "VmWrongFolder" and folder is not None and isinstance(vm.parent, Folder):
                    vm.parent.release(tx, vm)
                    tx.set(folder, children=(*folder.children, vm))
                    tx.set(vm, parent=folder)
                elif record.type == "VmWrongResourcePool" and pool is not None:
                    move_to_pool(tx, vm, pool)
        self._service.mark(agent)

    async def _delete_unknown(self, record: IssueRecord) -> None:
        await self._world.clock.sleep(self._world.service(Timing).eam_resolve)
        await self._service.unknown.delete(record.vm)
        self._service.unknown.settle()

    async def _power_up(self, agent: EsxAgent, record: IssueRecord) -> None:
        await self._world.clock.sleep(self._world.service(Timing).eam_resolve)
        if agent.host.power_state == "standBy":
            await self._attempt(agent, record, host_life.boot(self._world, agent.host))

    async def _delete_orphan(self, agent: EsxAgent, record: IssueRecord) -> None:
        await self._world.clock.sleep(self._world.service(Timing).eam_resolve)
        if record.vm in agent.orphans:
            await self._attempt(agent, record, self._service.operations.delete(agent, record.vm))

    async def _attempt(self, agent: EsxAgent, record: IssueRecord, remedy: Any) -> None:
        """The issue stays until the world shows that the remedy worked; failed, it comes back under a new key."""
        try:
            await remedy
        except SoapFault:
            if any(item.key == record.key for item in agent.issues):
                with self._world.commit(USER) as tx:
                    tx.set(agent, issues=tuple(item for item in agent.issues if item.key != record.key))
                    worker = self._service.worker
                    worker.raise_issue(tx, agent, Draft(record.type, record.fields), vm=record.vm, host=record.host)
        self._service.mark(agent)
