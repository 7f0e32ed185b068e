"""Neutron settings of ours, for oslo.config: what every API process reads, and what only a worker reads.

``[vmware_dvs]`` and a ``[vmware_dvs:NAME]`` for each vCenter are read by all; they hold no secrets. A worker is told by
a file of its own (``vC1.ini``) which vCenter is its own and how to log in there; its option names are those of the
Mirantis driver, so that old files load.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oslo_config import cfg

from contrail_vsphere.ml2.placement import Placement, VCenterMaps, placement
from contrail_vsphere.model.errors import SettingsError

GROUP = "vmware_dvs"
LOGIN_GROUP = "ml2_vmware"

DRIVER_OPTIONS = [
    cfg.ListOpt("vcenters", default=[], help="Names of the vCenters; each has a group [vmware_dvs:NAME]."),
    cfg.StrOpt(
        "cloud_id",
        default="openstack",
        help="Tells this cloud's port groups from those of another on the same vCenter. Must never change.",
    ),
    cfg.StrOpt(
        "binding_mode",
        default="portgroup",
        choices=[
            ("portgroup", "a VM's card takes any port of the port group"),
            ("key", "a port is booked by its key before the VM exists, from a pool that the worker keeps"),
        ],
        help="How a Neutron port becomes a DVPort.",
    ),
    cfg.BoolOpt("firewall", default=True, help="Write security groups as traffic filter rules."),
    cfg.StrOpt(
        "icmp_policy",
        default="widen",
        choices=[
            ("widen", "allow all of ICMP where a rule names a type"),
            ("refuse", "leave such a rule out, so that nothing it names passes"),
        ],
        help="A switch cannot tell ICMP types apart.",
    ),
    cfg.IntOpt("rules_per_port", default=512, min=16, help="A port that needs more filter rules is closed instead."),
    cfg.StrOpt(
        "mtu_policy",
        default="warn",
        choices=[
            ("warn", "say so in the log and in `neutron status`"),
            ("refuse", "make no port group for such a network"),
        ],
        help="What becomes of a network whose MTU is larger than its switch's.",
    ),
    cfg.StrOpt(
        "ephemeral_ports",
        default="32768-65535",
        help="Source ports of those who begin a connection; answers to other ports do not pass a stateless filter.",
    ),
]

VCENTER_OPTIONS = [
    cfg.DictOpt("host_map", default={}, help="Neutron host (nova's [DEFAULT] host) to cluster: host:cluster, ..."),
    cfg.ListOpt("switch_map", default=[], help="physnet:switch, or cluster/physnet:switch, ..."),
    cfg.BoolOpt("several_switches", default=False, help="Allow a cluster several switches."),
    cfg.StrOpt(
        "binding_mode",
        default="default",
        choices=[
            ("default", "as [vmware_dvs] says"),
            ("portgroup", "a card takes any port"),
            ("key", "ports are booked by key"),
        ],
        help="How a Neutron port becomes a DVPort of this vCenter.",
    ),
    cfg.StrOpt(
        "firewall",
        default="default",
        choices=[("default", "as [vmware_dvs] says"), ("on", "filter rules"), ("off", "none, everything passes")],
        help="Security groups on this vCenter: switches in network offload mode, and some versions, cannot filter.",
    ),
]

WORKER_OPTIONS = [
    cfg.StrOpt("vcenter", default="", help="Which of [vmware_dvs] vcenters this worker serves."),
    cfg.StrOpt("vsphere_hostname", default="", help="Host name of vCenter."),
    cfg.PortOpt("host_port", default=443, help="HTTPS port of vCenter."),
    cfg.StrOpt("vsphere_login", default="", help="Account of the worker."),
    cfg.StrOpt("vsphere_password", default="", secret=True, help="Its password; better in vsphere_password_file."),
    cfg.StrOpt("vsphere_password_file", default="", help="File whose first line is the password."),
    cfg.StrOpt("ca_file", default="", help="CA that vCenter's certificate is verified with; default: the system's."),
    cfg.StrOpt("thumbprint", default="", help="SHA-256 of vCenter's certificate, instead of a CA."),
    cfg.IntOpt("lease_seconds", default=15, min=3, help="A worker that is not heard for so long is replaced."),
    cfg.IntOpt("reconcile_interval", default=600, min=10, help="Seconds between comparisons of everything."),
    cfg.IntOpt(
        "orphan_seconds",
        default=3600,
        min=0,
        help="Seconds that a port group of ours is kept whose network Neutron does not know, and did not delete.",
    ),
    cfg.IntOpt("free_ports", default=8, min=1, help="Booked ports kept free in each port group (binding_mode = key)."),
]


@dataclass(frozen=True, slots=True)
class DriverSettings:
    """What API processes go by."""

    placement: Placement
    cloud_id: str = "openstack"
    icmp_policy: str = "widen"
    rules_per_port: int = 512
    mtu_policy: str = "warn"
    unfiltered: frozenset[str] = frozenset()
    """vCenters without a firewall."""
    by_key: frozenset[str] = frozenset()
    """vCenters whose ports are booked by key."""
    ephemeral: tuple[int, int] = (32768, 65535)

    def filtered(self, vcenter: str) -> bool:
        """Whether security groups become filter rules there."""
        return vcenter not in self.unfiltered

    def booked(self, vcenter: str) -> bool:
        """Whether ports are booked there before their VMs exist."""
        return vcenter in self.by_key


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker goes by, beyond the driver's."""

    vcenter: str
    host: str
    port: int
    username: str
    password: str = field(repr=False)
    ca_file: str = ""
    thumbprint: str = ""
    lease_seconds: int = 15
    reconcile_interval: int = 600
    free_ports: int = 8
    orphan_seconds: int = 3600


def group_of(vcenter: str) -> str:
    """Name of a vCenter's group."""
    return f"{GROUP}:{vcenter}"


def list_opts() -> list[tuple[str, list[Any]]]:
    """For ``oslo-config-generator --namespace contrail_vsphere``."""
    return [(GROUP, DRIVER_OPTIONS), (group_of("NAME"), VCENTER_OPTIONS), (LOGIN_GROUP, WORKER_OPTIONS)]


def driver_settings(conf: Any) -> DriverSettings:
    """Read them. SettingsError for what does not fit together."""
    conf.register_opts(DRIVER_OPTIONS, group=GROUP)
    ours = conf[GROUP]
    maps = []
    unfiltered, by_key = set(), set()
    for name in ours.vcenters:
        conf.register_opts(VCENTER_OPTIONS, group=group_of(name))
        each = conf[group_of(name)]
        if not each.host_map:
            raise SettingsError(f"[{group_of(name)}] has no host_map", hint="host_map = compute-host:cluster")
        if not each.switch_map:
            raise SettingsError(f"[{group_of(name)}] has no switch_map", hint="switch_map = physnet:switch")
        maps.append(VCenterMaps(name, each.host_map, each.switch_map, each.several_switches))
        if each.firewall == "off" or (each.firewall == "default" and not ours.firewall):
            unfiltered.add(name)
        if each.binding_mode == "key" or (each.binding_mode == "default" and ours.binding_mode == "key"):
            by_key.add(name)
    return DriverSettings(
        placement=placement(maps),
        cloud_id=ours.cloud_id,
        icmp_policy=ours.icmp_policy,
        rules_per_port=ours.rules_per_port,
        mtu_policy=ours.mtu_policy,
        unfiltered=frozenset(unfiltered),
        by_key=frozenset(by_key),
        ephemeral=_range(ours.ephemeral_ports),
    )


def worker_settings(conf: Any) -> WorkerSettings:
    """Read a worker's own. SettingsError for what is missing."""
    conf.register_opts(WORKER_OPTIONS, group=LOGIN_GROUP)
    ours = conf[LOGIN_GROUP]
    known = conf[GROUP].vcenters
    if ours.vcenter not in known:
        raise SettingsError(
            f"[{LOGIN_GROUP}] vcenter is '{ours.vcenter}', which [{GROUP}] vcenters does not name",
            hint=f"one of: {', '.join(known) or 'none'}; pass the worker its own --config-file",
        )
    for name in ("vsphere_hostname", "vsphere_login"):
        if not getattr(ours, name):
            raise SettingsError(f"[{LOGIN_GROUP}] {name} is not set")
    return WorkerSettings(
        vcenter=ours.vcenter,
        host=ours.vsphere_hostname,
        port=ours.host_port,
        username=ours.vsphere_login,
        password=_password(ours),
        ca_file=ours.ca_file,
        thumbprint=ours.thumbprint,
        lease_seconds=ours.lease_seconds,
        reconcile_interval=ours.reconcile_interval,
        free_ports=ours.free_ports,
        orphan_seconds=ours.orphan_seconds,
    )


def worker_vcenter() -> str:
    """Which vCenter a worker's file is for; SettingsError when it names none."""
    cfg.CONF.register_opts(WORKER_OPTIONS, group=LOGIN_GROUP)
    name = str(cfg.CONF[LOGIN_GROUP].vcenter)
    if name not in cfg.CONF[GROUP].vcenters:
        raise SettingsError(
            f"[{LOGIN_GROUP}] vcenter is '{name}', which [{GROUP}] vcenters does not name",
            hint="pass the vCenter's own --config-file",
        )
    return name


def _password(ours: Any) -> str:
    if ours.vsphere_password:
        return str(ours.vsphere_password)
    if not ours.vsphere_password_file:
        raise SettingsError(f"[{LOGIN_GROUP}] has no password", hint="set vsphere_password_file")
    try:
        lines = Path(ours.vsphere_password_file).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SettingsError(f"{ours.vsphere_password_file}: {error.strerror}") from error
    if not lines or not lines[0]:
        raise SettingsError(f"{ours.vsphere_password_file} is empty")
    return lines[0]


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not (first.isdigit() and last.isdigit() and int(first) <= int(last) <= 65535):
        raise SettingsError(f"[{GROUP}] ephemeral_ports is '{text}'", hint="write first-last, such as 32768-65535")
    return int(first), int(last)
