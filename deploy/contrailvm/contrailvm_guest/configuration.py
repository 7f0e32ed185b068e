"""The host configuration that the manager gives, as the guest reads it, and which NIC plays which role.

The format is the manager's ``HostConfiguration``. Unknown fields are passed over (a newer manager may add some); a
higher ``version`` is refused, because there the meaning of known fields may have changed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from math import isfinite
from typing import Any

from contrailvm_guest.effects import LinuxNic
from contrailvm_guest.ovf_environment import Adapter

VERSION = 1

_UNIT = re.compile(r"[A-Za-z0-9@_.-]{1,128}")
_WORD = re.compile(r"[\x21-\x7e]{1,255}")
"""Values become words of an ini file: one printable word each, so none can start a line or a section of its own."""
_ROLES = ("management", "underlay", "overlay")
_TABLES = ("vcenter", "contrail", "plugin")
_KEY = re.compile(r"[a-z][a-z0-9_]{0,63}")
_TEXT = re.compile(r"[\x20-\x7e]{0,4096}")
_LONGEST = 64 * 1024


class BadConfiguration(Exception):  # noqa: N818
    """The manager's document is not a host configuration that this program understands."""


class RolesNotFound(Exception):  # noqa: N818
    """The NICs of some role are not there (yet), or not to be told apart."""


@dataclass(frozen=True, slots=True)
class RoleRule:
    """How to find the NIC of a role; the first of MAC, unit and network that is given decides."""

    role: str
    mac: str = ""
    unit: int | None = None
    network: str = ""


@dataclass(frozen=True, slots=True)
class PluginConfiguration:
    """What the plugin of this host is to be told: settings by table and key, CA certificates (PEM) by table."""

    settings: dict[str, dict[str, str | int | float | bool]]
    authorities: dict[str, str]


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the vRouter agent of this host is to be told."""

    revision: str
    roles: tuple[RoleRule, ...]
    control_nodes: tuple[str, ...]
    vrouter_name: str
    dns_servers: tuple[str, ...]
    collectors: tuple[str, ...]
    address: str
    gateway: str
    mode: str
    log_level: str
    services: tuple[str, ...]
    host_name: str = ""
    plugin: PluginConfiguration | None = None
    authority: str = ""
    """Digest of the CA that certifies guests now; empty when the manager is too old to say."""


def read_configuration(document: Any) -> Configuration:
    """Read a parsed JSON document; BadConfiguration names the field that is wrong."""
    if not isinstance(document, dict):
        raise BadConfiguration("the host configuration is not an object")
    version = document.get("version")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise BadConfiguration(f"the host configuration has version {version!r}; this program reads up to {VERSION}")
    services = _words(document, "services")
    if not services or not all(_UNIT.fullmatch(name) for name in services):
        raise BadConfiguration("services must name systemd units")
    control_nodes = _words(document, "control_nodes")
    if not control_nodes:
        raise BadConfiguration("control_nodes is empty")
    mode = _word(document, "mode") or "vcenter"
    if mode not in {"vcenter", "esxi_neutron"}:
        raise BadConfiguration("mode must be vcenter or esxi_neutron")
    return Configuration(
        revision=_word(document, "revision"),
        roles=_roles(document.get("nics")),
        control_nodes=control_nodes,
        vrouter_name=_word(document, "vrouter_name"),
        dns_servers=_words(document, "dns_servers"),
        collectors=_words(document, "collectors"),
        address=_word(document, "address"),
        gateway=_word(document, "gateway"),
        mode=mode,
        log_level=_word(document, "log_level") or "SYS_NOTICE",
        services=services,
        host_name=_word(document, "host_name"),
        plugin=_plugin(document.get("plugin")),
        authority=_word(document, "authority"),
    )


def parse_configuration(body: bytes) -> Configuration:
    """Read a JSON text; BadConfiguration when it is none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise BadConfiguration("the host configuration is not JSON") from None
    return read_configuration(document)


def find_roles(
    rules: tuple[RoleRule, ...], adapters: tuple[Adapter, ...], nics: tuple[LinuxNic, ...]
) -> dict[str, str]:
    """Role -> interface name.

    The OVF environment's adapters carry unit and network, the kernel's interfaces the names; the MAC joins the two.
    Raises RolesNotFound, with what was seen, when a role has no NIC, more than one, or shares one with another role.
    """
    names = {nic.mac.lower(): nic.name for nic in nics}
    found: dict[str, str] = {}
    for rule in rules:
        macs = _candidates(rule, adapters, names)
        if len(macs) != 1 or macs[0] not in names:
            raise RolesNotFound(f"no single NIC for role {rule.role} ({_seen(adapters, nics)})")
        if names[macs[0]] in found.values():
            raise RolesNotFound(f"role {rule.role} would share a NIC with another role ({_seen(adapters, nics)})")
        found[rule.role] = names[macs[0]]
    return found


def _candidates(rule: RoleRule, adapters: tuple[Adapter, ...], names: dict[str, str]) -> list[str]:
    if rule.mac:
        return [rule.mac] if rule.mac in names else []
    if rule.unit is not None:
        return [adapter.mac for adapter in adapters if adapter.unit == rule.unit]
    return [adapter.mac for adapter in adapters if rule.network and adapter.network == rule.network]


def _seen(adapters: tuple[Adapter, ...], nics: tuple[LinuxNic, ...]) -> str:
    told = ", ".join(f"{a.mac} unit {a.unit} on {a.network!r}" for a in adapters) or "none"
    return f"vSphere tells of {told}; the kernel has {', '.join(f'{n.name} {n.mac}' for n in nics) or 'none'}"


def _roles(value: Any) -> tuple[RoleRule, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= 10:
        raise BadConfiguration("nics must list one to ten NICs")
    rules = []
    for item in value:
        if not isinstance(item, dict) or item.get("role") not in _ROLES:
            raise BadConfiguration(f"every entry of nics needs a role out of {', '.join(_ROLES)}")
        unit, mac, network = item.get("unit"), item.get("mac", ""), item.get("network", "")
        if not (unit is None or (isinstance(unit, int) and not isinstance(unit, bool))):
            raise BadConfiguration("unit of a NIC must be a number")
        if not isinstance(mac, str) or not isinstance(network, str):
            raise BadConfiguration("mac and network of a NIC must be text")
        rules.append(RoleRule(role=item["role"], mac=mac.lower(), unit=unit, network=network))
    names = [rule.role for rule in rules]
    if len(set(names)) != len(names):
        raise BadConfiguration("a role is given to two NICs")
    if "overlay" not in names:
        raise BadConfiguration("no NIC has the role overlay: the vRouter agent cannot run without it")
    return tuple(rules)


def _plugin(value: Any) -> PluginConfiguration | None:
    """Only the tables, and only the shapes, that the plugin's settings have: it checks the keys itself."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise BadConfiguration("plugin must be an object")
    settings, authorities = value.get("settings"), value.get("authorities", {})
    if not isinstance(settings, dict) or set(settings) != set(_TABLES):
        raise BadConfiguration(f"plugin.settings must have the tables {', '.join(_TABLES)}")
    if not isinstance(authorities, dict) or not set(authorities) <= set(_TABLES):
        raise BadConfiguration("plugin.authorities must name tables of plugin.settings")
    if not all(isinstance(pem, str) and pem.isascii() and len(pem) < _LONGEST for pem in authorities.values()):
        raise BadConfiguration("plugin.authorities must hold certificates (PEM)")
    return PluginConfiguration({name: _table(name, table) for name, table in settings.items()}, dict(authorities))


def _table(name: str, table: Any) -> dict[str, str | int | float | bool]:
    if not isinstance(table, dict) or len(table) > 64 or not all(_KEY.fullmatch(key) for key in table):
        raise BadConfiguration(f"plugin.settings.{name} must be a table of settings")
    for key, value in table.items():
        good = _TEXT.fullmatch(value) if isinstance(value, str) else isinstance(value, int | float) and isfinite(value)
        if not good:
            raise BadConfiguration(f"plugin.settings.{name}.{key} must be a number, true, false or a line of text")
    return table


def _word(document: dict[str, Any], name: str) -> str:
    value = document.get(name, "")
    if value == "":
        return ""
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise BadConfiguration(f"{name} must be one printable word")
    return value


def _words(document: dict[str, Any], name: str) -> tuple[str, ...]:
    value = document.get(name, [])
    if not isinstance(value, list) or len(value) > 64:
        raise BadConfiguration(f"{name} must be a list")
    if not all(isinstance(item, str) and _WORD.fullmatch(item) for item in value):
        raise BadConfiguration(f"{name} must hold printable words")
    return tuple(value)
