"""The ContrailVM Manager as the control API sees it: its values as documents, the API's verbs as its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from contrail_vsphere.app import control_schema as schema
from contrail_vsphere.contrailvm.deployments import Diff
from contrail_vsphere.contrailvm.desired import Key
from contrail_vsphere.contrailvm.manager import ContrailVmManager
from contrail_vsphere.contrailvm.status import DeploymentStatus, HostStatus
from contrail_vsphere.model.ids import HostId
from contrail_vsphere.model.protocols import HostEntry, ReadinessState


class ContrailVmTarget:
    """Implements ``ControlTarget``. ``before_apply`` lets packages published by other processes be seen."""

    def __init__(self, manager: ContrailVmManager, *, before_apply: Callable[[], None]) -> None:
        self._manager = manager
        self._before_apply = before_apply

    def not_ready(self) -> tuple[str, ...]:
        """What keeps the manager from judging."""
        blind = self._manager.blind()
        return (blind,) if blind else ()

    def status(self) -> schema.StatusDocument:
        """Deployments, hosts, brakes, problems."""
        status = self._manager.status()
        return schema.StatusDocument(
            converged=self._manager.converged(),
            deployments=tuple(_deployment(each) for each in status.deployments),
            brakes=tuple(
                schema.BrakeDocument(
                    name=each.name, engaged=each.engaged, since=each.since, refused=each.refused, reason=each.reason
                )
                for each in self._manager.brakes
            ),
            problems=status.problems,
        )

    def plan(self) -> schema.PlanDocument:
        """What would be done now."""
        return schema.PlanDocument(
            actions=tuple(
                schema.ActionDocument(
                    deployment=each.key.deployment,
                    cluster=each.key.cluster,
                    host=each.action.host,
                    action=each.action.verb,
                    reason=each.action.reason,
                    effect=each.action.effect,
                    needs_approval=each.needs_approval,
                )
                for each in self._manager.plan_preview()
            )
        )

    def hosts(self) -> tuple[HostEntry, ...]:
        """The host directory."""
        return self._manager.hosts()

    async def readiness(self, host: HostId) -> ReadinessState:
        """Ask the host's vRouter now."""
        return await self._manager.readiness(host)

    async def apply(self, application: schema.Application, *, by: str) -> schema.Outcome:
        """Check the file and, unless it is a dry run, make it the desired state."""
        self._before_apply()
        operator = self._manager.operator
        if application.dry_run:
            return schema.Outcome(changes=diff_lines(operator.check_deployments(application.document)[1]))
        return schema.Outcome(changes=diff_lines(operator.apply_deployments(application.document)))

    async def remove(self, deployment: str, *, by: str) -> schema.Outcome:
        """Take a deployment off its clusters."""
        return schema.Outcome(changes=_each("will be removed", self._manager.operator.remove(deployment)))

    async def pause(self, selection: schema.Selection, *, by: str) -> schema.Outcome:
        """Change nothing there until ``resume``."""
        told = self._manager.operator.pause(by=by, deployment=selection.deployment, cluster=selection.cluster)
        return schema.Outcome(changes=told)

    async def resume(self, selection: schema.Selection, *, by: str) -> schema.Outcome:
        """End a pause."""
        told = self._manager.operator.resume(deployment=selection.deployment, cluster=selection.cluster)
        return schema.Outcome(changes=told)

    async def resolve(self, selection: schema.Selection, *, by: str) -> schema.Outcome:
        """Release holds and try again now."""
        return schema.Outcome(changes=self._manager.operator.release(**selection.model_dump()))

    async def approve(self, approval: schema.Approval, *, by: str) -> schema.Outcome:
        """Allow repairs that cost a maintenance mode or a reboot, once."""
        return schema.Outcome(changes=self._manager.operator.approve(**approval.model_dump()))

    async def release_brake(self, name: str, *, by: str, reason: str) -> schema.Outcome:
        """Approve the deletions a brake refused."""
        return schema.Outcome(changes=self._manager.operator.release_brake(name, by=by, reason=reason))


def diff_lines(diff: Diff) -> tuple[str, ...]:
    """What applying a deployments file changes, a line each."""
    changed = tuple(f"{key}: {', '.join(fields)} changed" for key, fields in diff.changed)
    return (*_each("added", diff.added), *changed, *_each("removed", diff.removed))


def _each(what: str, keys: Sequence[Key]) -> tuple[str, ...]:
    return tuple(f"{key}: {what}" for key in keys)


def _deployment(each: DeploymentStatus) -> schema.DeploymentStatus:
    return schema.DeploymentStatus(
        deployment=each.deployment,
        cluster=each.cluster,
        cluster_name=each.cluster_name,
        agency=each.agency or None,
        status=cast(Any, each.colour or None),
        version=each.wanted_version,
        paused=each.paused,
        units=tuple(_unit(each, host) for host in each.hosts),
        reason="; ".join((*each.alarms, *each.next)),
    )


def _unit(deployment: DeploymentStatus, host: HostStatus) -> schema.UnitStatus:
    return schema.UnitStatus(
        deployment=deployment.deployment,
        cluster=deployment.cluster,
        host=host.host,
        host_name=host.name,
        state=host.state,
        colour=cast(Any, host.colour or None),
        forwards=host.forwards,
        vm=host.vm or None,
        vm_name=host.vm_name,
        version=host.version,
        agent_address=host.address,
        issues=tuple(
            schema.IssueDocument(
                type=issue.type, description=issue.description, since=datetime.fromtimestamp(issue.since, UTC)
            )
            for issue in host.issues
        ),
        reason="; ".join((*((host.reason,) if host.reason else ()), *host.alarms)),
        next=host.next,
        attempts=host.attempts,
    )
