"""What the control API says: the documents of ``/v1``, described for its OpenAPI, and who must provide them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from contrail_vsphere.model.protocols import HostDirectory, Readiness, UnitState

Colour = Literal["green", "yellow", "red"]
RolloutStep = Literal["pause", "resume", "approve"]


class Document(BaseModel):
    """Base of all documents."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, from_attributes=True)


class IssueDocument(Document):
    """An issue that EAM raises."""

    type: str
    """Its type on the wire, e.g. ``VmPoweredOff``."""
    description: str = ""
    """EAM's own words."""
    since: datetime | None = None
    """When EAM raised it."""


class UnitStatus(Document):
    """The ContrailVM of one host."""

    deployment: str
    cluster: str
    """Managed object id of the compute resource."""
    host: str
    """Managed object id."""
    host_name: str = ""
    state: UnitState
    colour: Colour | None = None
    """The EsxAgent's status as EAM shows it; none without an EsxAgent."""
    forwards: bool = False
    """Its VRouterAgent has a controller Established."""
    vm: str | None = None
    """Managed object id of the ContrailVM."""
    vm_name: str = ""
    version: str = ""
    """Package version that runs."""
    agent_address: str = ""
    """Where its VRouterAgent answers."""
    issues: tuple[IssueDocument, ...] = ()
    reason: str = ""
    """Why it is in this state."""
    next: str = ""
    """What will be done about it, or why nothing is."""
    attempts: int = 0
    """Repairs tried so far, in a row."""


class DeploymentStatus(Document):
    """One deployment on one cluster: an agency."""

    deployment: str
    cluster: str
    cluster_name: str = ""
    agency: str | None = None
    """EAM's id of the agency; none before it is made."""
    status: Colour | None = None
    """EAM's colour of the agency."""
    version: str = ""
    """Package version that is wanted."""
    paused: bool = False
    units: tuple[UnitStatus, ...] = ()
    reason: str = ""
    """What keeps the whole agency from being as it should be."""


class HealthDocument(Document):
    """What works and what does not, for one key of one part of the manager."""

    source: str
    key: str
    state: Literal["ok", "waiting", "failing", "refused", "broken"]
    since: datetime
    reason: str = ""
    hint: str = ""
    attempts: int = 0
    next_try: datetime | None = None
    last_success: datetime | None = None


class BrakeDocument(Document):
    """A deletion brake."""

    name: str
    engaged: bool
    since: datetime | None = None
    refused: tuple[str, ...] = ()
    """What waits for the release."""
    reason: str = ""


class RolloutHostDocument(Document):
    """A host's place in a rollout."""

    host: str
    name: str
    place: Literal["away", "done", "in turn", "made", "before"]
    """``made``: its new ContrailVM stands beside the old one, which forwards; ``before``: it is still to be made."""
    since: datetime | None = None
    """When its turn began, or it passed."""
    canary: bool = False
    note: str = ""
    """Why it has no turn."""


class RolloutDocument(Document):
    """The newest rollout of a deployment."""

    deployment: str
    number: int
    kind: Literal["upgrade", "rollback"]
    version: str
    """Where it leads."""
    size: str = ""
    before: tuple[str, ...] = ()
    """What ran before it."""
    state: Literal["running", "stopped", "done"]
    by: str = ""
    """Who asked for it; ``manager`` for an automatic rollback."""
    reason: str = ""
    """Why it was stopped, or what it rolls back."""
    paused: str = ""
    """Who paused it; empty: it is not paused."""
    held_back: str = ""
    """Why nobody may begin now."""
    progress: str = ""
    done: int = 0
    total: int = 0
    began_at: datetime
    ended_at: datetime | None = None
    hosts: tuple[RolloutHostDocument, ...] = ()
    """In the order of their turns; none once it is over."""


class StatusDocument(Document):
    """Everything ``contrailvm status`` shows."""

    converged: bool
    """Nothing is left to do."""
    deployments: tuple[DeploymentStatus, ...] = ()
    rollouts: tuple[RolloutDocument, ...] = ()
    brakes: tuple[BrakeDocument, ...] = ()
    problems: tuple[str, ...] = ()
    """What concerns no single deployment: vCenter away, EAM not answering, registration missing."""
    standby: str = ""
    """Who leads, where the process that was asked stands by and tells what it sees; empty where it leads."""


class ActionDocument(Document):
    """One step of the plan."""

    deployment: str
    cluster: str
    cluster_name: str = ""
    host: str | None = None
    """None: the whole agency."""
    host_name: str = ""
    action: str
    """What will be done, e.g. ``resolve``."""
    reason: str
    effect: str = "none"
    """What it costs the host: none, power, redeploy, removal, maintenance, reboot."""
    disturbs: str = ""
    """Whom it would disturb, in words; empty where nothing is done."""
    needs_approval: bool = False


class PlanDocument(Document):
    """What the manager would do now."""

    actions: tuple[ActionDocument, ...] = ()
    standby: str = ""
    """As in the status; the plan is what the leader would do, by what the process that was asked sees."""


class HostDocument(Document):
    """One line of the host directory."""

    host: str
    name: str
    vm: str | None = None
    instance_uuid: str = ""
    version: str = ""
    agent_address: str = ""
    state: UnitState = "absent"


class ReadinessDocument(Document):
    """Readiness of a host's vRouter."""

    forwards: bool
    """Its VRouterAgent has an Established XMPP session with a controller."""
    synced: bool
    """Every port owed to the host is plugged; true where no plugin runs."""
    reason: str = ""


class ReignDocument(Document):
    """Whether this process acts, or stands by for another one."""

    leads: bool
    epoch: int
    """Number of the present reign, or of the last one of this process."""
    begun: int
    """Reigns of this process so far."""
    missing: tuple[str, ...] = ()
    leader: str = ""
    """Name of the process that led last, where it is not this one and is known."""


class CertificateDocument(Document):
    """One certificate."""

    name: str
    """publish, bootstrap, control, extension, ca or vcenter."""
    expires: datetime
    sha256: str
    thumbprint: str
    """SHA-1 with colons, as vSphere shows it."""
    advice: str = ""
    """What to do, where it expires soon."""


class CertificatesDocument(Document):
    """Every certificate of the manager, and vCenter's."""

    ca: Literal["steady", "prepared", "activated"]
    """How far a rotation of our CA is."""
    certificates: tuple[CertificateDocument, ...] = ()


class CaStep(Document):
    """One step of a rotation of our CA."""

    step: Literal["prepare", "activate", "retire"]
    force: bool = False
    """Retire the CA of before although ContrailVMs have certificates of it: they are cut off."""


class AdoptableDocument(Document):
    """What waits for a person to take it over."""

    detached: str = ""
    """Why nothing is made any more: somebody unregistered our extension. Empty while it stands."""
    unclaimed: tuple[str, ...] = ()
    """Agencies with our mark that no deployment names."""
    draft: str = ""
    """A deployments file (TOML) for them, as they are."""


class Selection(Document):
    """Whom a command concerns; empty parts select all."""

    deployment: str = ""
    cluster: str = ""
    """Name or managed object id."""
    host: str = ""
    """Name or managed object id."""


class Approval(Selection):
    """Approves repairs that put a host into maintenance mode or reboot it."""

    issues: tuple[str, ...] = ()
    """Issue types; none: every present one."""


class Application(Document):
    """A deployments file to apply."""

    document: str
    """The TOML text."""
    dry_run: bool = False
    """Only check it and answer what would change."""
    allow_removal: bool = False
    """Clusters that the file no longer names lose their ContrailVMs; else such a file is refused."""


class Upgrade(Document):
    """Replaces a deployment's ContrailVMs by others; what is left out stays as the deployment has it."""

    to: str = ""
    """Version of a published package, or the beginning of its digest."""
    size: str | None = None
    canary: int | None = Field(default=None, ge=0, le=1000)
    """So many hosts go first."""
    concurrency: int | None = Field(default=None, ge=1, le=1000)
    """So many hosts at a time."""
    force: bool = False
    """Although the pre-checks find something."""
    dry_run: bool = False
    """Only check, and answer what would be done and what speaks against it."""


class Rollback(Document):
    """Takes a deployment back to what ran before its newest upgrade."""

    dry_run: bool = False
    """Only answer what would be done."""


class Removal(Document):
    """Takes a deployment off its clusters, with all its ContrailVMs."""

    confirm: str
    """The deployment's name once more."""


class Release(Document):
    """Releases a deletion brake."""

    reason: str = ""
    """Why the deletions are meant; kept in the journal."""


class Outcome(Document):
    """What a command did."""

    changes: tuple[str, ...] = ()
    """One line each; none when there was nothing to do."""


class ErrorDocument(Document):
    """Why a request failed."""

    error: str
    hint: str = ""


class ControlTarget(HostDirectory, Readiness, Protocol):
    """What the control API needs of the ContrailVM Manager. ``by`` is the caller's name, for log and journal.

    Errors of the product's tree become HTTP statuses: unknown names ``NotFound``, wrong input ``UsageError``.
    """

    def not_ready(self) -> tuple[str, ...]:
        """What is missing before the manager does its work; empty when it does."""
        ...

    def reign(self) -> ReignDocument:
        """Whether this process acts."""
        ...

    def uves(self) -> dict[str, Any]:
        """From the caches; no outside call."""
        ...

    def certificates(self) -> CertificatesDocument:
        """From what is loaded; no outside call."""
        ...

    async def rotate_ca(self, step: CaStep, *, by: str) -> Outcome:
        """One step of a rotation of our CA."""
        ...

    async def renew_extension(self, *, by: str) -> Outcome:
        """Give our extension in vCenter a new certificate."""
        ...

    def adoptable(self) -> AdoptableDocument:
        """From the caches; no outside call."""
        ...

    async def reattach(self, *, by: str) -> Outcome:
        """Make again what went with our extension."""
        ...

    def status(self) -> StatusDocument:
        """From the caches; no outside call."""
        ...

    def plan(self) -> PlanDocument:
        """From the caches; no outside call."""
        ...

    async def apply(self, application: Application, *, by: str) -> Outcome:
        """Check the deployments file and make it the desired state."""
        ...

    async def remove(self, deployment: str, *, by: str) -> Outcome:
        """Take a deployment off its clusters."""
        ...

    async def upgrade(self, deployment: str, upgrade: Upgrade, *, by: str) -> Outcome:
        """Begin a rolling upgrade, or say what it would do."""
        ...

    async def rollback(self, deployment: str, rollback: Rollback, *, by: str) -> Outcome:
        """Go back to what ran before the newest upgrade."""
        ...

    async def steer_rollout(self, deployment: str, step: RolloutStep, *, by: str) -> Outcome:
        """Pause or resume the rollout, or let the others follow the canaries."""
        ...

    async def pause(self, selection: Selection, *, by: str) -> Outcome:
        """Change nothing there until ``resume``."""
        ...

    async def resume(self, selection: Selection, *, by: str) -> Outcome:
        """End a pause."""
        ...

    async def resolve(self, selection: Selection, *, by: str) -> Outcome:
        """Release holds and try again now."""
        ...

    async def approve(self, approval: Approval, *, by: str) -> Outcome:
        """Allow repairs that cost a maintenance mode or a reboot, once."""
        ...

    async def release_brake(self, name: str, *, by: str, reason: str) -> Outcome:
        """Approve the deletions a brake refused."""
        ...
