"""From the names an operator writes to managed object ids, once, when a deployments file is applied."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from contrail_vsphere.contrailvm.deployments.file import DeploymentTable, OverlayTable, RolloutTable, mistakes
from contrail_vsphere.contrailvm.desired import (
    ROLES,
    BundleRef,
    Desired,
    GuestSettings,
    Key,
    NicRole,
    OverlayTrunk,
    PackageFacts,
    PackageRef,
    PoolSpec,
    RepairPolicy,
    Reservation,
    Role,
    RolloutPolicy,
)
from contrail_vsphere.contrailvm.observed import InventoryView
from contrail_vsphere.model.ids import ClusterId, DatastoreId, DvsId, FolderId, NetworkId
from contrail_vsphere.model.inventory import Cluster, Dvs, Network


def resolve_deployments(
    tables: Mapping[str, DeploymentTable],
    *,
    inventory: InventoryView,
    package: Callable[[str], PackageFacts | None],
    packages: Iterable[str] = (),
    bundle: Callable[[str], BundleRef | None] = lambda _name: None,
    older: Callable[[Key, BundleRef], tuple[str, ...]] = lambda _key, _after: (),
    existing: Mapping[Key, Desired] | None = None,
) -> dict[Key, Desired]:
    """Names to managed object ids; DesiredStateError lists every name that does not resolve.

    ``package`` finds a package by version or digest; ``existing`` are keys whose clusters other deployments have.
    """
    problems: list[str] = []
    resolved: dict[Key, Desired] = {}
    taken = {key.cluster: key.deployment for key, each in (existing or {}).items() if not each.removed}
    for name, table in tables.items():
        found = package(table.package)
        if found is None:
            problems.append(f"{name}.package: {_unknown('package', table.package, packages)}")
        else:
            problems += _misfits(name, table, found)
        vib = bundle(table.vib) if table.vib else None
        if table.vib and vib is None:
            problems.append(
                f"{name}.vib: no bundle {table.vib!r} is published; `contrailvm package publish BUNDLE.zip`"
            )
        if table.vib and table.backend == "system-vm":
            problems.append(f"{name}.vib: System VMs carry no VIBs; put the bundle into the cluster's image")
        for given in table.clusters:
            resolver = _Resolver(name, table, inventory, problems)
            cluster = resolver.cluster(given)
            if cluster is None:
                resolver.unknown_anywhere()
                continue
            key = Key(name, cluster.id)
            if vib is not None:
                problems += [f"{name}.vib: {each}; EAM never goes back" for each in older(key, vib)]
            owner = taken.get(cluster.id, name)
            if key in resolved:
                problems.append(f"{name}.clusters: {given!r} is named twice ({cluster.id})")
            elif owner != name:
                problems.append(f"{name}.clusters: {given!r} already belongs to deployment {owner!r}")
            else:
                taken[cluster.id] = name
                resolved[key] = replace(
                    resolver.desired(key, cluster, found or PackageFacts(PackageRef(table.package, ""), ROLES)), vib=vib
                )
    if problems:
        raise mistakes("deployments", problems)
    return resolved


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

    def unknown_anywhere(self) -> None:
        """The cluster is not known, so neither is what its hosts reach; names that nothing has are wrong anyway."""
        inventory = self._inventory
        for role, given in _given_networks(self._table).items():
            if isinstance(given, str):
                usable = [(each.id, each.name) for each in inventory.networks.values() if not each.uplink]
                self._anywhere(f"networks.{role}", "network", given, usable)
            else:
                switches = [(each.id, each.name) for each in inventory.dvss.values()]
                self._anywhere("networks.overlay.switch", "distributed switch", given.switch, switches)
        stores = [(each.id, each.name) for each in inventory.datastores.values()]
        for pattern in self._table.datastores:
            self._anywhere("datastores", "datastore", pattern, stores)

    def _anywhere(self, field: str, kind: str, given: str, known: Iterable[tuple[str, str]]) -> None:
        known = list(known)
        if not any(given == moid or fnmatch.fnmatchcase(name, given) or name == given for moid, name in known):
            self._complain(field, _unknown(kind, given, (name for _, name in known)))

    def desired(self, key: Key, cluster: Cluster, package: PackageFacts) -> Desired:
        table = self._table
        trunk, nics = self._networks(cluster, package.roles)
        pool = table.resource_pool
        return Desired(
            key=key,
            cluster_name=cluster.name,
            package=package.ref,
            nics=(*nics, *self._functions(cluster)),
            pci=table.devices.pci,
            size=table.size,
            trunk=trunk,
            datastores=self._datastores(cluster),
            datacenter=cluster.datacenter,
            folder=FolderId(table.folder) if table.folder else None,
            pool=PoolSpec(pool.name, pool.cpu_mhz, pool.memory_mb) if pool else None,
            reservation=Reservation(table.reservation.cpu_mhz, table.reservation.memory_mb),
            repair=RepairPolicy(**table.repair.model_dump()),
            guest=GuestSettings(**table.guest.model_dump()),
            rollout=_rollout(table.rollout),
            backend=table.backend,
            stable_macs=table.stable_macs,
        )

    def _networks(self, cluster: Cluster, order: tuple[str, ...]) -> tuple[OverlayTrunk | None, tuple[NicRole, ...]]:
        """The NICs in the order in which the package has them."""
        trunk = None
        nics = []
        for role, given in sorted(_given_networks(self._table).items(), key=lambda each: _place(each[0], order)):
            if isinstance(given, str):
                nics.append(NicRole(role, self._network(role, given, cluster)))
                continue
            switch = self._switch(given.switch, cluster)
            trunk = OverlayTrunk(switch.id if switch else DvsId(""), given.port_group, given.ports)
            nics.append(NicRole(role))
        return trunk, tuple(nics)

    def _functions(self, cluster: Cluster) -> tuple[NicRole, ...]:
        """The SR-IOV NIC, after those of the package."""
        given = self._table.devices.sriov
        if given is None:
            return ()
        if self._table.networks.control_data is not None:
            self._complain("devices.sriov", "the package has a NIC for control-data already")
        return (NicRole("control-data", self._network("control-data", given, cluster), sriov=True),)

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


def _given_networks(table: DeploymentTable) -> dict[Role, str | OverlayTable]:
    networks = table.networks
    given: dict[Role, str | OverlayTable | None] = {
        "management": networks.management,
        "fabric": networks.fabric,
        "control-data": networks.control_data,
        "overlay": networks.overlay,
    }
    return {role: network for role, network in given.items() if network is not None}


def _place(role: str, order: tuple[str, ...]) -> int:
    return order.index(role) if role in order else len(order)


def _misfits(name: str, table: DeploymentTable, package: PackageFacts) -> list[str]:
    """Where the deployment and its package do not fit together."""
    given = set(_given_networks(table))
    problems = [
        f"{name}.networks.{role}: package {package.ref.version} has a NIC for it, name its network"
        for role in package.roles
        if role not in given
    ]
    problems += [
        f"{name}.networks.{role}: package {package.ref.version} has no NIC for it"
        for role in sorted(given - set(package.roles))
    ]
    if table.size and table.size not in package.sizes:
        problems.append(f"{name}.size: {_unknown('size', table.size, package.sizes)}")
    return problems


def _unknown(kind: str, given: str, known: Iterable[str]) -> str:
    names = sorted(set(known))
    near = difflib.get_close_matches(given, names, n=1)
    if near:
        return f"no {kind} {given!r}, did you mean {near[0]!r}?"
    return f"no {kind} {given!r}" + (f"; there is {', '.join(names[:6])}" if names else "; there is none")


def _rollout(table: RolloutTable) -> RolloutPolicy:
    return RolloutPolicy(**table.model_dump(exclude={"drops"}), drops=None if table.drops == "any" else table.drops)
