"""What a plan can say: typed actions, each with the reason a person would give.

``plan`` makes them, ``apply`` does them, ``status`` and ``plan --dry-run`` print them. ``Alarm`` and ``Wait`` change
nothing; they are how a plan explains why it does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from contrail_vsphere.contrailvm.desired import OverlayTrunk, PoolSpec, Role
from contrail_vsphere.contrailvm.records import Quarantined
from contrail_vsphere.model.eam import AgencyConfig, Backend, HookState
from contrail_vsphere.model.ids import (
    AgencyId,
    ClusterId,
    DatastoreId,
    EsxAgentId,
    HostId,
    NetworkId,
    ResourcePoolId,
    VmId,
)

Effect = Literal["none", "power", "redeploy", "removal", "maintenance", "reboot"]
"""What doing it costs the host, mildest first; ``maintenance`` and ``reboot`` need a person's approval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseAction:
    """Every action has a reason; ``host`` says whom it concerns, None the whole agency."""

    effect: ClassVar[Effect] = "none"
    reason: str
    host: HostId | None = None

    @property
    def verb(self) -> str:
        """The action's name as printed, e.g. ``mark as available``."""
        words = "".join(f" {char.lower()}" if char.isupper() else char for char in type(self).__name__)
        return words.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateAgency(BaseAction):
    """Make the agency; ``apply`` looks once more for one of that name first."""

    config: AgencyConfig
    url: str
    """Probed before EAM is asked."""
    backend: Backend = "eam"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAgency(BaseAction):
    """Give EAM the whole configuration again; ``changed`` names what differs."""

    agency: AgencyId
    config: AgencyConfig
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver(BaseAction):
    """Have vLCM take the agency over from EAM; the ContrailVMs stay as they are. There is no way back."""

    agency: AgencyId
    config: AgencyConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyToHosts(BaseAction):
    """Have vLCM bring these hosts to the agency's configuration; EAM does that by itself, and on all at once."""

    effect: ClassVar[Effect] = "redeploy"
    agency: AgencyId
    hosts: tuple[HostId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UninstallAgency(BaseAction):
    """Have EAM remove all ContrailVMs of the agency; passes the deletion brake."""

    effect: ClassVar[Effect] = "removal"
    agency: AgencyId
    hosts: tuple[HostId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyAgency(BaseAction):
    """Remove the agency itself, once its EsxAgents are gone."""

    effect: ClassVar[Effect] = "removal"
    agency: AgencyId
    hosts: tuple[HostId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsureTrunkPortGroup(BaseAction):
    """Make our overlay trunk, or put right the one that bears our mark."""

    trunk: OverlayTrunk
    existing: NetworkId | None = None
    config_version: str = ""
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsureResourcePool(BaseAction):
    """Find or make our resource pool under the cluster's root pool and set its reservations."""

    cluster: ClusterId
    root: ResourcePoolId
    pool: PoolSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveTrunkPortGroup(BaseAction):
    """Destroy our overlay trunk after a removal; one that somebody still uses stays."""

    effect: ClassVar[Effect] = "removal"
    port_group: NetworkId


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveResourcePool(BaseAction):
    """Destroy our resource pool of that name under the root pool after a removal; one that is not empty stays."""

    effect: ClassVar[Effect] = "removal"
    root: ResourcePoolId
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPort(BaseAction):
    """Block a port of our overlay trunk on which a stranger stands, or let it be as the port group says again."""

    place: Quarantined
    blocked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SetHostAgentSettings(BaseAction):
    """Write the host's EsxAgentHostManager settings; the call overwrites both, so both are given."""

    host: HostId
    datastore: DatastoreId | None
    network: NetworkId | None


@dataclass(frozen=True, slots=True)
class NicChange:
    """Attach a NIC: device ``key`` to ``network``, or a new NIC when ``key`` is None."""

    role: Role
    network: NetworkId
    key: int | None = None
    mac: str = ""
    """Given to the NIC; empty leaves what it has, or what vCenter draws."""
    sriov: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconfigureVm(BaseAction):
    """Attach NICs, set reservations, and with ``token`` put a fresh bootstrap token into the vApp property.

    ``hook`` says which hook it prepares; None for a running ContrailVM that is put right.
    """

    host: HostId
    agent: EsxAgentId
    vm: VmId
    hook: HookState | None
    nics: tuple[NicChange, ...] = ()
    cpu_mhz: int | None = None
    memory_mb: int | None = None
    pci: tuple[str, ...] = ()
    """PCI devices that it is to have, ``VENDOR:DEVICE``; those that it lacks are added."""
    lock_memory: bool = False
    """Reserve all memory, however much it is."""
    token: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkAsAvailable(BaseAction):
    """Let EAM go on after a hook."""

    host: HostId
    agent: EsxAgentId
    vm: VmId
    hook: HookState


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUpHook(BaseAction):
    """Tell vLCM that a hook's work failed: until a hook is over it does nothing else in the cluster."""

    host: HostId
    agent: EsxAgentId
    vm: VmId
    hook: HookState


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolve(BaseAction):
    """Have EAM remedy an issue. By type and host: keys are drawn anew whenever EAM regenerates an issue."""

    host: HostId
    agency: AgencyId
    agent: EsxAgentId
    issue_type: str
    keys: tuple[int, ...]
    """As last seen; ``apply`` takes those of the newest read."""
    disturbs: Effect = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeTurn(BaseAction):
    """Give a host its turn in the rollout of that number; not more than ``limit`` at a time (None: no bound)."""

    effect: ClassVar[Effect] = "redeploy"
    host: HostId
    number: int
    limit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndTurn(BaseAction):
    """A host's turn is over: its new ContrailVM ``vm`` has passed, or (None) the host has gone away."""

    host: HostId
    number: int
    vm: VmId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRollout(BaseAction):
    """A host failed: give no more turns; with ``roll_back`` the builds of before become the desired state again."""

    number: int
    roll_back: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishRollout(BaseAction):
    """Every host in service has the target."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(BaseAction):
    """Do no more for this host until a person releases it."""

    host: HostId


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartContrailVm(BaseAction):
    """Restart the guest; with ``token`` it is powered off, given a fresh bootstrap token, and powered on."""

    effect: ClassVar[Effect] = "power"
    host: HostId
    agent: EsxAgentId
    vm: VmId
    token: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOffContrailVm(BaseAction):
    """Power off a ContrailVM that somebody powered on before EAM has come that far: it serves nobody yet."""

    host: HostId
    agent: EsxAgentId
    vm: VmId


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget(BaseAction):
    """The removed deployment has left the cluster: drop what we remember of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refetch(BaseAction):
    """Ask EAM about the agency now instead of at the next poll."""

    agency: AgencyId


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm(BaseAction):
    """Something a person must know; ``cause`` groups alarms of the same kind (``eam.stuck``, ``vrouter.down`` ...)."""

    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait(BaseAction):
    """Nothing to do now; look again at ``until`` (epoch seconds) if nothing changes before, None: only on a change."""

    until: float | None = None


Action = (
    CreateAgency
    | UpdateAgency
    | HandOver
    | ApplyToHosts
    | UninstallAgency
    | DestroyAgency
    | EnsureTrunkPortGroup
    | EnsureResourcePool
    | RemoveTrunkPortGroup
    | RemoveResourcePool
    | BlockPort
    | SetHostAgentSettings
    | ReconfigureVm
    | MarkAsAvailable
    | GiveUpHook
    | Resolve
    | Forget
    | TakeTurn
    | EndTurn
    | StopRollout
    | FinishRollout
    | Hold
    | RestartContrailVm
    | PowerOffContrailVm
    | Refetch
    | Alarm
    | Wait
)


def changes_world(action: Action) -> bool:
    """True for what writes to vCenter, EAM or our journal; False for looking, waiting and telling."""
    return not isinstance(action, Refetch | Alarm | Wait)
