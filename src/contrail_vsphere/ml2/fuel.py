"""From Fuel's astute data to the files of a controller; pure.

A Fuel environment describes its vCenters once per nova-compute: ``vcenter.computes``. Here they are put together by
vCenter: one settings file and one worker for each, with all its clusters. The plugin's deployment scripts call
``contrail-vsphere neutron fuel`` and decide nothing themselves.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from contrail_vsphere.ml2.pacemaker import Workers, crmsh
from contrail_vsphere.model.errors import SettingsError

PLUGIN = "contrail-vsphere-dvs"
SETTINGS_DIR = "/etc/neutron/vmware-dvs"
DRIVER_FILE = "/etc/neutron/plugins/ml2/vmware_dvs.ini"
RUN_DIR = "/run/vmware-dvs"
"""Where the ResourceAgent keeps pid and heartbeat of the workers on its node."""
RESOURCES_FILE = f"{SETTINGS_DIR}/pacemaker.crm"
HIERA_FILE = f"/etc/hiera/plugins/{PLUGIN}.yaml"
NAME_LIMIT = 64
"""Most characters of a vCenter's name: of its column in the driver's tables."""
SECRET, PUBLIC = 0o640, 0o644
"""Modes; what is secret belongs to root and the group ``neutron``."""


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """Text of one file."""

    path: str
    text: str = field(repr=False)
    mode: int = PUBLIC


@dataclass(frozen=True, slots=True)
class Rendered:
    """Everything that a controller gets; nothing when the plugin is not switched on."""

    files: tuple[RenderedFile, ...] = ()
    vcenters: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _VCenter:
    name: str
    host: str
    user: str
    password: str = field(repr=False)
    insecure: bool
    ca: str
    hosts: Mapping[str, str]
    """nova host -> cluster."""


def render(astute: Mapping[str, Any]) -> Rendered:
    """SettingsError for what is missing or does not fit together, naming the setting as Fuel's page does."""
    options = astute.get(PLUGIN)
    if not isinstance(options, Mapping) or not options.get("vmware_dvs_enabled", True):
        return Rendered()
    if not astute.get("use_vcenter"):
        raise SettingsError(f"{PLUGIN} is on and the environment has no vCenter", hint="Settings > VMware")
    vcenters = _vcenters(astute)
    switches = _switches(str(options.get("vmware_dvs_net_maps", "")), vcenters)
    physnet = _physical_network(astute)
    nodes = tuple(
        sorted(node for node, about in _nodes(astute).items() if {"controller", "primary-controller"} & about)
    )
    files = [
        RenderedFile(DRIVER_FILE, _driver(astute, options, vcenters, switches, physnet)),
        RenderedFile(HIERA_FILE, _hiera()),
        RenderedFile(
            RESOURCES_FILE,
            crmsh(Workers([each.name for each in vcenters], nodes, {"settings": f"{SETTINGS_DIR}/{{vcenter}}.ini"})),
        ),
    ]
    for each in vcenters:
        settings, secret, ca = worker_files(each.name)
        files.append(RenderedFile(settings, _worker(each), SECRET))
        files.append(RenderedFile(secret, each.password + "\n", SECRET))
        if each.ca:
            files.append(RenderedFile(ca, each.ca))
    return Rendered(tuple(files), tuple(each.name for each in vcenters), nodes)


def worker_files(vcenter: str) -> tuple[str, str, str]:
    """Settings, password and CA (where there is one) of a vCenter's worker."""
    return (
        f"{SETTINGS_DIR}/{vcenter}.ini",
        f"{SETTINGS_DIR}/{vcenter}.password",
        f"{SETTINGS_DIR}/{vcenter}-ca.pem",
    )


def vcenter_name(host: str) -> str:
    """Of the vCenter on a host, and of nothing else: one that comes or goes renames no other, nor does their order.

    It becomes part of file names, of resources' ids and of sections of settings, and keeps to what all of them take.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]*", host):
        raise SettingsError(f"vcenter.computes: vc_host '{host}' is no host name or address", hint="Settings > VMware")
    name = host.lower().replace(":", "-")
    if len(name) <= NAME_LIMIT:
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: NAME_LIMIT - 1 - len(mark)]}-{mark}"


def _vcenters(astute: Mapping[str, Any]) -> tuple[_VCenter, ...]:
    """Named by their hosts, in the order of their names."""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for compute in _mapping(astute.get("vcenter")).get("computes", ()):
        grouped.setdefault(vcenter_name(_text(compute, "vc_host")), []).append(compute)
    if not grouped:
        raise SettingsError("vcenter.computes is empty", hint="Settings > VMware")
    found = []
    for name, computes in sorted(grouped.items()):
        first = computes[0]
        host = _text(first, "vc_host")
        logins = {(_text(each, "vc_user"), _text(each, "vc_password")) for each in computes}
        if len(logins) > 1:
            raise SettingsError(
                f"the clusters of {host} are reached with {len(logins)} accounts", hint="a worker has one account"
            )
        found.append(
            _VCenter(
                name=name,
                host=host,
                user=_text(first, "vc_user"),
                password=_text(first, "vc_password"),
                insecure=bool(first.get("vc_insecure", False)),
                ca=str(_mapping(first.get("vc_ca_file")).get("content") or ""),
                hosts={
                    f"{_text(each, 'availability_zone_name')}-{_text(each, 'service_name')}": _text(each, "vc_cluster")
                    for each in computes
                },
            )
        )
    return tuple(found)


def _switches(text: str, vcenters: tuple[_VCenter, ...]) -> Mapping[str, str]:
    """Cluster -> dvSwitch, of lines ``Cluster:dvSwitch``; a single name is every cluster's."""
    clusters = sorted({cluster for each in vcenters for cluster in each.hosts.values()})
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and ":" not in lines[0]:
        return dict.fromkeys(clusters, lines[0])
    found: dict[str, str] = {}
    for line in lines:
        cluster, _, rest = line.partition(":")
        switch, _, uplinks = rest.partition(":")
        if not cluster or not switch:
            raise SettingsError(f"'{line}' is not Cluster:dvSwitch", hint="dvSwitches of the clusters, one a line")
        if uplinks:
            raise SettingsError(
                f"'{line}' names uplinks",
                hint="uplinks are set on the dvSwitch; write Cluster:dvSwitch",
            )
        found[cluster.strip()] = switch.strip()
    missing = [cluster for cluster in clusters if cluster not in found]
    if missing:
        raise SettingsError(f"no dvSwitch is named for {', '.join(missing)}", hint="one line Cluster:dvSwitch for each")
    return found


def _physical_network(astute: Mapping[str, Any]) -> str:
    """Of the tenants' network: ``neutron_config`` since 8.0, ``quantum_settings`` before."""
    neutron = _mapping(astute.get("neutron_config") or astute.get("quantum_settings"))
    networks = _mapping(neutron.get("predefined_networks"))
    for name in ("admin_internal_net", "net04"):
        physnet = _mapping(_mapping(networks.get(name)).get("L2")).get("physnet")
        if physnet:
            return str(physnet)
    carried = sorted(_mapping(_mapping(neutron.get("L2")).get("phys_nets")))
    tenants = [name for name in carried if name != "physnet1"] or carried  # physnet1 is the external one
    if not tenants:
        raise SettingsError("the environment has no VLAN network", hint="choose Neutron with VLAN segmentation")
    return str(tenants[0])


def _driver(
    astute: Mapping[str, Any],
    options: Mapping[str, Any],
    vcenters: tuple[_VCenter, ...],
    switches: Mapping[str, str],
    physnet: str,
) -> str:
    if not astute.get("deployment_id"):
        raise SettingsError("the astute data has no deployment_id", hint="it marks this environment's port groups")
    lines = [
        "[vmware_dvs]",
        f"vcenters = {', '.join(each.name for each in vcenters)}",
        f"cloud_id = fuel-{astute['deployment_id']}",
        f"firewall = {str(bool(options.get('vmware_dvs_fw_driver', True))).lower()}",
    ]
    for each in vcenters:
        hosts = ", ".join(f"{host}:{cluster}" for host, cluster in each.hosts.items())
        maps = ", ".join(f"{cluster}/{physnet}:{switches[cluster]}" for cluster in sorted(set(each.hosts.values())))
        lines += ["", f"[vmware_dvs:{each.name}]", f"host_map = {hosts}", f"switch_map = {maps}"]
    return "\n".join(lines) + "\n"


def _worker(vcenter: _VCenter) -> str:
    _, secret, ca = worker_files(vcenter.name)
    lines = [
        "[ml2_vmware]",
        f"vcenter = {vcenter.name}",
        f"vsphere_hostname = {vcenter.host}",
        f"vsphere_login = {vcenter.user}",
        f"vsphere_password_file = {secret}",
    ]
    if vcenter.ca:
        lines.append(f"ca_file = {ca}")
    elif vcenter.insecure:
        lines.append("# 'Bypass certificate verification' is not taken over; set ca_file or thumbprint here.")
    return "\n".join(lines) + "\n"


def _hiera() -> str:
    """Level of Fuel's own data, which its Neutron manifests read."""
    return (
        "neutron_config:\n  L2:\n    mechanism_drivers: openvswitch,l2population,vmware_dvs\n"
        f"neutron_server_config_files:\n  - {DRIVER_FILE}\n"
    )


def _nodes(astute: Mapping[str, Any]) -> dict[str, set[str]]:
    """Node name in Pacemaker (its FQDN) -> roles."""
    found: dict[str, set[str]] = {}
    metadata = _mapping(_mapping(astute.get("network_metadata")).get("nodes"))
    for node in metadata.values():
        found.setdefault(str(node.get("fqdn", "")), set()).update(node.get("node_roles", ()))
    for node in astute.get("nodes", ()):
        found.setdefault(str(node.get("fqdn", "")), set()).add(str(node.get("role", "")))
    found.pop("", None)
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(compute: Mapping[str, Any], name: str) -> str:
    value = compute.get(name)
    if not isinstance(value, str) or not value or "\n" in value:
        raise SettingsError(f"vcenter.computes: {name} is missing or not one line", hint="Settings > VMware")
    return value
