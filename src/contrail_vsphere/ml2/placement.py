"""Which vCenter, cluster and switch a port belongs to: decided from settings alone, without asking anybody.

A nova-compute drives exactly one cluster of one vCenter, therefore ``binding:host_id`` leads to a cluster; cluster and
physical network lead to a switch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from contrail_vsphere.model.errors import SettingsError

ANY_CLUSTER = ""


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster of a vCenter."""

    vcenter: str
    cluster: str


@dataclass(frozen=True, slots=True)
class Switch:
    """A distributed switch of a vCenter, by name or by inventory path."""

    vcenter: str
    name: str


@dataclass(frozen=True, slots=True)
class Placement:
    """The maps of all vCenters together."""

    sites: Mapping[str, Site] = field(default_factory=dict)
    """Neutron host -> where it is."""
    switches: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    """(vCenter, cluster or ``ANY_CLUSTER``, physical network) -> switch."""

    def site(self, host: str) -> Site | None:
        """None for a host that is not ours: other drivers may bind it."""
        return self.sites.get(host)

    def switch(self, site: Site, physical_network: str) -> Switch | None:
        """The switch that carries this physical network in this cluster."""
        for cluster in (site.cluster, ANY_CLUSTER):
            name = self.switches.get((site.vcenter, cluster, physical_network))
            if name is not None:
                return Switch(site.vcenter, name)
        return None

    def carriers(self, physical_network: str) -> frozenset[Switch]:
        """Every switch of every vCenter that carries this physical network."""
        return frozenset(
            Switch(vcenter, name)
            for (vcenter, _, physnet), name in self.switches.items()
            if physnet == physical_network
        )

    def physical_networks(self, host: str) -> frozenset[str]:
        """What a host has access to; empty for a host that is not ours."""
        site = self.site(host)
        if site is None:
            return frozenset()
        return frozenset(
            physnet
            for vcenter, cluster, physnet in self.switches
            if vcenter == site.vcenter and cluster in (site.cluster, ANY_CLUSTER)
        )


@dataclass(frozen=True, slots=True)
class VCenterMaps:
    """One vCenter's part of the settings."""

    name: str
    hosts: Mapping[str, str]
    """Neutron host -> cluster."""
    switches: Iterable[str]
    """``physnet:switch`` for all clusters, or ``cluster/physnet:switch``."""
    several_switches: bool = False
    """Whether a cluster may have several switches."""


def placement(vcenters: Iterable[VCenterMaps]) -> Placement:
    """Put the maps together. SettingsError where two vCenters claim a host, or a line cannot be read."""
    sites: dict[str, Site] = {}
    switches: dict[tuple[str, str, str], str] = {}
    for vcenter in vcenters:
        for host, cluster in vcenter.hosts.items():
            if host in sites:
                raise SettingsError(
                    f"host {host} is mapped by {sites[host].vcenter} and {vcenter.name}",
                    hint="a nova-compute drives one cluster: name each host once in host_map",
                )
            sites[host] = Site(vcenter.name, cluster)
        for line in vcenter.switches:
            key, name = _switch_line(vcenter.name, line)
            if key in switches:
                raise SettingsError(
                    f"switch_map of {vcenter.name} has two switches for {key[2]}: {switches[key]}, {name}"
                )
            switches[key] = name
        if not vcenter.several_switches:
            _one_switch_per_cluster(vcenter.name, switches)
    return Placement(sites, switches)


def _switch_line(vcenter: str, line: str) -> tuple[tuple[str, str, str], str]:
    left, separator, name = line.partition(":")
    cluster, slash, physnet = left.rpartition("/")
    if not (separator and physnet.strip() and name.strip()) or (slash and not cluster.strip()):
        raise SettingsError(
            f"switch_map of {vcenter}: '{line}' cannot be read", hint="write physnet:switch or cluster/physnet:switch"
        )
    return (vcenter, cluster.strip(), physnet.strip()), name.strip()


def _one_switch_per_cluster(vcenter: str, switches: Mapping[tuple[str, str, str], str]) -> None:
    found: dict[str, set[str]] = {}
    for (owner, cluster, _), name in switches.items():
        if owner == vcenter:
            found.setdefault(cluster, set()).add(name)
    for cluster, names in found.items():
        everywhere = names | found.get(ANY_CLUSTER, set())
        if len(everywhere) > 1:
            where = f"cluster {cluster}" if cluster else "each cluster"
            raise SettingsError(
                f"switch_map of {vcenter} gives {where} {len(everywhere)} switches: {', '.join(sorted(everywhere))}",
                hint="one switch per cluster is the rule; set several_switches = true where it is meant",
            )
