"""What we must remember beyond what vCenter and EAM hold: attempts, holds, hooks already worked, approvals.

Small, immutable, journaled before the action they speak of. All times are seconds since the epoch (UTC).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from contrail_vsphere.contrailvm.desired import Build
from contrail_vsphere.model.eam import Backend, HookState
from contrail_vsphere.model.ids import DvsId, HostId, VmId

AttemptKind = Literal["resolve", "restart", "reconfigure", "settings", "power-off"]

REMEMBERED = 24 * 3600.0
"""How long attempts are kept."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Something was tried for a host; ``what`` is the issue type or what was changed."""

    kind: AttemptKind
    what: str
    at: float
    open: bool = False
    """Its end is not known: it is under way, or the manager died in it, for which the ContrailVM is not to blame."""


@dataclass(frozen=True, slots=True)
class HoldRecord:
    """Nothing more is done for the host until a person releases it."""

    reason: str
    since: float


@dataclass(frozen=True, slots=True)
class HookWork:
    """A hook's work was done (``prepared``) or the hook was released (``released``) for that VM."""

    vm: VmId
    hook: HookState
    at: float


@dataclass(frozen=True, slots=True)
class BuiltFrom:
    """Of which package, and in which size, a VM was deployed."""

    vm: VmId
    version: str
    digest: str = ""
    size: str = ""
    snapshots: tuple[str, ...] = ()
    """Those it had before it was first powered on: EAM's own, from which it clones others."""
    settings: str = ""
    """Of what it was told when it last booted (``Build.settings``)."""


@dataclass(frozen=True, slots=True)
class HostRecord:
    """Memory of one host within one key."""

    attempts: tuple[Attempt, ...] = ()
    hold: HoldRecord | None = None
    prepared: HookWork | None = None
    released: HookWork | None = None
    built: tuple[BuiltFrom, ...] = ()
    """The newest VMs; two while one replaces the other."""
    enrolled: VmId | None = None
    """The VM that redeemed its bootstrap token: it has a client certificate and needs no token to restart."""
    enrolled_key: str = ""
    """SHA-256 of the public key that was certified then."""
    next_key: str = ""
    """Of the key that a renewal certified; it takes the place of ``enrolled_key`` once it is used."""
    next_authority: str = ""
    """Fingerprint of the CA that certified that."""
    intruder: str = ""
    """What somebody did who showed this host's token and was not its ContrailVM; until a person has taken note."""
    certified_until: float = 0.0
    """When the newest certificate expires; 0 where that was not noted."""
    vrouter_name: str = ""
    """What the host's vRouter is called in Contrail since its first enrolment, whatever becomes of VM and host name."""
    authority: str = ""
    """Fingerprint of the CA that certified it."""
    asked_at: float = 0.0
    """When a person last asked for another try; 0 for never."""
    approved: tuple[str, ...] = ()
    """Issue types whose Resolve, with its maintenance or reboot, a person approved; spent by the next Resolve."""

    def tried(self, *kinds: AttemptKind, since: float, what: str = "") -> tuple[Attempt, ...]:
        """Attempts of these kinds after ``since``, oldest first; of any kind when none is named."""
        return tuple(
            each
            for each in self.attempts
            if each.at > since and (not kinds or each.kind in kinds) and (not what or each.what == what)
        )

    def counted(self, *kinds: AttemptKind, since: float, what: str = "") -> tuple[Attempt, ...]:
        """Of those ``tried``, the ones that came to an end: only they may put a ContrailVM on hold."""
        return tuple(each for each in self.tried(*kinds, since=since, what=what) if not each.open)

    def version_of(self, vm: VmId) -> str | None:
        """The package that VM was deployed from; None when that was not noted."""
        built = self.build_of(vm)
        return built.version if built is not None else None

    def build_of(self, vm: VmId) -> BuiltFrom | None:
        """What that VM was built from; None when that was not noted."""
        return next((each for each in self.built if each.vm == vm), None)

    def with_built(self, vm: VmId, build: Build, *, snapshots: tuple[str, ...] = ()) -> HostRecord:
        """With one more VM noted, old ones forgotten."""
        kept = tuple(each for each in self.built if each.vm != vm)
        noted = BuiltFrom(vm, build.package.version, build.package.digest, build.size, snapshots, build.settings)
        return replace(self, built=(*kept[-1:], noted))

    def with_settings(self, vm: VmId, settings: str) -> HostRecord:
        """That VM boots anew and is told these; nothing changes where it was not noted what it was made from."""
        return replace(
            self, built=tuple(replace(each, settings=settings) if each.vm == vm else each for each in self.built)
        )

    def ended(self, attempt: Attempt) -> HostRecord:
        """With that attempt at its end."""
        done = replace(attempt, open=False)
        return replace(self, attempts=tuple(done if each == attempt else each for each in self.attempts))

    def with_attempt(self, attempt: Attempt) -> HostRecord:
        """With one more attempt, old ones forgotten."""
        kept = tuple(each for each in self.attempts if each.at > attempt.at - REMEMBERED)
        return replace(self, attempts=(*kept[-63:], attempt))


@dataclass(frozen=True, slots=True)
class ToldAlarm:
    """An alarm that people were told of, so that no restart tells them again; ``host`` is None for the agency."""

    host: HostId | None
    cause: str
    reason: str


@dataclass(frozen=True, slots=True)
class TaskNote:
    """The task in vCenter that shows a rollout; ``open``: it was not ended yet."""

    number: int
    """Of the rollout."""
    task: str
    open: bool = True


@dataclass(frozen=True, slots=True)
class ToldAlarms:
    """Those of one (deployment, cluster)."""

    alarms: tuple[ToldAlarm, ...] = ()


@dataclass(frozen=True, slots=True)
class ConfigSent:
    """The configuration last given to EAM, by digest: what EAM then shows differently, it did not take."""

    digest: str
    at: float
    accepted: bool = False
    """It was answered. False as long as it is on its way, and ever after if we died or the answer was lost."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A port of our overlay trunk that is blocked because a VM stands on it which does not belong there."""

    vm: VmId
    switch: DvsId
    port: str


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """Memory of one (deployment, cluster)."""

    sent: ConfigSent | None = None
    created_at: float = 0.0
    """When CreateAgency was last begun; 0 for never."""
    uninstalled_at: float = 0.0
    """When we last told EAM to uninstall; 0 for never."""
    backend: Backend | None = None
    """Who was last seen keeping the ContrailVMs; None before there were any."""
    backend_since: float = 0.0
    """When that was first seen: after ``created_at`` the moment of the hand-over from EAM to vLCM."""
    quarantined: tuple[Quarantined, ...] = ()
    paused: str = ""
    """Who paused the key; empty: it is not paused."""
