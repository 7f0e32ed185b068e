"""What is: a pure, indexed view of one (deployment, cluster) over the caches, ready to be judged by ``plan``.

Only agencies that bear our mark get in here, so that nothing a plan can reach belongs to anybody else. Everything that
depends on time is a fact with its own time stamp (seconds since the epoch), and ``now`` is one of the facts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from contrail_vsphere.contrailvm.desired import Key, agency_name, key_of_agency
from contrail_vsphere.contrailvm.plan.inferred_hooks import infer_hook
from contrail_vsphere.contrailvm.records import HostRecord, KeyRecord
from contrail_vsphere.contrailvm.rollout.turns import RolloutView
from contrail_vsphere.model.eam import EAM_KEY, Agency, EamFeatures, EsxAgent, Issue, VmHook
from contrail_vsphere.model.ids import (
    AgencyId,
    ClusterId,
    DatastoreId,
    DvsId,
    EsxAgentId,
    HostId,
    NetworkId,
    ResourcePoolId,
    VmId,
)
from contrail_vsphere.model.inventory import Change, Cluster, Datastore, Dvs, Host, Network, VirtualMachine


class InventoryView(Protocol):
    """The indexes of ``vsphere.inventory.Inventory`` that judgement needs."""

    @property
    def hosts(self) -> Mapping[HostId, Host]: ...  # noqa: D102
    @property
    def clusters(self) -> Mapping[ClusterId, Cluster]: ...  # noqa: D102
    @property
    def vms(self) -> Mapping[VmId, VirtualMachine]: ...  # noqa: D102
    @property
    def datastores(self) -> Mapping[DatastoreId, Datastore]: ...  # noqa: D102
    @property
    def networks(self) -> Mapping[NetworkId, Network]: ...  # noqa: D102
    @property
    def dvss(self) -> Mapping[DvsId, Dvs]: ...  # noqa: D102


class LiveInventory(InventoryView, Protocol):
    """The inventory cache as the manager uses it."""

    @property
    def healthy(self) -> bool:
        """Its view is whole and current."""
        ...

    @property
    def trouble(self) -> str:
        """Why vCenter's last answer did not come; empty while it answers."""
        ...

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Be told of every change; returns the way to stop."""
        ...


@dataclass(frozen=True, slots=True)
class PackageOffer:
    """The package as EAM is to get it: published, with every OVF property filled in."""

    version: str
    digest: str
    url: str
    pem: str = ""
    """The certificate of our publishing server, for EAM to pin; empty on plain HTTP."""
    properties: tuple[tuple[str, str], ...] = ()
    disk_bytes: int = 0
    """What the disks of one ContrailVM take at most."""
    sizes: tuple[str, ...] = ()
    """That the package has."""
    vib_url: str = ""
    """Of the wanted offline bundle; empty where none is wanted."""
    reachable: bool = True
    """Our own probe through the advertised URL succeeded."""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class DropSample:
    """So many frames had a vRouter dropped, since it started, at ``at`` (epoch seconds)."""

    at: float
    total: int


@dataclass(frozen=True, slots=True)
class VRouterFact:
    """What the VRouterAgent of a host last said."""

    forwards: bool
    synced: bool
    reason: str
    asked_at: float
    since: float
    """Since when ``forwards`` has had this value, of this very ContrailVM."""
    vm: VmId | None = None
    """Whose vRouter it is."""
    drops: tuple[DropSample, ...] = ()
    """What it last said of dropped frames, oldest first; asked while a rollout wants to know."""

    @property
    def ready(self) -> bool:
        """Tenants may come: forwards and synced."""
        return self.forwards and self.synced


@dataclass(frozen=True, slots=True)
class Failure:
    """The last thing tried failed; ``until`` is when it may be tried again."""

    what: str
    error: str
    count: int
    until: float


@dataclass(frozen=True, slots=True)
class Sighting:
    """How often in a row, and since when, EAM has reported something."""

    since: float
    reads: int


@dataclass(frozen=True, slots=True)
class Reading:
    """An agency with the history of its reads."""

    agency: Agency
    read_at: float
    issues: Mapping[tuple[EsxAgentId | None, str], Sighting] = field(default_factory=dict)
    hooks: Mapping[tuple[EsxAgentId, str], Sighting] = field(default_factory=dict)
    """By EsxAgent and ``<hook state> <vm>``."""
    statuses: Mapping[EsxAgentId, Sighting] = field(default_factory=dict)
    """Since when the EsxAgent has had its present colour."""


@dataclass(frozen=True, slots=True)
class SeenIssue:
    """An issue and how firmly it is established."""

    issue: Issue
    seen: Sighting


@dataclass(frozen=True, slots=True)
class HostView:
    """One host of the cluster and all we know about its ContrailVM."""

    host: Host
    agent: EsxAgent | None = None
    agent_since: float = 0.0
    vm: VirtualMachine | None = None
    hook: VmHook | None = None
    hook_vm: VirtualMachine | None = None
    hook_since: float = 0.0
    issues: tuple[SeenIssue, ...] = ()
    vrouter: VRouterFact | None = None
    failure: Failure | None = None
    record: HostRecord = field(default_factory=HostRecord)

    @property
    def reachable(self) -> bool:
        """Whether vCenter talks to the host; False also while we do not know."""
        return self.host.connection == "connected" and self.host.power not in ("poweredOff", "standBy")


@dataclass(frozen=True, slots=True)
class Observed:
    """One (deployment, cluster) as it is."""

    key: Key
    solution_id: str
    now: float
    blind: str = ""
    """Why nothing can be judged yet (inventory or agencies not read); empty when all was read."""
    cluster: Cluster | None = None
    agency: Agency | None = None
    duplicates: tuple[Agency, ...] = ()
    """More agencies with the mark of this key; there should never be any."""
    rivals: tuple[str, ...] = ()
    """Names of our agencies that another deployment has, or had, on this cluster."""
    read_at: float = 0.0
    agency_issues: tuple[SeenIssue, ...] = ()
    hosts: tuple[HostView, ...] = ()
    """By name."""
    strangers: tuple[VirtualMachine, ...] = ()
    """VMs on the cluster's hosts that stand on an overlay trunk of ours and that nobody keeps for us."""
    leftovers: tuple[str, ...] = ()
    """Running ContrailVMs of another tool on the cluster's hosts; looked for while there is no agency of ours."""
    strays: tuple[EsxAgent, ...] = ()
    """EsxAgents of hosts that are not in the cluster (any more)."""
    networks: Mapping[NetworkId, Network] = field(default_factory=dict)
    datastores: Mapping[DatastoreId, Datastore] = field(default_factory=dict)
    dvss: Mapping[DvsId, Dvs] = field(default_factory=dict)
    features: EamFeatures = field(default_factory=EamFeatures)
    no_system_vms: str | None = "vLCM's System VMs are not used"
    """Why vLCM cannot keep ContrailVMs here; empty when it can, None while that is not known."""
    pool: ResourcePoolId | None = None
    """Our resource pool, once ``apply`` found or made it."""
    trunk_shared: bool = False
    """Another cluster or deployment stands on the same overlay trunk."""
    offer: PackageOffer | None = None
    failure: Failure | None = None
    record: KeyRecord = field(default_factory=KeyRecord)
    rollout: RolloutView | None = None
    """The newest rollout of the deployment, with the standing of all its hosts in all clusters."""
    watching_since: float = 0.0
    """Since when this process has been looking."""

    @property
    def keeper(self) -> str:
        """Who keeps the ContrailVMs, as people call it."""
        return "vLCM" if self.agency is not None and self.agency.backend == "system-vm" else "EAM"

    def view_of(self, host: HostId) -> HostView | None:
        """The view of one host."""
        return next((view for view in self.hosts if view.host.id == host), None)


@dataclass(frozen=True, slots=True)
class Memory:
    """What the controller holds for one key beside the caches."""

    record: KeyRecord = field(default_factory=KeyRecord)
    hosts: Mapping[HostId, HostRecord] = field(default_factory=dict)
    vrouters: Mapping[HostId, VRouterFact] = field(default_factory=dict)
    failures: Mapping[HostId | None, Failure] = field(default_factory=dict)
    pool: ResourcePoolId | None = None
    offer: PackageOffer | None = None
    trunk_shared: bool = False


def observe(
    key: Key,
    *,
    solution_id: str,
    now: float,
    inventory: InventoryView,
    readings: Mapping[AgencyId, Reading],
    memory: Memory,
    features: EamFeatures = EamFeatures(),  # noqa: B008 - frozen
    no_system_vms: str | None = "vLCM's System VMs are not used",
    visitors: Iterable[VirtualMachine] = (),
    blind: str = "",
) -> Observed:
    """Put together the view of one key."""
    marked = marked_agencies(readings.values(), solution_id=solution_id, key=key)
    keeper = marked[0] if marked else None
    cluster = inventory.clusters.get(key.cluster)
    in_scope = tuple(inventory.hosts[host] for host in (cluster.hosts if cluster else ()) if host in inventory.hosts)
    agents = {agent.host: agent for agent in (keeper.agency.agents if keeper else ()) if agent.host is not None}
    by_eam = keeper is not None and keeper.agency.backend == "eam"
    inferred = _inferred(keeper.agency, inventory, memory) if keeper and by_eam and not features.hooks else {}
    views = tuple(
        _view(
            host,
            agents.get(host.id),
            hook=inferred.get(host.id),
            reading=keeper,
            inventory=inventory,
            memory=memory,
        )
        for host in sorted(in_scope, key=lambda each: (each.name, each.id))
    )
    known = {host.id for host in in_scope}
    kept = {vm for each in readings.values() for agent in each.agency.agents for vm in _vms_of(agent)}
    return Observed(
        key=key,
        solution_id=solution_id,
        now=now,
        blind=blind,
        cluster=cluster,
        agency=keeper.agency if keeper else None,
        duplicates=tuple(reading.agency for reading in marked[1:]),
        rivals=_rivals(readings.values(), solution_id=solution_id, key=key),
        read_at=keeper.read_at if keeper else 0.0,
        agency_issues=_agency_issues(keeper) if keeper else (),
        hosts=views,
        strangers=tuple(vm for vm in visitors if vm.host in known and vm.id not in kept),
        leftovers=_leftovers(readings.values(), inventory, known) if keeper is None else (),
        strays=tuple(agent for agent in (keeper.agency.agents if keeper else ()) if agent.host not in known),
        networks=inventory.networks,
        datastores=inventory.datastores,
        dvss=inventory.dvss,
        features=features,
        no_system_vms=no_system_vms,
        pool=memory.pool,
        trunk_shared=memory.trunk_shared,
        offer=memory.offer,
        failure=memory.failures.get(None),
        record=memory.record,
    )


def marked_agencies(readings: Iterable[Reading], *, solution_id: str, key: Key) -> list[Reading]:
    """The agencies that bear the mark of the key, the one to keep first: most ContrailVMs, vLCM's, then lowest id."""
    name = agency_name(solution_id, key)
    marked = [each for each in readings if each.agency.solution_id == solution_id and each.agency.config.name == name]
    return sorted(
        marked,
        key=lambda each: (
            -sum(a.vm is not None for a in each.agency.agents),
            each.agency.backend == "eam",
            each.agency.id,
        ),
    )


def _vms_of(agent: EsxAgent) -> tuple[VmId, ...]:
    return tuple(vm for vm in (agent.vm, agent.hook.vm if agent.hook is not None else None) if vm is not None)


def is_contrailvm(name: str) -> bool:
    """By the beginning of its name, as Contrail's own tools know a ContrailVM, whoever made it."""
    return name.casefold().startswith("contrailvm")


def _leftovers(readings: Iterable[Reading], inventory: InventoryView, hosts: Collection[HostId]) -> tuple[str, ...]:
    ours = {agent.vm for each in readings for agent in each.agency.agents}
    return tuple(
        sorted(
            vm.name
            for vm in inventory.vms.values()
            if vm.host in hosts and vm.id not in ours and vm.power == "poweredOn" and is_contrailvm(vm.name)
        )
    )


def _inferred(agency: Agency, inventory: InventoryView, memory: Memory) -> Mapping[HostId, VmHook]:
    """The hooks of an EAM that does not say in which hook it waits."""
    blind = {each.host: each for each in agency.agents if each.host is not None}
    vms: dict[HostId, list[VirtualMachine]] = {}
    for vm in inventory.vms.values():
        if vm.host in blind and vm.managed_by == EAM_KEY:
            vms.setdefault(vm.host, []).append(vm)
    taken = {agent.vm for agent in agency.agents if agent.vm is not None}
    found: dict[HostId, VmHook] = {}
    for host, agent in blind.items():
        record = memory.hosts.get(host, HostRecord())
        hook = infer_hook(agent, record, agent_name=agency.config.agent_name, vms=vms.get(host, ()), taken=taken)
        if hook is not None:
            found[host] = hook
    return found


def _rivals(readings: Iterable[Reading], *, solution_id: str, key: Key) -> tuple[str, ...]:
    found = []
    for each in readings:
        other = key_of_agency(solution_id, each.agency.config.name) if each.agency.solution_id == solution_id else None
        if other is not None and other != key and other.cluster == key.cluster:
            found.append(each.agency.config.name)
    return tuple(sorted(found))


def _view(
    host: Host,
    agent: EsxAgent | None,
    *,
    hook: VmHook | None,
    reading: Reading | None,
    inventory: InventoryView,
    memory: Memory,
) -> HostView:
    record = memory.hosts.get(host.id, HostRecord())
    if agent is None or reading is None:
        return HostView(host=host, record=record, failure=memory.failures.get(host.id))
    hook = agent.hook or hook
    seen_hook = reading.hooks.get((agent.id, f"{hook.state} {hook.vm}")) if hook else None
    status = reading.statuses.get(agent.id)
    hook_since = seen_hook.since if seen_hook else reading.read_at
    if hook is not None and agent.hook is None:
        hook_since = _inferred_since(hook, status.since if status else reading.read_at, record)
    return HostView(
        host=host,
        agent=agent,
        agent_since=status.since if status else reading.read_at,
        vm=inventory.vms.get(agent.vm) if agent.vm else None,
        hook=hook,
        hook_vm=inventory.vms.get(hook.vm) if hook else None,
        hook_since=hook_since,
        issues=tuple(
            SeenIssue(issue, reading.issues.get((agent.id, issue.type), Sighting(reading.read_at, 1)))
            for issue in agent.issues
        ),
        vrouter=memory.vrouters.get(host.id),
        failure=memory.failures.get(host.id),
        record=record,
    )


def _inferred_since(hook: VmHook, unsettled: float, record: HostRecord) -> float:
    """No earlier than EAM began to work on the EsxAgent, and than the hook before was released for that VM."""
    released = record.released
    before = released is not None and released.vm == hook.vm and released.hook != hook.state
    return max(unsettled, released.at) if before and released is not None else unsettled


def _agency_issues(reading: Reading) -> tuple[SeenIssue, ...]:
    """Issues of the agency itself; those of its EsxAgents are repeated there by EAM and left out here."""
    return tuple(
        SeenIssue(issue, reading.issues.get((None, issue.type), Sighting(reading.read_at, 1)))
        for issue in reading.agency.issues
        if issue.agent is None and issue.host is None
    )
