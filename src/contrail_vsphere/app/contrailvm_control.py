"""The ContrailVM Manager behind the control API: its values as the API's documents, its verbs as the API's commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from contrail_vsphere.app import control_schema as schema
from contrail_vsphere.app.certificate_office import CertificateOffice
from contrail_vsphere.app.reign import Reigns
from contrail_vsphere.app.standby import StandbyWatch
from contrail_vsphere.app.uve import uves
from contrail_vsphere.contrailvm.account import Account, PlannedAction
from contrail_vsphere.contrailvm.manager import ContrailVmManager
from contrail_vsphere.contrailvm.plan.disturbance import effect_of
from contrail_vsphere.contrailvm.rollout.status import RolloutStatus
from contrail_vsphere.contrailvm.rollout.upgrades import Upgrades, UpgradeWish
from contrail_vsphere.contrailvm.status import DeploymentStatus, HostStatus
from contrail_vsphere.model.errors import NotReadyYet
from contrail_vsphere.model.ids import HostId
from contrail_vsphere.model.protocols import HostEntry, ReadinessState

P = ParamSpec("P")


def _kept(
    verb: Callable[Concatenate[ContrailVmControl, P], Awaitable[schema.Outcome]],
) -> Callable[Concatenate[ContrailVmControl, P], Coroutine[Any, Any, schema.Outcome]]:
    """A person is answered once his word would survive this process, and only by the one that leads."""

    @wraps(verb)
    async def durable(self: ContrailVmControl, /, *args: P.args, **options: P.kwargs) -> schema.Outcome:
        outcome = await verb(self, *args, **options)
        await self.keep()
        return outcome

    return durable


class ContrailVmControl:
    """A ``ControlTarget``. ``reload_packages`` lets ``apply`` see what other processes published meanwhile.

    While another process leads, status and plan are what this one sees; all else is asked of the one that leads.
    """

    def __init__(
        self,
        reigns: Reigns[ContrailVmManager],
        *,
        reload_packages: Callable[[], None],
        certificates: CertificateOffice,
        renew_extension: Callable[[], Awaitable[bool]],
        vcenter: str,
        now: Callable[[], datetime],
        standby: Callable[[], StandbyWatch | None],
    ) -> None:
        self._standby = standby
        self._vcenter = vcenter
        self._now = now
        self._reigns = reigns
        self._certificates = certificates
        self._renew_extension = renew_extension
        self._reload_packages = reload_packages

    @property
    def _manager(self) -> ContrailVmManager:
        leader = self._leader
        if leader and not self._reigns.leads:
            raise NotReadyYet("this manager stands by", hint=f"ask {leader}, which leads")
        return self._reigns.acting

    @property
    def _leader(self) -> str:
        """Who leads, as far as is known; empty for a manager that is alone."""
        standby = self._standby()
        return standby.leader if standby is not None else ""

    @property
    def _sight(self) -> tuple[Account, str]:
        """What tells the status, and how it stands by; empty where it leads."""
        standby = self._standby()
        if self._reigns.leads or standby is None or standby.reader.manager is None:
            return self._manager, ""
        return standby.reader.manager, f"{standby.leader or 'nobody'} leads, this manager stands by"

    @property
    def _upgrades(self) -> Upgrades:
        return self._manager.operator.upgrades

    async def keep(self) -> None:
        """Return once what was said so far is kept; raises what the journal or the leader raises."""
        await self._manager.leave()

    def not_ready(self) -> tuple[str, ...]:
        """What is missing before the manager does its work."""
        return self._reigns.not_ready()

    def reign(self) -> schema.ReignDocument:
        """Whether this process acts."""
        reigns = self._reigns
        return schema.ReignDocument(
            leads=reigns.leads,
            epoch=reigns.epoch,
            begun=reigns.begun,
            missing=reigns.not_ready(),
            leader="" if reigns.leads else self._leader,
        )

    def hosts(self) -> tuple[HostEntry, ...]:
        """The host directory."""
        return self._manager.hosts()

    async def readiness(self, host: HostId) -> ReadinessState:
        """Ask the host's vRouter now."""
        return await self._manager.readiness(host)

    def status(self) -> schema.StatusDocument:
        """Every deployment and host."""
        account, standby = self._sight
        status = account.status()
        return schema.StatusDocument(
            converged=account.converged(),
            deployments=tuple(_deployment(each) for each in status.deployments),
            rollouts=tuple(_rollout(each) for each in status.rollouts),
            brakes=tuple(schema.BrakeDocument.model_validate(each) for each in account.brakes),
            problems=(*status.problems, *self._certificates.warnings()),
            standby=standby,
        )

    def plan(self) -> schema.PlanDocument:
        """What would be done now, and what is waited for."""
        account, standby = self._sight
        return schema.PlanDocument(actions=tuple(_action(each) for each in account.plan_preview()), standby=standby)

    @_kept
    async def apply(self, application: schema.Application, *, by: str) -> schema.Outcome:
        """Check a deployments file and make it the desired state."""
        self._reload_packages()
        operator = self._manager.operator
        if application.dry_run:
            return schema.Outcome(changes=operator.check_deployments(application.document)[1].lines())
        diff = operator.apply_deployments(application.document, allow_removal=application.allow_removal, by=by)
        return schema.Outcome(changes=diff.lines())

    def uves(self) -> dict[str, Any]:
        """What Contrail analytics would show."""
        problems = self._certificates.warnings()
        return uves(self._manager, name=self._vcenter, now=self._now(), problems=problems)

    def certificates(self) -> schema.CertificatesDocument:
        """Every certificate and when it expires."""
        office = self._certificates
        return schema.CertificatesDocument(
            ca=office.stage,
            certificates=tuple(schema.CertificateDocument.model_validate(each) for each in office.lines()),
        )

    @_kept
    async def rotate_ca(self, step: schema.CaStep, *, by: str) -> schema.Outcome:
        """One step of a rotation of our CA."""
        return schema.Outcome(changes=await self._certificates.step(step.step, force=step.force))

    @_kept
    async def renew_extension(self, *, by: str) -> schema.Outcome:
        """Give our extension in vCenter a new certificate."""
        done = await self._renew_extension()
        return schema.Outcome(changes=("the extension logs in with a new certificate",) if done else ())

    def adoptable(self) -> schema.AdoptableDocument:
        """What waits for a person."""
        manager = self._manager
        return schema.AdoptableDocument(
            detached=manager.detached,
            unclaimed=tuple(each.config.name for each in manager.unclaimed()),
            draft=manager.draft(),
        )

    @_kept
    async def reattach(self, *, by: str) -> schema.Outcome:
        """Make again what went with our extension."""
        return schema.Outcome(changes=await self._manager.reattach())

    @_kept
    async def remove(self, deployment: str, *, by: str) -> schema.Outcome:
        """Take a deployment off its clusters."""
        places = self._manager.operator.remove(deployment)
        return schema.Outcome(changes=tuple(f"{place}: will be removed" for place in places))

    @_kept
    async def upgrade(self, deployment: str, upgrade: schema.Upgrade, *, by: str) -> schema.Outcome:
        """Begin a rolling upgrade, or say what it would do."""
        self._reload_packages()
        wish = UpgradeWish(
            deployment,
            to=upgrade.to,
            size=upgrade.size,
            canary=upgrade.canary,
            concurrency=upgrade.concurrency,
            force=upgrade.force,
        )
        return schema.Outcome(changes=await self._upgrades.upgrade(wish, by=by, dry_run=upgrade.dry_run))

    @_kept
    async def rollback(self, deployment: str, rollback: schema.Rollback, *, by: str) -> schema.Outcome:
        """Go back to what ran before the newest upgrade."""
        return schema.Outcome(changes=self._upgrades.rollback(deployment, by=by, dry_run=rollback.dry_run))

    @_kept
    async def steer_rollout(self, deployment: str, step: schema.RolloutStep, *, by: str) -> schema.Outcome:
        """Pause or resume the rollout, or let the others follow the canaries."""
        if step == "pause":
            return schema.Outcome(changes=self._upgrades.pause(deployment, by=by))
        if step == "resume":
            return schema.Outcome(changes=self._upgrades.resume(deployment))
        return schema.Outcome(changes=self._upgrades.approve(deployment))

    @_kept
    async def pause(self, selection: schema.Selection, *, by: str) -> schema.Outcome:
        """Change nothing there until ``resume``; a deployment's cluster is paused as a whole."""
        changes = self._manager.operator.pause(by=by, deployment=selection.deployment, cluster=selection.cluster)
        return schema.Outcome(changes=changes)

    @_kept
    async def resume(self, selection: schema.Selection, *, by: str) -> schema.Outcome:
        """End a pause."""
        changes = self._manager.operator.resume(deployment=selection.deployment, cluster=selection.cluster)
        return schema.Outcome(changes=changes)

    @_kept
    async def resolve(self, selection: schema.Selection, *, by: str) -> schema.Outcome:
        """Release holds and try again now."""
        changes = self._manager.operator.release(
            deployment=selection.deployment, cluster=selection.cluster, host=selection.host
        )
        return schema.Outcome(changes=changes)

    @_kept
    async def approve(self, approval: schema.Approval, *, by: str) -> schema.Outcome:
        """Allow, once, repairs that cost a maintenance mode or a reboot."""
        changes = self._manager.operator.approve(
            deployment=approval.deployment, cluster=approval.cluster, host=approval.host, issues=approval.issues
        )
        return schema.Outcome(changes=changes)

    @_kept
    async def release_brake(self, name: str, *, by: str, reason: str) -> schema.Outcome:
        """Approve the deletions a brake refused."""
        released = self._manager.operator.release_brake(name, by=by, reason=reason)
        return schema.Outcome(changes=tuple(f"{each}: may be removed" for each in released))


def _deployment(status: DeploymentStatus) -> schema.DeploymentStatus:
    return schema.DeploymentStatus(
        deployment=status.deployment,
        cluster=status.cluster,
        cluster_name=status.cluster_name,
        agency=status.agency or None,
        status=status.colour,
        version=status.wanted_version,
        paused=status.paused,
        units=tuple(_unit(status, each) for each in status.hosts),
        reason="; ".join((*status.alarms, *status.next)),
    )


def _unit(deployment: DeploymentStatus, status: HostStatus) -> schema.UnitStatus:
    return schema.UnitStatus(
        deployment=deployment.deployment,
        cluster=deployment.cluster,
        host=status.host,
        host_name=status.name,
        state=status.state,
        colour=cast("schema.Colour | None", status.colour or None),
        forwards=status.forwards,
        vm=status.vm or None,
        vm_name=status.vm_name,
        version=status.version,
        agent_address=status.address,
        issues=tuple(
            schema.IssueDocument(
                type=each.type, description=each.description, since=datetime.fromtimestamp(each.since, tz=UTC)
            )
            for each in status.issues
        ),
        reason="; ".join(part for part in (status.reason, *status.alarms) if part),
        next=status.next,
        attempts=status.attempts,
    )


def _rollout(status: RolloutStatus) -> schema.RolloutDocument:
    return schema.RolloutDocument(
        deployment=status.deployment,
        number=status.number,
        kind="rollback" if status.kind == "rollback" else "upgrade",
        version=status.version,
        size=status.size,
        before=status.before,
        state=status.state,
        by=status.by,
        reason=status.reason,
        paused=status.paused,
        held_back=status.held_back,
        progress=status.progress,
        done=status.done,
        total=status.total,
        began_at=datetime.fromtimestamp(status.began_at, tz=UTC),
        ended_at=datetime.fromtimestamp(status.ended_at, tz=UTC) if status.ended_at else None,
        hosts=tuple(
            schema.RolloutHostDocument(
                host=each.host,
                name=each.name,
                place=each.place,
                since=datetime.fromtimestamp(each.since, tz=UTC) if each.since else None,
                canary=each.canary,
                note=each.note,
            )
            for each in status.hosts
        ),
    )


def _action(planned: PlannedAction) -> schema.ActionDocument:
    action = planned.action
    return schema.ActionDocument(
        deployment=planned.key.deployment,
        cluster=planned.key.cluster,
        cluster_name=planned.cluster_name,
        host=action.host,
        host_name=planned.host_name,
        action=action.verb,
        reason=action.reason,
        effect=effect_of(action),
        disturbs=planned.disturbs,
        needs_approval=planned.needs_approval,
    )
