"""Both dialects of ``parameters.provision``, checked and turned into layers of one shape.

The seed era wrote ``containers.<role>.<SECTION>.<option>``; release 4 wrote ``contrail_4.<section>_config`` beside some
plain keys per host. Both may stand side by side; what ``containers`` says is the more exact and wins. Every problem
carries its JSON path. Keys of release 4 that mean nothing to containers are accepted and named in the notes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from contrail_vsphere.servermanager.catalogue import Catalogue, Option, Role
from contrail_vsphere.servermanager.resolve import ALL_ROLES, Layer
from contrail_vsphere.servermanager.vault import MASK, is_reference, secret_by_name

GLOBAL_KEY: Final = "global"

_SECTION_NAMES: Final = {"vc_plugin": "VCPLUGIN", "collector": "ANALYTICS_COLLECTOR", "alarmgen": "ALARM_GEN"}

_AGENT_KEYS: Final = frozenset(
    {
        "vrouter_physical_interface", "ctrl_data_ip", "qos_priority_tagging", "tsn_evpn_mode", "tsn_server_list",
        "compute_controller_list", "resource_backup_restore", "backup_file_count", "backup_idle_timeout",
        "restore_audit_timeout", "slo_destination_list", "sample_destination_list", "metadata_ssl_enable",
    }
)  # fmt: skip
_MODULE_KEYS: Final = (
    "flow_entries", "mpls_labels", "nexthops", "vrfs", "macs", "oflow_entries", "mac_oentries",
    "max_interface_entries", "flow_hold_limit", "vr_memory_alloc_checks", "vrouter_dbg",
)  # fmt: skip
_WITHOUT_EFFECT: Final = frozenset(
    {
        "docker_registry", "docker_registry_insecure", "docker_insecure_registries", "docker_install_method",
        "docker_package_name", "docker_network_bridge", "docker_py_pkg_install_method", "ssl_certs_src_dir",
        "contrail_compute_mode", "enable_lbaas", "kernel_upgrade", "kernel_version", "tor_ca_cert_file",
        "tor_ssl_certs_src_dir", "sriov", "local_asn", "compute_as_gateway_mode", "tsn_mode", "vrouter_1G_hugepages",
        "vrouter_2M_hugepages", "coremask", "huge_pages", "vgw", "qos", "qos_niantic", "storage", "live_migration",
        "ctrl_data_gw", "ctrl_data_network", "keystone_version", "apt_repo", "cloud_orchestrator_settings",
    }
)  # fmt: skip
COMPONENTS: Final = ("config", "control", "webui")


@dataclass(slots=True)
class Findings:
    """Problems (the document is refused) and notes (it is taken) of one document, each with its JSON path."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def problem(self, path: str, text: str) -> None:
        """Something that must be mended."""
        self.problems.append(f"{path}: {text}")

    def unknown(self, path: str, name: str, known: Mapping[str, Any] | frozenset[str] | tuple[str, ...]) -> None:
        """A name that is none of the known ones."""
        near = difflib.get_close_matches(name, list(known), n=1)
        self.problem(f"{path}.{name}", "unknown" + (f"; {near[0]!r} is meant?" if near else ""))


def layers(parameters: Mapping[str, Any], *, source: str, catalogue: Catalogue) -> tuple[Layer, ...]:
    """What an object's parameters say, the less exact dialect first; empty layers are left out."""
    provision = parameters.get("provision")
    if not isinstance(provision, dict):
        return ()
    found = (
        Layer(source, _from_release_4(provision.get("contrail_4"))),
        Layer(source, _from_containers(provision.get("containers"), catalogue)),
    )
    return tuple(layer for layer in found if layer.values)


def tag_layers(parameters: Mapping[str, Any], tags: Mapping[str, str], *, catalogue: Catalogue) -> tuple[Layer, ...]:
    """What a cluster's ``provision.tags`` says to a server with these tags, in the order of their names."""
    by_tag = (parameters.get("provision") or {}).get("tags") or {}
    names = [f"{key}={value}" for key, value in sorted(tags.items())]
    return tuple(Layer(f"tag {name}", _from_containers(by_tag[name], catalogue)) for name in names if by_tag.get(name))


def components(parameters: Mapping[str, Any]) -> frozenset[str]:
    """Which parts of the controller a server runs; all, unless its parameters say otherwise."""
    given = ((parameters.get("provision") or {}).get("contrail_4") or {}).get("controller_components")
    return frozenset(COMPONENTS if given is None else given)


def is_secret(catalogue: Catalogue) -> Any:
    """Tells the vault which places of an object's document are secret: by role data, or by their name."""
    by_option = {key for role in catalogue for s in role.sections.values() for key, o in s.options.items() if o.secret}

    def secret(path: tuple[str, ...]) -> bool:
        if path[:2] == ("parameters", "provision") and len(path) >= 5:
            if path[2] == "containers" and len(path) == 6:
                return _option_secret(catalogue, path[3], path[4], path[5])
            if path[2] == "tags" and len(path) == 7:
                return _option_secret(catalogue, path[4], path[5], path[6])
            if path[2] == "contrail_4" and path[-1] in by_option:
                return True
        return secret_by_name(path)

    return secret


def _option_secret(catalogue: Catalogue, role: str, section: str, option: str) -> bool:
    found = catalogue.find(role)
    candidates = list(catalogue) if found is None else [found]
    return any(each.is_secret(section, option) for each in candidates) or secret_by_name((option,))


def check(parameters: Any, findings: Findings, *, path: str, catalogue: Catalogue) -> None:
    """All problems of an object's parameters."""
    if not isinstance(parameters, dict):
        findings.problem(path, "an object is expected")
        return
    if not parameters:
        return
    if "provision" not in parameters:
        if set(parameters) - {"esxi_parameters", "interface_name", "vcenter_servers", "uuid"}:
            findings.problem(path, "the old format without 'provision' is not supported any more")
        return
    provision = parameters["provision"]
    path = f"{path}.provision"
    if not isinstance(provision, dict):
        findings.problem(path, "an object is expected")
        return
    for key in provision:
        if key not in ("containers", "contrail_4", "contrail", "openstack", "tags"):
            findings.unknown(path, key, ("containers", "contrail_4", "tags"))
    for key in ("contrail", "openstack"):
        if key in provision:
            findings.notes.append(f"{path}.{key}: has no effect on containers")
    _check_containers(provision.get("containers"), findings, f"{path}.containers", catalogue)
    _check_release_4(provision.get("contrail_4"), findings, f"{path}.contrail_4", catalogue)
    for name, content in _object(provision.get("tags"), findings, f"{path}.tags"):
        if "=" not in name:
            findings.problem(f"{path}.tags.{name}", "TAG=VALUE is expected")
        _check_containers(content, findings, f"{path}.tags.{name}", catalogue)


def _object(value: Any, findings: Findings, path: str) -> Iterator[tuple[str, Any]]:
    if value is None:
        return
    if not isinstance(value, dict):
        findings.problem(path, "an object is expected")
        return
    yield from value.items()


def _check_containers(value: Any, findings: Findings, path: str, catalogue: Catalogue) -> None:
    known = tuple(name for role in catalogue for name in role.names)
    for name, sections in _object(value, findings, path):
        role = catalogue.find(name)
        if role is None and name != GLOBAL_KEY:
            findings.unknown(path, name, (*known, GLOBAL_KEY))
            continue
        roles = list(catalogue) if role is None else [role]
        for section, options in _object(sections, findings, f"{path}.{name}"):
            _check_section(section, options, findings, f"{path}.{name}", roles)


def _check_section(section: str, options: Any, findings: Findings, path: str, roles: list[Role]) -> None:
    having = [role for role in roles if section in role.sections]
    if not having:
        findings.unknown(path, section, tuple(name for role in roles for name in role.sections))
        return
    for key, value in _object(options, findings, f"{path}.{section}"):
        candidates = [role.sections[section].options[key] for role in having if key in role.sections[section].options]
        if not candidates:
            findings.unknown(f"{path}.{section}", key, tuple(k for r in having for k in r.sections[section].options))
            continue
        _check_value(candidates[0], value, findings, f"{path}.{section}.{key}")


def _check_value(option: Option, value: Any, findings: Findings, path: str) -> None:
    if is_reference(value) or (option.secret and value == MASK):
        return
    problem = option.problem(value)
    if problem:
        findings.problem(path, "the value does not fit" if option.secret else problem)


def _check_release_4(value: Any, findings: Findings, path: str, catalogue: Catalogue) -> None:
    roles = list(catalogue)
    agent = catalogue.role("agent").sections["AGENT"].options
    for key, given in _object(value, findings, path):
        if key.endswith("_config"):
            section = _section_of(key)
            if not any(section in role.sections for role in roles):
                findings.problem(f"{path}.{key}", f"no role has a section {section}")
                continue
            for option, each in _object(given, findings, f"{path}.{key}"):
                found = [r.sections[section].options.get(option) for r in roles if section in r.sections]
                known = next((one for one in found if one is not None), None)
                if known is None:
                    options = tuple(k for r in roles if section in r.sections for k in r.sections[section].options)
                    findings.unknown(f"{path}.{key}", option, options)
                else:
                    _check_value(known, each, findings, f"{path}.{key}.{option}")
        elif key in _AGENT_KEYS:
            _check_value(agent[key], given, findings, f"{path}.{key}")
        elif key == "controller_components":
            if not isinstance(given, list) or not given or set(map(str, given)) - set(COMPONENTS):
                findings.problem(f"{path}.{key}", "a list of config, control, webui is expected")
        elif key == "cloud_orchestrator":
            _check_value(catalogue.role("agent").sections["GLOBAL"].options[key], given, findings, f"{path}.{key}")
        elif key in _WITHOUT_EFFECT:
            findings.notes.append(f"{path}.{key}: has no effect on containers")
        elif key not in _MODULE_KEYS:
            findings.unknown(path, key, (*_AGENT_KEYS, *_MODULE_KEYS, *_WITHOUT_EFFECT, "controller_components"))


def _section_of(key: str) -> str:
    name = key.removesuffix("_config")
    return _SECTION_NAMES.get(name, name.upper())


def _from_containers(value: Any, catalogue: Catalogue) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name, sections in (value or {}).items():
        role = catalogue.find(name)
        found[ALL_ROLES if role is None else role.role] = sections or {}
    return found


def _from_release_4(value: Any) -> dict[str, dict[str, dict[str, Any]]]:
    sections: dict[str, dict[str, Any]] = {}
    modules = []
    for key, given in (value or {}).items():
        if key.endswith("_config"):
            sections.setdefault(_section_of(key), {}).update(given or {})
        elif key in _AGENT_KEYS:
            sections.setdefault("AGENT", {})[key] = given
        elif key == "cloud_orchestrator":
            sections.setdefault("GLOBAL", {})[key] = given
        elif key in _MODULE_KEYS and given is not None:
            modules.append(f"{key}={given}")
    if modules:
        sections.setdefault("AGENT", {})["vrouter_module_params"] = ",".join(modules)
    return {ALL_ROLES: sections} if sections else {}
