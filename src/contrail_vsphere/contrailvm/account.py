"""What a manager can tell: every deployment and host, what it would do, whom guests and Contrail are to know.

From the caches and the notebook alone, without a question to the outside worlds. So a process that stands by, and acts
on nothing, tells the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from contrail_vsphere.contrailvm.adoption import draft
from contrail_vsphere.contrailvm.attachment import Attachment
from contrail_vsphere.contrailvm.backends import Caches
from contrail_vsphere.contrailvm.controller import ContrailVmController
from contrail_vsphere.contrailvm.desired import Key, key_of_agency
from contrail_vsphere.contrailvm.notebook import Notebook
from contrail_vsphere.contrailvm.notices.health import health_of
from contrail_vsphere.contrailvm.notices.health_document import HealthNode
from contrail_vsphere.contrailvm.observed import LiveInventory
from contrail_vsphere.contrailvm.plan.actions import Action, Alarm, changes_world
from contrail_vsphere.contrailvm.plan.disturbance import disturbance, tenants_by_host
from contrail_vsphere.contrailvm.plan.policy import policy_for
from contrail_vsphere.contrailvm.publish.shelf import Shelf
from contrail_vsphere.contrailvm.readings import Readings
from contrail_vsphere.contrailvm.rollout.status import RolloutStatus, rollout_record, rollout_status
from contrail_vsphere.contrailvm.rollout.turns import Rollout
from contrail_vsphere.contrailvm.status import DeploymentStatus, ManagerStatus, deployment_status, host_status
from contrail_vsphere.engine.brake import BrakeState, DeletionBrake
from contrail_vsphere.model.eam import Agency
from contrail_vsphere.model.ids import HostId
from contrail_vsphere.model.protocols import HostEntry


@dataclass(frozen=True, slots=True)
class PlannedAction:
    """A line of ``contrailvm plan``."""

    key: Key
    action: Action
    needs_approval: bool = False
    cluster_name: str = ""
    """Empty where nothing is desired there any more."""
    host_name: str = ""
    """Empty where the action concerns no host, or one that is gone."""
    disturbs: str = ""
    """Whom doing it would disturb, in words; empty where nothing is done."""


class Account:
    """The half of a manager that only tells. Its parts are made by whoever acts on them."""

    solution_id: str
    attachment: Attachment
    notebook: Notebook
    readings: Readings
    brake: DeletionBrake
    controller: ContrailVmController
    _inventory: LiveInventory
    _agencies: Caches
    _shelf: Shelf
    _now: Callable[[], datetime]
    _whole_reads_before: int
    """Reads of all agencies that were done before we began to look; they do not count."""

    def epoch(self) -> float:
        """Now, in seconds since the epoch."""
        return self._now().timestamp()

    @property
    def detached(self) -> str:
        """Why nothing may be made any more; empty while our extension stands."""
        return self.attachment.detached

    def blind(self) -> str:
        """Why nothing can be judged now; empty when all is in view."""
        if self.detached:
            return self.detached
        if not self._inventory.healthy:
            trouble = self._inventory.trouble
            return f"vCenter is out of view: {trouble}" if trouble else "the inventory of vCenter is being read"
        if self._agencies.healthy and self._agencies.whole_reads > self._whole_reads_before:
            return ""
        error = self._agencies.error
        return f"EAM does not answer: {error}" if error else "the agencies of EAM are being read"

    def at_rest(self) -> bool:
        """EAM works on no EsxAgent of ours, so that it fetches nothing."""
        agents = [agent for each in self.readings.by_id.values() for agent in each.agency.agents]
        return not self.blind() and not any(each.status == "yellow" or each.hook is not None for each in agents)

    def keys(self) -> tuple[Key, ...]:
        """All keys that are desired, or that an agency of ours stands for."""
        found = {key_of_agency(self.solution_id, each.agency.config.name) for each in self.readings.by_id.values()}
        return tuple(sorted({*self.notebook.desired, *(key for key in found if key is not None)}))

    def status(self) -> ManagerStatus:
        """Everything ``contrailvm status`` shows; from the caches."""
        deployments: list[DeploymentStatus] = []
        problems = [each for each in (self.blind(), self._agencies.trouble, self._shelf.warning) if each]
        for key in self.keys():
            desired, observed, actions = self.controller.preview(key)
            if desired is None:
                problems += [action.reason for action in actions if isinstance(action, Alarm)]
            else:
                deployments.append(deployment_status(desired, observed, actions))
        if self.brake.state.engaged:
            problems.append(f"deletion brake {self.brake.name}: {self.brake.state.reason}")
        return ManagerStatus(
            extension=self.solution_id,
            deployments=tuple(deployments),
            rollouts=tuple(self._rollout_line(each) for _, each in sorted(self.notebook.rollouts.items())),
            problems=tuple(problems),
            counters={"jobs": self.controller.jobs_done, "passes": self.controller.engine.counters.passes},
        )

    def _rollout_line(self, rollout: Rollout) -> RolloutStatus:
        view = self.controller.rollout_view(rollout.deployment)
        return rollout_status(view) if view is not None else rollout_record(rollout)

    def plan_preview(self) -> tuple[PlannedAction, ...]:
        """What would be done now, and what is waited for; nothing is done (``contrailvm plan``)."""
        tenants = tenants_by_host(self._inventory.vms.values())
        planned = []
        for key in self.keys():
            desired, observed, actions = self.controller.preview(key)
            planned += [
                PlannedAction(
                    key,
                    action,
                    needs_approval=_needs_approval(action),
                    cluster_name=desired.cluster_name if desired is not None else "",
                    host_name=self.controller.name_of(action.host),
                    disturbs=disturbance(action, observed, tenants),
                )
                for action in actions
            ]
        return tuple(planned)

    def converged(self) -> bool:
        """Nothing is left to do and every host that is not in maintenance is served."""
        return (
            not self.blind()
            and self.status().converged
            and not any(changes_world(each) for key in self.keys() for each in self.controller.preview(key)[2])
        )

    @property
    def brakes(self) -> tuple[BrakeState, ...]:
        """The deletion brakes."""
        return (self.brake.state,)

    def hosts(self) -> tuple[HostEntry, ...]:
        """The HostDirectory: every host of every deployment."""
        entries: dict[HostId, HostEntry] = {}
        for key, desired in self.notebook.desired.items():
            observed = self.controller.observe(key)
            for view in observed.hosts:
                line = host_status(desired, observed, view, ())
                entries[view.host.id] = HostEntry(
                    host=view.host.id,
                    name=view.host.name,
                    vm=view.vm.id if view.vm else None,
                    instance_uuid=line.instance_uuid,
                    version=line.version,
                    agent_address=line.address,
                    state=line.state,
                )
        return tuple(sorted(entries.values(), key=lambda each: (each.name, each.host)))

    def vrouters(self) -> dict[str, str]:
        """Name and address of every vRouter that serves, as Contrail is to know them."""
        found = {}
        for key, desired in self.notebook.desired.items():
            observed = self.controller.observe(key)
            for view in observed.hosts:
                line = host_status(desired, observed, view, ())
                if line.state == "healthy" and line.address:
                    found[view.record.vrouter_name or view.host.name] = line.address
        return found

    def vrouter_names(self) -> frozenset[str]:
        """What the vRouters of all hosts in scope are called, whether they serve or not."""
        return frozenset(
            view.record.vrouter_name or view.host.name
            for key in self.notebook.desired
            for view in self.controller.observe(key).hosts
        )

    def enrolled_before(self, authority: str) -> tuple[str, ...]:
        """Hosts whose ContrailVM has a certificate of another CA than the one with that fingerprint."""
        return tuple(
            sorted(
                self.controller.name_of(host) or str(host)
                for key in self.notebook.desired
                for host, record in self.notebook.memory(key).hosts.items()
                if record.enrolled is not None and record.authority != authority
                if self.readings.host_of.get(record.enrolled) == host
            )
        )

    def certificates_of_guests(self, *, before: datetime) -> dict[str, str]:
        """ContrailVMs whose certificate expires before that, and what to do: theirs is renewed long before."""
        found = {}
        for key in self.notebook.desired:
            for host, record in self.notebook.memory(key).hosts.items():
                if record.enrolled is None or not 0 < record.certified_until < before.timestamp():
                    continue
                name = f"of the ContrailVM on {self.controller.name_of(host) or host}"
                days = int((record.certified_until - self.epoch()) / 86400)
                found[name] = (
                    f"expires in {days} days and is not renewed; see contrailvm-renew.service in the guest"
                    if days >= 0
                    else f"has expired {-days} days ago; power the ContrailVM off: it gets another as it comes up again"
                )
        return found

    def unclaimed(self) -> tuple[Agency, ...]:
        """Agencies with our mark that no deployment names."""
        found = (each.agency for each in self.readings.by_id.values())
        keyed = ((key_of_agency(self.solution_id, each.config.name), each) for each in found)
        return tuple(each for key, each in keyed if key is not None and key not in self.notebook.desired)

    def draft(self) -> str:
        """A deployments file for what is unclaimed, as it is."""
        packages = self._shelf.by_url()
        return draft(
            self.unclaimed(),
            solution_id=self.solution_id,
            inventory=self._inventory,
            version_at={url: each.version for url, each in packages.items()},
            roles_at={url: tuple(role for role, _ in each.nic_roles) for url, each in packages.items()},
        )

    def health(self) -> HealthNode:
        """The health document's tree: each deployment and cluster, and EAM apart."""
        return health_of(self.status(), agencies=self._agencies, alarms=self.controller.alarms, time=self._now())


def _needs_approval(action: Action) -> bool:
    kind = action.cause.removeprefix("issue.") if isinstance(action, Alarm) else ""
    return bool(kind) and policy_for(kind).handling == "approve"
