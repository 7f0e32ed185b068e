"""What should be: one frozen value per (deployment, cluster), as it lies in the journal.

``contrailvm apply`` resolves the operator's names once (``deployments``) and writes these; everything later works on
managed object ids, so that renaming a cluster or a port group in vCenter changes nothing for us.
"""

from __future__ import annotations

import dataclasses
import hashlib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from contrail_vsphere.model.ids import ClusterId, DatacenterId, DatastoreId, DvsId, FolderId, HostId, NetworkId

Role = Literal["management", "fabric", "control-data", "overlay"]
"""What a NIC of the ContrailVM is for; the guest finds its NICs by it (role by MAC, told at bootstrap)."""

BackendChoice = Literal["auto", "eam", "system-vm"]
"""Who is to keep the ContrailVMs; ``auto``: vLCM where a cluster starts anew and has System VMs, EAM elsewhere."""

ROLES: tuple[Role, ...] = ("management", "fabric", "control-data", "overlay")
"""As packages name them. Tunnels use ``control-data``, else ``fabric``, else ``management``."""


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """The unit of reconciliation: one deployment on one cluster, which is one agency."""

    deployment: str
    cluster: ClusterId

    def __str__(self) -> str:
        return f"{self.deployment}/{self.cluster}"

    @classmethod
    def parse(cls, text: str) -> Key:
        """The inverse of ``str``; deployment names hold no slash."""
        deployment, _, cluster = text.partition("/")
        return cls(deployment, ClusterId(cluster))


@dataclass(frozen=True, slots=True)
class NicRole:
    """One NIC: its role and where it is to be attached; ``network`` is None for the overlay trunk that we make."""

    role: Role
    network: NetworkId | None = None
    sriov: bool = False
    """A virtual function of the host's own adapter, which the package does not have and we add."""


@dataclass(frozen=True, slots=True)
class OverlayTrunk:
    """The port group we make for the overlay NICs: VLAN trunk, promiscuous, forged transmits (``networks.py``)."""

    switch: DvsId
    name: str
    ports: int = 1800


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """A pool of our own under the cluster's root pool; reservations in MHz and MB for all ContrailVMs together."""

    name: str
    cpu_mhz: int = 0
    memory_mb: int = 0


@dataclass(frozen=True, slots=True)
class Reservation:
    """What every ContrailVM has for itself: CPU in MHz, memory in MB; 0 leaves what the package says."""

    cpu_mhz: int = 0
    memory_mb: int = 0


@dataclass(frozen=True, slots=True)
class RepairPolicy:
    """How far repair may go by itself; all times in seconds."""

    automatic: bool = True
    """False: issues are shown, nothing is resolved."""
    attempts: int = 3
    """More repairs than this of one host within ``window`` put the host on hold."""
    window: float = 900.0
    settle: float = 30.0
    """How long EAM is given after a Resolve before the same issue counts as a new one."""
    slow_retry: float = 600.0
    """Between tries where only the world outside can help (space, CPU, memory)."""
    hook_deadline: float = 600.0
    """A vRouter that does not forward by then after power-on is an alarm (and stays behind its hook)."""
    progress_deadline: float = 900.0
    """EAM working on one EsxAgent longer than this without a hook or an issue is an alarm on EAM."""
    forwarding_grace: float = 120.0
    """A vRouter that stopped forwarding is given this long before its ContrailVM is restarted."""
    restarts: int = 2
    """Restarts of one ContrailVM within ``restart_window``; then hold."""
    restart_window: float = 3600.0


@dataclass(frozen=True, slots=True)
class RolloutPolicy:
    """How ContrailVMs are replaced by others (``rollout.turns``); all times in seconds."""

    canary: int = 1
    """So many hosts go first, and must pass before any other begins."""
    concurrency: int = 1
    """Hosts of the deployment, over all its clusters, that may be without a forwarding vRouter at the same time."""
    gate: float = 60.0
    """A new ContrailVM must have forwarded that long, and have all its ports, before its turn is over."""
    drops: float | None = 10.0
    """Frames a second that its vRouter may drop over the gate, beyond what every vRouter drops; None: any number."""
    deadline: float = 900.0
    """A host that has not come that far by then has failed."""
    on_failure: Literal["rollback", "stop"] = "rollback"
    order: tuple[str, ...] = ()
    """Name patterns of hosts that go first, in that order; the rest by name."""
    approval: bool = False
    """After the canaries, wait for a person."""
    windows: tuple[str, ...] = ()
    """When turns may begin (``rollout.window``); empty: always. A rollback does not wait for one."""


@dataclass(frozen=True, slots=True)
class GuestSettings:
    """What the vRouter in every ContrailVM of the deployment is told at bootstrap."""

    controllers: tuple[str, ...] = ()
    """XMPP servers, ``HOST`` or ``HOST:PORT``."""
    dns: tuple[str, ...] = ()
    collectors: tuple[str, ...] = ()
    gateway: str = ""
    http_proxy: str = ""
    log_level: str = "info"
    vmware_mode: Literal["vcenter", "esxi_neutron"] = "vcenter"
    """``esxi_neutron``: a port is told by its VLAN alone, so that guests may share MAC addresses (VRRP)."""


@dataclass(frozen=True, slots=True)
class PackageFacts:
    """What a deployment must fit: the package's NIC roles in the order of its NICs, and its sizes."""

    ref: PackageRef
    roles: tuple[str, ...]
    sizes: tuple[str, ...] = ()
    disk_bytes: int = 0
    """What the disks of one ContrailVM take at most."""
    hardware: tuple[str, ...] = ()
    """Virtual hardware that the package asks for (``vmx-13``)."""
    url: str = ""
    """Where EAM would fetch it."""


@dataclass(frozen=True, slots=True)
class PackageRef:
    """Which package: the version a person reads, the digest that decides."""

    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class BundleRef:
    """Which offline bundle (VIBs): the words a person reads, the digest that decides."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Build:
    """What a ContrailVM is made from; a change of package or size makes a new one, one of ``guest`` restarts it."""

    package: PackageRef
    size: str = ""
    guest: GuestSettings | None = None
    """What it is told when it boots; None in journals of before this was looked at."""

    @property
    def settings(self) -> str:
        """Short digest of what it is told; empty where that is not known."""
        return "" if self.guest is None else hashlib.blake2s(repr(self.guest).encode(), digest_size=8).hexdigest()

    def __str__(self) -> str:
        return f"{self.package.version} ({self.size})" if self.size else self.package.version


@dataclass(frozen=True, slots=True)
class Desired:
    """One deployment on one cluster, names resolved."""

    key: Key
    cluster_name: str
    package: PackageRef
    nics: tuple[NicRole, ...]
    size: str = ""
    trunk: OverlayTrunk | None = None
    datastores: tuple[DatastoreId, ...] = ()
    """In order of preference; empty: the hosts' own EsxAgent settings."""
    datacenter: DatacenterId | None = None
    folder: FolderId | None = None
    pool: PoolSpec | None = None
    reservation: Reservation = Reservation()
    repair: RepairPolicy = RepairPolicy()
    guest: GuestSettings = field(default_factory=GuestSettings)
    rollout: RolloutPolicy = RolloutPolicy()
    backend: BackendChoice = "auto"
    vib: BundleRef | None = None
    pci: tuple[str, ...] = ()
    """PCI devices of the host for each ContrailVM, ``VENDOR:DEVICE`` in hex, one of each entry."""
    stable_macs: bool = False
    """NICs get addresses that follow from host and role, so that DHCP knows a redeployed ContrailVM again."""
    removed: bool = False
    """The operator wants it gone; stays until the agency is."""

    @property
    def place(self) -> str:
        """``DEPLOYMENT on CLUSTER``, as an operator names it."""
        return f"{self.key.deployment} on {self.cluster_name}"

    @property
    def special(self) -> bool:
        """Devices of the host write into the VM's memory, which must all be reserved then."""
        return bool(self.pci) or any(nic.sriov for nic in self.nics)

    @property
    def management(self) -> NetworkId | None:
        """Where EAM attaches the NICs at deployment, before the ``provisioned`` hook moves each to its own network."""
        return next((nic.network for nic in self.nics if nic.role == "management"), None)


def agency_name(solution_id: str, key: Key) -> str:
    """``<deployment>-<cluster moid>-<8 hex>``: with our solutionId the mark of an agency of ours.

    The digits follow from the key, not from chance: after a crash between CreateAgency and its reply, or with a lost
    journal, the next look finds the agency under the name it would create.
    """
    digest = hashlib.blake2s(f"{solution_id}\0{key}".encode(), digest_size=4).hexdigest()
    return f"{key.deployment}-{key.cluster}-{digest}"


def stable_mac(solution_id: str, key: Key, host: HostId, role: Role) -> str:
    """A locally administered MAC address, the same for every ContrailVM that the host will ever have."""
    digest = hashlib.blake2s(f"{solution_id}\0{key}\0{host}\0{role}".encode(), digest_size=5).hexdigest()
    return ":".join(["02", *(digest[at : at + 2] for at in range(0, 10, 2))])


def marked_name(solution_id: str, key: Key, name: str) -> str:
    """``<name>-<8 hex>``: the mark of what has nothing but its name to bear one (a resource pool)."""
    return f"{name}-{agency_name(solution_id, key).rpartition('-')[2]}"


def key_of_agency(solution_id: str, name: str) -> Key | None:
    """The key whose mark ``name`` is, or None; a name that only looks alike fails on its digits."""
    head, _, _digits = name.rpartition("-")
    for prefix in ("-domain-", "-group-"):
        deployment, found, rest = head.rpartition(prefix)
        if found and deployment:
            key = Key(deployment, ClusterId(prefix[1:] + rest))
            return key if agency_name(solution_id, key) == name else None
    deployment, _, cluster = head.partition("-")
    key = Key(deployment, ClusterId(cluster))
    return key if deployment and cluster and agency_name(solution_id, key) == name else None


# -- as JSON --------------------------------------------------------------------------------------------------------

T = TypeVar("T")


def to_record(value: Any) -> Any:
    """A tree of frozen values as plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: to_record(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [to_record(each) for each in value]
    return value


def from_record(cls: type[T], record: Mapping[str, Any]) -> T:
    """The inverse of ``to_record``; fields the record lacks take their defaults, fields we dropped are passed over."""
    hints = typing.get_type_hints(cls)
    known = {each.name for each in dataclasses.fields(cls)}  # type: ignore[arg-type]
    return cls(**{name: _revive(hints[name], value) for name, value in record.items() if name in known})


def _revive(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        inner = [each for each in typing.get_args(hint) if each is not type(None)]
        return _revive(inner[0], value)
    if origin is tuple:
        arguments = typing.get_args(hint)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_revive(arguments[0], each) for each in value)
        return tuple(_revive(argument, each) for argument, each in zip(arguments, value, strict=True))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_record(hint, value)
    return value
