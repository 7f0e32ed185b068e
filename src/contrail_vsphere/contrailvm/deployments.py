"""The deployments file: what an operator writes, checked as a whole, then resolved to what the journal keeps.

    [deployment.dc1]
    clusters = ["Compute A", "domain-c21"]        # by name or managed object id
    package = "1.0.0"
    datastores = ["local-*"]                      # in order of preference; none: the hosts' own EsxAgent settings

    [deployment.dc1.networks]
    management = "mgmt"
    fabric = "underlay"                           # optional: else the tunnels use the management network
    overlay = { switch = "dvs0" }                 # we make the trunk port group; or the name of one of yours

Every mistake in the file is reported at once, unknown names with the nearest right one, and nothing is written unless
all of it holds.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contrail_vsphere.contrailvm.desired import (
    Desired,
    GuestSettings,
    Key,
    NicRole,
    OverlayTrunk,
    PackageRef,
    PoolSpec,
    RepairPolicy,
    Reservation,
    Role,
)
from contrail_vsphere.contrailvm.observed import InventoryView
from contrail_vsphere.model.errors import DesiredStateError
from contrail_vsphere.model.ids import ClusterId, DatastoreId, DvsId, FolderId, NetworkId
from contrail_vsphere.model.inventory import Cluster, Dvs, Network

Name = Annotated[str, Field(min_length=1, max_length=80)]
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,30}", re.IGNORECASE)
"""Deployment names become part of agency names."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OverlayTable(_Table):
    """An overlay trunk that we make and keep on a distributed switch."""

    switch: Name
    port_group: Name = "contrailvm-overlay"
    ports: int = Field(default=1800, ge=1, le=60000)


class NetworksTable(_Table):
    """Networks by role, by name or managed object id."""

    management: Name
    fabric: Name | None = None
    overlay: Name | OverlayTable


class ReservationTable(_Table):
    """What each ContrailVM has for itself."""

    cpu_mhz: int = Field(default=0, ge=0)
    memory_mb: int = Field(default=0, ge=0)


class PoolTable(_Table):
    """Our own resource pool in each cluster; reservations are for all ContrailVMs of the cluster together."""

    name: Name = "ContrailVM"
    cpu_mhz: int = Field(default=0, ge=0)
    memory_mb: int = Field(default=0, ge=0)


class RepairTable(_Table):
    """See ``RepairPolicy``; times in seconds."""

    automatic: bool = True
    attempts: int = Field(default=3, ge=1, le=100)
    window: float = Field(default=900, ge=60)
    hook_deadline: float = Field(default=600, ge=10)
    progress_deadline: float = Field(default=900, ge=10)
    forwarding_grace: float = Field(default=120, ge=5)
    restarts: int = Field(default=2, ge=0, le=100)


class GuestTable(_Table):
    """What the vRouters are told."""

    controllers: tuple[Name, ...] = ()
    dns: tuple[Name, ...] = ()
    collectors: tuple[Name, ...] = ()
    gateway: str = ""
    http_proxy: str = ""
    log_level: Literal["debug", "info", "notice", "warning", "error"] = "info"


class DeploymentTable(_Table):
    """One ``[deployment.NAME]``."""

    clusters: tuple[Name, ...] = Field(min_length=1)
    package: Name
    size: str = ""
    networks: NetworksTable
    datastores: tuple[Name, ...] = ()
    folder: str = ""
    """Managed object id of a VM folder; empty: EAM's own."""
    resource_pool: PoolTable | None = PoolTable()
    reservation: ReservationTable = ReservationTable()
    repair: RepairTable = RepairTable()
    guest: GuestTable = GuestTable()


class _File(_Table):
    deployment: dict[str, DeploymentTable]


@dataclass(frozen=True, slots=True)
class Diff:
    """What ``apply`` would change in the journal."""

    added: tuple[Key, ...] = ()
    changed: tuple[tuple[Key, tuple[str, ...]], ...] = ()
    removed: tuple[Key, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


def read_deployments(path: Path) -> dict[str, DeploymentTable]:
    """Read and check a deployments file; DesiredStateError lists every mistake, one per line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DesiredStateError(f"{path}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from error
    return parse_deployments(text, source=str(path))


def parse_deployments(text: str, *, source: str = "deployments") -> dict[str, DeploymentTable]:
    """As ``read_deployments``, from text."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DesiredStateError(f"{source}: {error}", hint="it must be TOML") from error
    try:
        tables = _File.model_validate(document).deployment
    except ValidationError as error:
        raise _problems(source, [_explain(each) for each in error.errors()]) from None
    wrong = [
        f"deployment {name!r}: letters, digits, '.', '_' and '-' only" for name in tables if not NAME.fullmatch(name)
    ]
    if wrong:
        raise _problems(source, wrong)
    if not tables:
        raise DesiredStateError(f"{source}: there is no [deployment.NAME] table")
    return tables


def resolve_deployments(
    tables: Mapping[str, DeploymentTable],
    *,
    inventory: InventoryView,
    package: Callable[[str], PackageRef | None],
    packages: Iterable[str] = (),
    existing: Mapping[Key, Desired] | None = None,
) -> dict[Key, Desired]:
    """Names to managed object ids; DesiredStateError lists every name that does not resolve.

    ``package`` finds a package by version; ``existing`` are the keys of other deployments, whose clusters are taken.
    """
    problems: list[str] = []
    resolved: dict[Key, Desired] = {}
    taken = {key.cluster: key.deployment for key, each in (existing or {}).items() if not each.removed}
    for name, table in tables.items():
        found = package(table.package)
        if found is None:
            problems.append(f"{name}.package: {_unknown('package', table.package, packages)}")
        for given in table.clusters:
            resolver = _Resolver(name, table, inventory, problems)
            cluster = resolver.cluster(given)
            if cluster is None:
                continue
            key = Key(name, cluster.id)
            owner = taken.get(cluster.id, name)
            if key in resolved:
                problems.append(f"{name}.clusters: {given!r} is named twice ({cluster.id})")
            elif owner != name:
                problems.append(f"{name}.clusters: {given!r} already belongs to deployment {owner!r}")
            else:
                taken[cluster.id] = name
                resolved[key] = resolver.desired(key, cluster, found or PackageRef(table.package, ""))
    if problems:
        raise _problems("deployments", problems)
    return resolved


def difference(before: Mapping[Key, Desired], after: Mapping[Key, Desired]) -> Diff:
    """Compare; a key of a deployment that ``after`` names but which is not in it is to be removed.

    Deployments that ``after`` does not name at all are left alone: one file need not hold them all.
    """
    named = {key.deployment for key in after}
    changed = []
    for key, desired in after.items():
        old = before.get(key)
        if old is not None and old != desired:
            changed.append((key, tuple(_changed_fields(old, desired))))
    return Diff(
        added=tuple(sorted(key for key in after if key not in before)),
        changed=tuple(sorted(changed)),
        removed=tuple(
            sorted(
                key for key, old in before.items() if key.deployment in named and key not in after and not old.removed
            )
        ),
    )


def merge(before: Mapping[Key, Desired], after: Mapping[Key, Desired]) -> dict[Key, Desired]:
    """What the journal is to hold: ``after``, and keys to be removed marked so."""
    removed = {key: replace(before[key], removed=True) for key in difference(before, after).removed}
    return {**after, **removed}


def _changed_fields(old: Desired, new: Desired) -> list[str]:
    return [name for name in Desired.__dataclass_fields__ if getattr(old, name) != getattr(new, name)]


class _Resolver:
    """Names of one deployment on one cluster; problems are collected, not raised."""

    def __init__(self, name: str, table: DeploymentTable, inventory: InventoryView, problems: list[str]) -> None:
        self._name = name
        self._table = table
        self._inventory = inventory
        self._problems = problems

    def cluster(self, given: str) -> Cluster | None:
        clusters = self._inventory.clusters
        if ClusterId(given) in clusters:
            return clusters[ClusterId(given)]
        found = [each for each in clusters.values() if each.name == given]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(sorted(each.id for each in found))
            self._complain("clusters", f"{given!r} is the name of several; use one of {ids}")
        else:
            self._complain("clusters", _unknown("cluster", given, (each.name for each in clusters.values())))
        return None

    def desired(self, key: Key, cluster: Cluster, package: PackageRef) -> Desired:
        table = self._table
        trunk, nics = self._networks(cluster)
        pool = table.resource_pool
        return Desired(
            key=key,
            cluster_name=cluster.name,
            package=package,
            nics=nics,
            size=table.size,
            trunk=trunk,
            datastores=self._datastores(cluster),
            datacenter=cluster.datacenter,
            folder=FolderId(table.folder) if table.folder else None,
            pool=PoolSpec(pool.name, pool.cpu_mhz, pool.memory_mb) if pool else None,
            reservation=Reservation(table.reservation.cpu_mhz, table.reservation.memory_mb),
            repair=RepairPolicy(**table.repair.model_dump()),
            guest=GuestSettings(**table.guest.model_dump()),
        )

    def _networks(self, cluster: Cluster) -> tuple[OverlayTrunk | None, tuple[NicRole, ...]]:
        given = self._table.networks
        nics = [NicRole("management", self._network("management", given.management, cluster))]
        if given.fabric is not None:
            nics.append(NicRole("fabric", self._network("fabric", given.fabric, cluster)))
        if isinstance(given.overlay, str):
            nics.append(NicRole("overlay", self._network("overlay", given.overlay, cluster)))
            return None, tuple(nics)
        switch = self._switch(given.overlay.switch, cluster)
        nics.append(NicRole("overlay"))
        trunk = OverlayTrunk(switch.id if switch else DvsId(""), given.overlay.port_group, given.overlay.ports)
        return trunk, tuple(nics)

    def _network(self, role: Role, given: str, cluster: Cluster) -> NetworkId | None:
        networks = self._inventory.networks
        if NetworkId(given) in networks:
            return NetworkId(given)
        reach = self._of_hosts(cluster, "networks")
        found = [each for each in networks.values() if each.name == given and not each.uplink]
        near = [each for each in found if each.id in reach] or found
        usable = [each for each in networks.values() if not each.uplink]
        network = self._one(f"networks.{role}", "network", given, near, usable)
        return network.id if network is not None else None

    def _switch(self, given: str, cluster: Cluster) -> Dvs | None:
        switches = self._inventory.dvss
        if DvsId(given) in switches:
            return switches[DvsId(given)]
        found = [each for each in switches.values() if each.name == given]
        near = [each for each in found if set(each.hosts) & set(cluster.hosts)] or found
        return self._one("networks.overlay.switch", "distributed switch", given, near, list(switches.values()))

    def _datastores(self, cluster: Cluster) -> tuple[DatastoreId, ...]:
        """All datastores of the cluster's hosts that match, per pattern in the given order; hosts may share a name."""
        reach = self._of_hosts(cluster, "datastores")
        stores = sorted(
            (each for each in self._inventory.datastores.values() if each.id in reach),
            key=lambda each: (each.name, each.id),
        )
        chosen: dict[DatastoreId, None] = {}
        for pattern in self._table.datastores:
            matching = [each.id for each in stores if fnmatch.fnmatchcase(each.name, pattern) or each.id == pattern]
            if not matching and cluster.hosts:
                unknown = _unknown("datastore", pattern, (each.name for each in stores))
                self._complain("datastores", f"{unknown} on the hosts of {cluster.name}")
            chosen.update(dict.fromkeys(matching))
        return tuple(chosen)

    def _of_hosts(self, cluster: Cluster, attribute: str) -> set[Any]:
        hosts = self._inventory.hosts
        return {each for host in cluster.hosts if host in hosts for each in getattr(hosts[host], attribute)}

    def _one(self, field: str, kind: str, given: str, found: list[O], all_of_them: list[O]) -> O | None:
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(sorted(each.id for each in found))
            self._complain(field, f"{given!r} is the name of several; use one of {ids}")
        else:
            self._complain(field, _unknown(kind, given, (each.name for each in all_of_them)))
        return None

    def _complain(self, field: str, what: str) -> None:
        problem = f"{self._name}.{field}: {what}"
        if problem not in self._problems:
            self._problems.append(problem)


O = TypeVar("O", Network, Dvs)  # noqa: E741


def _unknown(kind: str, given: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(given, sorted(set(known)), n=1)
    return f"no {kind} {given!r}" + (f", did you mean {near[0]!r}?" if near else "")


def _explain(error: Any) -> str:
    """One mistake that pydantic found, with the nearest right key for an unknown one."""
    where = [str(part) for part in error["loc"] if part not in ("deployment", "str", "OverlayTable")]
    if error["type"] != "extra_forbidden":
        return f"{'.'.join(where) or 'file'}: {error['msg'][0].lower()}{error['msg'][1:]}"
    known = _known_keys(tuple(where[:-1]), top=error["loc"][0] != "deployment")
    near = difflib.get_close_matches(where[-1], known, n=1)
    return f"{'.'.join(where)}: unknown key" + (
        f", did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
    )


def _known_keys(where: tuple[str, ...], *, top: bool) -> list[str]:
    if top:
        return ["deployment"]
    model: type[BaseModel] = DeploymentTable
    inner: dict[str, type[BaseModel]] = {
        "networks": NetworksTable,
        "overlay": OverlayTable,
        "reservation": ReservationTable,
        "resource_pool": PoolTable,
        "repair": RepairTable,
        "guest": GuestTable,
    }
    for part in where[1:]:
        model = inner.get(part, model)
    return sorted(model.model_fields)


def _problems(source: str, problems: list[str]) -> DesiredStateError:
    unique = list(dict.fromkeys(problems))
    if len(unique) == 1:
        return DesiredStateError(f"{source}: {unique[0]}")
    return DesiredStateError(f"{source}: {len(unique)} mistakes:\n  " + "\n  ".join(unique))
