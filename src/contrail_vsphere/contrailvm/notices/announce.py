"""Our own events in vCenter: what was repaired and who had broken it, what is on hold, alarms that come and go.

They stand beside the user's own event on the host and the ContrailVM, where an administrator of vCenter looks, and are
of the types that our extension registers. Telling never stands in the way of doing: an event that cannot be posted is
logged and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from contrail_vsphere.contrailvm.deeds import Deed, Deeds
from contrail_vsphere.contrailvm.desired import Key
from contrail_vsphere.contrailvm.doors import VCenterDoor
from contrail_vsphere.contrailvm.observed import InventoryView
from contrail_vsphere.contrailvm.plan.actions import (
    Action,
    Hold,
    PowerOffContrailVm,
    ReconfigureVm,
    Resolve,
    RestartContrailVm,
)
from contrail_vsphere.contrailvm.records import ToldAlarm
from contrail_vsphere.contrailvm.registration import WARNINGS
from contrail_vsphere.contrailvm.rollout.turns import Rollout
from contrail_vsphere.model.ids import HostId, VmId
from contrail_vsphere.vsphere.own_events import EventPoster, own_event

Kind = Literal[
    "repaired", "held", "degraded", "healthy", "rolloutBegan", "rolloutStopped", "rolledBack", "rolloutEnded"
]
"""Last part of the event's type; the first is our extension's key (``registration.EVENTS``)."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What an event says, for other listeners than vCenter; names as people know them, empty where there is none."""

    kind: Kind
    severity: Literal["info", "warning"]
    at: datetime
    message: str
    deployment: str = ""
    cluster: str = ""
    host: str = ""
    vm: str = ""
    user: str = ""
    """Who did what is repaired."""


class Announcer:
    """Posts events; ``host_vm`` gives the ContrailVM that EAM has on a host, ``now`` aware UTC times."""

    def __init__(
        self,
        vcenter: VCenterDoor,
        *,
        solution_id: str,
        inventory: InventoryView,
        deeds: Deeds,
        host_vm: Callable[[Key, HostId], VmId | None],
        now: Callable[[], datetime],
    ) -> None:
        self._poster = EventPoster(vcenter.call)
        self._solution_id = solution_id
        self._inventory = inventory
        self._deeds = deeds
        self._host_vm = host_vm
        self._now = now
        self.listeners: list[Callable[[Notice], None]] = []
        """Told the same as vCenter."""

    def done(self, key: Key, action: Action) -> None:
        """An action was done; repairs and holds are told, the rest is not."""
        match action:
            case Resolve():
                deed = self._deeds.take(action.host, "gone") if action.disturbs in ("power", "redeploy") else None
                self._tell(key, "repaired", action.host, action.reason, deed=deed)
            case ReconfigureVm(hook=None):
                self._tell(key, "repaired", action.host, action.reason, deed=self._deeds.take(action.host, "changed"))
            case RestartContrailVm():
                self._tell(key, "repaired", action.host, f"the ContrailVM was restarted: {action.reason}")
            case PowerOffContrailVm():
                deed = self._deeds.take(action.host, "started", vm=action.vm)
                self._tell(key, "repaired", action.host, f"powered off again: {action.reason}", deed=deed)
            case Hold():
                deed = self._deeds.take(action.host, "gone")
                self._tell(key, "held", action.host, f"no more is done until a person says so: {action.reason}", deed)
            case _:
                pass

    def alarm(self, key: Key, alarm: ToldAlarm, raised: bool) -> None:
        """An alarm was raised, or is over."""
        if raised:
            self._tell(key, "degraded", alarm.host, alarm.reason)
        else:
            self._tell(key, "healthy", alarm.host, f"no longer so: {alarm.reason}")

    def rollout(self, rollout: Rollout) -> None:
        """A rollout began, was stopped, or is over; told on one of its clusters."""
        if not rollout.before:
            return
        key = Key.parse(rollout.before[0][0])
        why = f": {rollout.reason}" if rollout.reason else ""
        what = f"{rollout.kind} of {rollout.deployment} to {rollout.goal}"
        if rollout.state == "running":
            kind: Kind = "rolledBack" if rollout.kind == "rollback" else "rolloutBegan"
            self._tell(key, kind, None, f"{what} by {rollout.by}{why}")
        elif rollout.state == "stopped":
            self._tell(key, "rolloutStopped", None, f"{what}{why}")
        else:
            self._tell(key, "rolloutEnded", None, f"{what} is over; {len(rollout.passed)} hosts went through its gate")

    async def stop(self) -> None:
        """What was not told by now is not told."""
        await self._poster.stop()

    # -- inside -------------------------------------------------------------------------------------------------

    def _tell(self, key: Key, kind: Kind, host: HostId | None, reason: str, deed: Deed | None = None) -> None:
        event = self._event(key, kind, host, reason=reason, deed=deed)
        notice = self._notice(key, kind, event, user=deed.user if deed else "")
        for listener in self.listeners:
            listener(notice)
        self._poster.post(event)

    def _notice(self, key: Key, kind: Kind, event: Any, *, user: str) -> Notice:
        return Notice(
            kind=kind,
            severity="warning" if kind in WARNINGS else "info",
            at=event.createdTime,
            message=event.message,
            deployment=key.deployment if event.computeResource else "",
            cluster=event.computeResource.name if event.computeResource else "",
            host=event.host.name if event.host else "",
            vm=event.vm.name if event.vm else "",
            user=user,
        )

    def _event(self, key: Key, kind: Kind, host_id: HostId | None, *, reason: str, deed: Deed | None) -> Any:
        host = self._inventory.hosts.get(host_id) if host_id is not None else None
        cluster = self._inventory.clusters.get(key.cluster)
        vm_id = self._host_vm(key, host_id) if host_id is not None else None
        vm = self._inventory.vms.get(vm_id) if vm_id is not None else None
        place = host.name if host else cluster.name if cluster else key.cluster
        name = deed.vm_name if deed else vm.name if vm else "ContrailVM"
        cause = f"{name} on {place} was {deed.what} by {deed.user}; " if deed else f"{name} on {place}: "
        message = cause + reason if host or cluster else f"ContrailVM Manager: {reason}"
        arguments = {"deployment": key.deployment, "reason": reason}
        arguments |= {"user": deed.user, "did": deed.what} if deed else {}
        return own_event(
            f"{self._solution_id}.{kind}",
            message,
            severity="warning" if kind in WARNINGS else "info",
            at=self._now(),
            arguments=arguments,
            cluster=cluster,
            host=host,
            vm=vm,
        )
