"""What ``add server|cluster|image`` takes: the seed's JSON, checked as a whole before anything is stored.

All problems are told at once, each with its JSON path. Unknown keys are problems (the seed era dropped them silently),
columns of the bare-metal era are kept and shown.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from contrail_vsphere.model.errors import DocumentError, InvalidArgument
from contrail_vsphere.servermanager import names, parameters
from contrail_vsphere.servermanager.catalogue import Catalogue
from contrail_vsphere.servermanager.parameters import Findings

MAX_BYTES: Final = 1_000_000
"""Of one document; the seed era's limit was 204,800."""
MAX_DEPTH: Final = 40

TAGS: Final = tuple(f"tag{number}" for number in range(1, 8))

SERVER_KEYS: Final = ("id", "cluster_id", "host_name", "ip_address", "mac_address", "roles", "tag", "parameters")
SERVER_ATTRIBUTES: Final = (
    "password", "ssh_user", "ssh_port", "host_key", "ssh_private_key", "ssh_public_key", "network", "contrail",
    "subnet_mask", "gateway", "domain", "email", "static_ip", "base_image_id", "package_image_id", "ipmi_address",
    "ipmi_username", "ipmi_password", "ipmi_type", "ipmi_interface", "intf_control", "intf_data", "intf_bond",
    "top_of_rack", "esxi_host", "control_data_address",
)  # fmt: skip
CLUSTER_KEYS: Final = ("id", "email", "parameters", "package_image_id", "image_id")
CLUSTER_ATTRIBUTES: Final = ("base_image_id", "provision_role_sequence")
IMAGE_KEYS: Final = ("id", "category", "type", "version", "path", "parameters")
FIELDS: Final = {
    "server": (*SERVER_KEYS, *SERVER_ATTRIBUTES), "cluster": (*CLUSTER_KEYS, *CLUSTER_ATTRIBUTES), "image": IMAGE_KEYS
}  # fmt: skip
"""What the documents of a kind may hold, whether they do or not."""
CATEGORIES: Final = ("container", "package")
IMAGE_TYPES: Final = (
    "contrail-container-ubuntu", "contrail-container-centos", "contrail-container",
    "contrail-ubuntu-package", "contrail-centos-package",
)  # fmt: skip

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_HOST = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")


def parse(text: str | bytes) -> dict[str, Any]:
    """The JSON object in the text; ``DocumentError`` with line and column, or for what no honest document has."""
    if len(text) > MAX_BYTES:
        raise DocumentError(f"the document has more than {MAX_BYTES} bytes")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise DocumentError(f"not JSON: line {error.lineno} column {error.colno}: {error.msg}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise DocumentError("not JSON in UTF-8, or nested too deeply") from error
    if not isinstance(value, dict):
        raise DocumentError("a JSON object is expected")
    if _deeper(value, MAX_DEPTH):
        raise DocumentError(f"nested more than {MAX_DEPTH} deep")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names_ = [key for key, _ in pairs]
        twice = next(key for key in names_ if names_.count(key) > 1)
        raise DocumentError(f"the key {twice!r} stands twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise DocumentError(f"{name} is not JSON")


def _deeper(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    children = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_deeper(each, depth - 1) for each in children)


def listed(document: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    """The objects under ``KIND`` (or its plural, which old files have); ``DocumentError`` if there is no such list."""
    found = document.get(kind, document.get(f"{kind}s"))
    if not isinstance(found, list) or not found:
        raise DocumentError(f"a list of objects is expected under {kind!r}")
    if not all(isinstance(each, dict) for each in found):
        raise DocumentError(f"{kind}: a list of objects is expected")
    return found


def raise_problems(findings: Findings, subject: str) -> None:
    """``DocumentError`` with all problems, if there are any."""
    if findings.problems:
        raise DocumentError.of(subject, findings.problems)


def check_server(document: Mapping[str, Any], findings: Findings, *, path: str, catalogue: Catalogue) -> None:
    """All problems of a whole server (a change is merged into what is there before)."""
    for key in document:
        if key not in SERVER_KEYS and key not in SERVER_ATTRIBUTES:
            findings.unknown(path, key, (*SERVER_KEYS, *SERVER_ATTRIBUTES))
    _check_id(document, findings, path, "server")
    _check_address(document.get("ip_address"), findings, f"{path}.ip_address")
    if "control_data_address" in document:
        _check_address(document["control_data_address"], findings, f"{path}.control_data_address")
    mac = document.get("mac_address")
    if mac is not None and not _MAC.fullmatch(normal_mac(mac)):
        findings.problem(f"{path}.mac_address", f"{mac!r} is not a MAC address")
    name = document.get("host_name")
    if name is not None and not (isinstance(name, str) and len(name) <= 253 and _HOST.fullmatch(name.lower())):
        findings.problem(f"{path}.host_name", f"{name!r} is not a host name")
    port = document.get("ssh_port", 22)
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        findings.problem(f"{path}.ssh_port", "a port is expected")
    user = document.get("ssh_user", "root")
    if not isinstance(user, str) or not _USER.fullmatch(user):
        findings.problem(f"{path}.ssh_user", "a user name is expected")
    _check_roles(document.get("roles"), findings, f"{path}.roles", catalogue)
    _check_tags(document.get("tag"), findings, f"{path}.tag")
    _check_network(document.get("network"), findings, f"{path}.network")
    parameters.check(document.get("parameters") or {}, findings, path=f"{path}.parameters", catalogue=catalogue)


def check_cluster(document: Mapping[str, Any], findings: Findings, *, path: str, catalogue: Catalogue) -> None:
    """All problems of a whole cluster."""
    for key in document:
        if key not in CLUSTER_KEYS and key not in CLUSTER_ATTRIBUTES:
            findings.unknown(path, key, (*CLUSTER_KEYS, *CLUSTER_ATTRIBUTES))
    _check_id(document, findings, path, "cluster")
    for address in emails(document.get("email")):
        if not re.fullmatch(r"[^@\s,]+@[^@\s,]+", address):
            findings.problem(f"{path}.email", f"{address!r} is not a mail address")
    parameters.check(document.get("parameters") or {}, findings, path=f"{path}.parameters", catalogue=catalogue)


def check_image(document: Mapping[str, Any], findings: Findings, *, path: str, catalogue: Catalogue) -> None:
    """All problems of an image that can be seen without its archives."""
    for key in document:
        if key not in IMAGE_KEYS:
            findings.unknown(path, key, IMAGE_KEYS)
    for key in ("id", "category", "type", "version"):
        if not isinstance(document.get(key), str):
            findings.problem(f"{path}.{key}", "a text is expected")
    if findings.problems:
        return
    for key, rule in (("id", names.check_image_id), ("version", names.Release.parse)):
        try:
            rule(document[key])
        except InvalidArgument as error:
            findings.problem(f"{path}.{key}", str(error))
    if document["category"] not in CATEGORIES:
        findings.problem(f"{path}.category", f"one of {', '.join(CATEGORIES)} is expected")
    if document["type"] not in IMAGE_TYPES:
        findings.problem(f"{path}.type", f"one of {', '.join(IMAGE_TYPES)} is expected")
    _check_image_sources(document, findings, path, catalogue)


def _check_image_sources(document: Mapping[str, Any], findings: Findings, path: str, catalogue: Catalogue) -> None:
    given = document.get("parameters") or {}
    if not isinstance(given, dict):
        findings.problem(f"{path}.parameters", "an object is expected")
        return
    containers = given.get("containers")
    archive = document.get("path")
    if archive is not None and (not isinstance(archive, str) or not PurePosixPath(archive).is_absolute()):
        findings.problem(f"{path}.path", "an absolute path is expected")
    if containers is None:
        if not archive:
            findings.problem(path, "either 'path' (a bundle) or 'parameters.containers' is expected")
        return
    if not isinstance(containers, list) or not containers:
        findings.problem(f"{path}.parameters.containers", "a list of objects is expected")
        return
    seen: set[str] = set()
    for number, each in enumerate(containers):
        here = f"{path}.parameters.containers[{number}]"
        if not isinstance(each, dict) or set(each) - {"role", "container_path", "container_image", "docker_image_id"}:
            findings.problem(here, "an object with 'role' and 'container_path' is expected")
            continue
        role = catalogue.find(str(each.get("role")))
        if role is None:
            findings.unknown(f"{here}.role", str(each.get("role")), tuple(n for r in catalogue for n in r.names))
        elif role.role in seen:
            findings.problem(f"{here}.role", f"{role.role} stands twice")
        else:
            seen.add(role.role)
        if not isinstance(each.get("container_path", ""), str):
            findings.problem(f"{here}.container_path", "a text is expected")


def _check_id(document: Mapping[str, Any], findings: Findings, path: str, kind: str) -> None:
    try:
        names.check_object_id(str(document.get("id", "")), kind=kind)
    except InvalidArgument as error:
        findings.problem(f"{path}.id", str(error))


def _check_address(value: Any, findings: Findings, path: str) -> None:
    try:
        address = ipaddress.ip_address(str(value))
    except ValueError:
        findings.problem(path, "an IP address is expected" if value is None else f"{value!r} is not an IP address")
        return
    if address.is_unspecified or address.is_multicast:
        findings.problem(path, f"{value} is not the address of a host")


def _check_roles(value: Any, findings: Findings, path: str, catalogue: Catalogue) -> None:
    if value is None:
        return
    if not isinstance(value, list):
        findings.problem(path, "a list of roles is expected")
        return
    seen: set[str] = set()
    for number, name in enumerate(value):
        role = catalogue.find(str(name))
        if role is None:
            findings.unknown(f"{path}[{number}]", str(name), tuple(n for r in catalogue for n in r.names))
        elif role.role in seen:
            findings.problem(f"{path}[{number}]", f"{role.role} stands twice")
        else:
            seen.add(role.role)


def _check_tags(value: Any, findings: Findings, path: str) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        findings.problem(path, "an object TAG -> value is expected")
        return
    for key, each in value.items():
        if not isinstance(each, str) or re.search(r"[,=\x00-\x1f]", each):
            findings.problem(f"{path}.{key}", "a text without comma and equals sign is expected")


def _check_network(value: Any, findings: Findings, path: str) -> None:
    if not value:
        return
    if not isinstance(value, dict) or not isinstance(value.get("interfaces", []), list):
        findings.problem(path, "an object with a list 'interfaces' is expected")
        return
    interfaces = [each for each in value.get("interfaces", []) if isinstance(each, dict)]
    names_ = {each.get("name") for each in interfaces}
    management = value.get("management_interface")
    if management is not None and management not in names_:
        findings.problem(f"{path}.management_interface", f"{management!r} is not among the interfaces")
    if sum(1 for each in interfaces if each.get("default_gateway")) > 1:
        findings.problem(f"{path}.interfaces", "more than one has a default_gateway")
    for number, each in enumerate(interfaces):
        given = each.get("ip_address")
        if given is not None:
            try:
                ipaddress.ip_interface(str(given))
            except ValueError:
                findings.problem(f"{path}.interfaces[{number}].ip_address", f"{given!r} is not an address")


def normal_mac(value: object) -> str:
    """``aa:bb:...`` of the usual spellings."""
    digits = re.sub(r"[:.-]", "", str(value).lower())
    return ":".join(digits[i : i + 2] for i in range(0, len(digits), 2))


def emails(value: Any) -> list[str]:
    """The addresses of a list, a comma list, or a list written as text, as old files have it."""
    if value is None:
        return []
    items = value if isinstance(value, list) else str(value).strip("[] ").split(",")
    return [text for each in items if (text := str(each).strip(" '\""))]
