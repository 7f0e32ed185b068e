"""From parameters given in many places to one effective configuration per server and role. Pure.

Layers, the later wins: role default < product default (facts of the cluster) < cluster, all roles < cluster, this role
< tag < server, all roles < server, this role < run override. Objects merge key by key, lists replace, an explicit null
removes what lower layers gave. Whether a value is set is what counts, never whether it is truthy: false, 0 and the
empty text are values. ``Effective`` remembers where each value came from and what it overrode.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from contrail_vsphere.servermanager.catalogue import Role
from contrail_vsphere.servermanager.vault import is_reference, masked

ALL_ROLES: Final = "*"
Sections = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Layer:
    """Values of one place: role, or ``*`` for every role that has the section -> section -> option -> value."""

    source: str
    values: Mapping[str, Sections]

    def of(self, role: str) -> Iterable[tuple[str, Sections]]:
        """What it says to a role, the general first."""
        for name in (ALL_ROLES, role):
            if name in self.values:
                yield f"{self.source}.{'global' if name == ALL_ROLES else name}", self.values[name]


@dataclass(frozen=True, slots=True)
class Setting:
    """One effective value with its history."""

    value: Any
    source: str
    overrode: tuple[tuple[str, Any], ...] = ()
    """(source, value) of what lower layers said, the lowest first."""


@dataclass(frozen=True, slots=True)
class Effective:
    """A role's configuration on one server."""

    role: Role
    settings: Mapping[str, Mapping[str, Setting]]
    problems: tuple[str, ...] = ()
    """What keeps it from being used: wrong values, required options that nobody set."""

    def value(self, section: str, option: str) -> Any:
        """The value; None where the option is not set."""
        found = self.settings.get(section, {}).get(option)
        return found.value if found is not None else None

    def explain(self) -> list[dict[str, Any]]:
        """One row per option: value, where from, what it overrode; secrets masked."""
        rows = []
        for section, options in self.settings.items():
            for name, setting in options.items():
                secret = self.role.is_secret(section, name)
                rows.append(
                    {
                        "section": section,
                        "option": name,
                        "value": _shown(setting.value, secret=secret),
                        "source": setting.source,
                        "overrode": [
                            {"source": source, "value": _shown(value, secret=secret)}
                            for source, value in setting.overrode
                        ],
                    }
                )
        return rows


@dataclass(frozen=True, slots=True)
class Member:
    """A server as the facts of its cluster see it."""

    id: str
    host_name: str
    address: str
    """On the control and data network where it has one, else the management address."""
    roles: frozenset[str]
    components: frozenset[str] = frozenset({"config", "control", "webui"})
    """Which parts of the controller role it runs."""
    esxi_host: str = ""
    """The ESXi host that this server is the ContrailVM of."""


def facts(members: Sequence[Member], own: str) -> dict[str, Any]:
    """What the cluster's layout says, by the names that role data uses in ``from``; ``own`` is a member's id.

    A fact that the layout does not give (no controller, say) is absent.
    """
    ordered = sorted(members, key=lambda member: member.id)

    def addresses(role: str, component: str = "") -> list[str]:
        return [m.address for m in ordered if role in m.roles and (not component or component in m.components)]

    me = next(member for member in ordered if member.id == own)
    balancers = addresses("lb")
    lists = {
        "controller_ips": addresses("controller"),
        "config_ips": addresses("controller", "config"),
        "webui_ips": addresses("controller", "webui"),
        "analytics_ips": addresses("analytics"),
        "analyticsdb_ips": addresses("analyticsdb"),
        "agent_ips": addresses("agent"),
        "esx_to_compute": [f"{m.esxi_host}:{m.address}" for m in ordered if m.esxi_host],
    }
    found: dict[str, Any] = {name: value for name, value in lists.items() if value}
    firsts = {
        "controller_ip": balancers or lists["controller_ips"],
        "analytics_ip": balancers or lists["analytics_ips"],
        "webui_ip": lists["webui_ips"],
        "vcenter_plugin_ip": addresses("vcenter-plugin"),
    }
    found.update({name: value[0] for name, value in firsts.items() if value})
    found["own_ip"] = me.address
    found["hosts_entries"] = {member.host_name: member.address for member in ordered}
    if balancers:
        found["external_lb"] = True
    if "contrailvm-manager" in me.roles:
        found["own_manager_control"] = "127.0.0.1:8080"
        found["own_manager_tokens"] = "/var/lib/contrail-vsphere/control.tokens"
    if "controller" in me.roles:
        found.update({f"has_{part}": part in me.components for part in ("config", "control", "webui")})
    host = f"[{me.address}]" if ":" in me.address else me.address
    controllers = [f"[{each}]" if ":" in each else each for each in lists["controller_ips"]]
    if controllers:
        found["api_urls"] = ", ".join(f"http://{each}:8082" for each in controllers)
        found["zookeeper_servers"] = ",".join(f"{each}:2181" for each in controllers)
    for port in (8443, 8444):
        found[f"own_{port}"] = f"{host}:{port}"
        found[f"url_{port}"] = f"https://{host}:{port}"
    return found


def resolve(role: Role, *, facts: Mapping[str, Any], layers: Sequence[Layer]) -> Effective:
    """The role's effective configuration; ``layers`` from the lowest to the highest."""
    building = {name: {key: _Building() for key in section.options} for name, section in role.sections.items()}
    problems: list[str] = []
    for name, section in role.sections.items():
        for key, option in section.options.items():
            if option.default is not None:
                building[name][key].add("role default", option.default)
            if option.fact and option.fact in facts:
                building[name][key].add("product default", facts[option.fact])
    for layer in layers:
        for source, sections in layer.of(role.role):
            _lay(building, sections, source=source, general=source.endswith(".global"), problems=problems)
    _take_over(role, building)
    orchestrator = building.get("GLOBAL", {}).get("cloud_orchestrator", _Building()).value
    settings: dict[str, dict[str, Setting]] = {}
    for name, section in role.sections.items():
        if section.when is not None and section.when != orchestrator:
            continue
        settings[name] = {key: found.done() for key, found in building[name].items() if found.value is not None}
        problems += _wrong(role, name, settings[name])
    return Effective(role, settings, tuple(problems))


def _take_over(role: Role, building: Mapping[str, Mapping[str, _Building]]) -> None:
    """Options that nobody set and that stand elsewhere under another name; a host is taken out of a URL."""
    for name, section in role.sections.items():
        for key, option in section.options.items():
            origin, _, other = option.same_as.rpartition(".")
            if not origin or building[name][key].value is not None:
                continue
            value = building.get(origin, {}).get(other, _Building()).value
            if key == "host" and isinstance(value, str) and "://" in value:
                value = urlsplit(value).hostname
            if value is not None:
                building[name][key].add(option.same_as, value)


def _lay(
    building: Mapping[str, Mapping[str, _Building]],
    sections: Sections,
    *,
    source: str,
    general: bool,
    problems: list[str],
) -> None:
    for name, options in sections.items():
        if name not in building:
            if not general:
                problems.append(f"{source}.{name}: the role has no such section")
            continue
        for key, value in options.items():
            if key in building[name]:
                building[name][key].add(source, value)
            elif not general:
                problems.append(f"{source}.{name}.{key}: no such option")


def _wrong(role: Role, section: str, settings: Mapping[str, Setting]) -> Iterable[str]:
    for key, option in role.sections[section].options.items():
        setting = settings.get(key)
        if setting is None:
            if option.required:
                yield f"{role.role}: {section}.{key} must be set"
        elif not is_reference(setting.value) and (problem := option.problem(setting.value)):
            shown = "the value does not fit" if option.secret else problem
            yield f"{setting.source}.{section}.{key}: {shown}"


@dataclass(slots=True)
class _Building:
    value: Any = None
    source: str = ""
    history: list[tuple[str, Any]] = field(default_factory=list)

    def add(self, source: str, value: Any) -> None:
        if self.source:
            self.history.append((self.source, self.value))
        self.value = merge(self.value, value)
        self.source = source

    def done(self) -> Setting:
        return Setting(self.value, self.source, tuple(self.history))


def merge(below: Any, above: Any) -> Any:
    """``above`` over ``below``: objects key by key with null removing, anything else replaces."""
    if not isinstance(above, dict) or is_reference(above):
        return above
    old = below if isinstance(below, dict) and not is_reference(below) else {}
    merged = dict(old)
    for key, value in above.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(old.get(key), value)
    return merged


def _shown(value: Any, *, secret: bool) -> Any:
    if secret and value not in (None, ""):
        return masked({"secret": ""})
    return masked(value)
