"""Port subscriptions of a VRouterAgent, with the behaviour of its port_ipc (rest_server.cc, port_ipc_handler.cc).

It is as unkind as the real one: an array answers 200 whatever happened, a second POST changes nothing but a version,
the port file keeps what was written first, a garbage UUID is taken as nil, and some requests abort the whole process.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

PATH_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
"""What the route regular expressions of the agent match: lower case only."""

NO_VLAN = -1
NAMESPACE, REMOTE = 1, 2

_TEXT = ("id", "instance-id", "vn-id", "vm-project-id", "display-name", "ip-address", "ip6-address")
_MORE_TEXT = ("system-name", "mac-address")
_NUMBERS = ("type", "rx-vlan-id", "tx-vlan-id")
_NIL = "00000000-0000-0000-0000-000000000000"


class AgentAborts(Exception):  # noqa: N818 - what happens, not an error we handle
    """The agent's process dies of an assertion; the message names it."""


@dataclass(frozen=True, slots=True)
class Port:
    """An entry of the subscription table, as it was first posted."""

    id: str
    vm: str
    network: str
    project: str
    name: str
    system_name: str
    ip: str
    ip6: str
    mac: str
    kind: int
    rx_vlan: int
    tx_vlan: int
    link_up: bool
    version: int


@dataclass(slots=True)
class PortTable:
    """The table in memory and the directory of port files beside it (``/var/lib/contrail/ports``)."""

    files: dict[str, str] = field(default_factory=dict)
    """File name (the port's UUID) -> content; survives the process."""
    trunk_active: bool = True
    """Whether ``vmware_physical_interface`` is an active interface; a port with VLANs aborts the agent otherwise."""
    reject: str = ""
    """When set, every POST fails with this text (``Writing of Json string to file failed``: a full disk)."""
    _ports: dict[str, Port] = field(default_factory=dict)
    _version: int = 0

    @property
    def ports(self) -> Mapping[str, Port]:
        """What the agent forwards for, by port UUID."""
        return self._ports

    def post(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """POST /port. Raises AgentAborts."""
        if self.reject:
            return _error(self.reject)
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return _error(f"Invalid Json string ==> {body.decode(errors='replace')}")
        if isinstance(document, list):
            requests = [_validate(item) if isinstance(item, dict) else "not an object" for item in document]
            if not any(isinstance(request, str) for request in requests):
                for request in requests:
                    assert isinstance(request, Port)  # noqa: S101 - just checked
                    self._add(request)
            return 200, {}
        if not isinstance(document, dict):
            return _error("Unexpected Json string")
        request = _validate(document)
        if isinstance(request, str):
            return _error(request)
        self._add(request)
        return 200, {}

    def delete(self, port_id: str) -> tuple[int, dict[str, Any]]:
        """DELETE /port/<id>: content with ports it never saw."""
        self._ports.pop(port_id, None)
        self.files.pop(port_id, None)
        return 200, {}

    def get(self, port_id: str, *, resolved: bool = True) -> tuple[int, dict[str, Any]]:
        """GET /port/<id>; ``resolved`` is whether VM, VN and IPAM have come from the controller."""
        port = self._ports.get(port_id)
        if port is None or not resolved:
            return 404, {"error": "{ Not Found }"}
        return 200, _shown(port)

    def link(self, port_id: str, *, up: bool) -> tuple[int, dict[str, Any]]:
        """PUT /enable-port/<id> and /disable-port/<id>."""
        port = self._ports.get(port_id)
        if port is None:
            return _error(f"Port not found {port_id}")
        if port.kind != REMOTE:
            return _error("Incorrect Port type")
        self._ports[port_id] = replace(port, link_up=up)
        self.files[port_id] = _file(self._ports[port_id])
        return 200, {}

    def begin_sync(self) -> int:
        """POST /syncports; returns the version that ports must have when the 60 s are over."""
        self._version += 1
        return self._version

    def end_sync(self, version: int) -> None:
        """The stale timer: what was not posted again since is deleted, its file too; namespace ports stay."""
        for port in list(self._ports.values()):
            if port.version < version and port.kind != NAMESPACE:
                self.delete(port.id)

    def reload(self) -> None:
        """Start of the process: the table is what the files say, with version 0."""
        self._version = 0
        self._ports = {}
        for content in list(self.files.values()):
            request = _validate(json.loads(content))
            if isinstance(request, Port):
                self._subscribe(replace(request, version=0))

    def _add(self, port: Port) -> None:
        self.files.setdefault(port.id, _file(port))
        self._subscribe(replace(port, version=self._version))

    def _subscribe(self, port: Port) -> None:
        known = self._ports.get(port.id)
        if known is not None and known.vm == port.vm:
            self._ports[port.id] = replace(known, version=port.version)
            return
        if port.rx_vlan == NO_VLAN and port.tx_vlan != NO_VLAN:
            raise AgentAborts("vm_interface_utils.cc: rx_vlan_id != kInvalidVlanId")
        if NO_VLAN not in (port.rx_vlan, port.tx_vlan) and not self.trunk_active:
            raise AgentAborts("vm_interface_request.cc: parent != NULL")
        self._ports[port.id] = port


def _validate(item: dict[str, Any]) -> Port | str:
    """A port, or why not (the whole text ends up in the answer)."""
    for name in (*_TEXT, *_MORE_TEXT):
        if not isinstance(item.get(name), str):
            return f"Json string does not have all required members, {name} is missing ==> {json.dumps(item)}"
    for name in _NUMBERS:
        if not isinstance(item.get(name), int) or isinstance(item[name], bool):
            return f"Json string does not have all required members, {name} is missing ==> {json.dumps(item)}"
    mac = item["mac-address"]
    if mac.count(":") != 5 or mac == "00:00:00:00:00:00":
        return "Invalid MAC, Use xx:xx:xx:xx:xx:xx format"
    network = _uuid(item["vn-id"])
    if item["type"] == 0 and network == _NIL:
        return "invalid VN uuid, "
    link = item.get("link-state", 0 if item["type"] == REMOTE else 1)
    return Port(
        id=_uuid(item["id"]),
        vm=_uuid(item["instance-id"]),
        network=network,
        project=_uuid(item["vm-project-id"]),
        name=item["display-name"],
        system_name=item["system-name"],
        ip=_ip(item["ip-address"], "0.0.0.0"),  # noqa: S104 - the agent's "none"
        ip6=_ip(item["ip6-address"], "::"),
        mac=mac,
        kind=item["type"],
        rx_vlan=item["rx-vlan-id"],
        tx_vlan=item["tx-vlan-id"],
        link_up=bool(link),
        version=0,
    )


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        return _NIL


def _ip(text: str, otherwise: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return otherwise


def _fields(port: Port) -> dict[str, Any]:
    return {
        "id": port.id,
        "instance-id": port.vm,
        "ip-address": port.ip,
        "ip6-address": port.ip6,
        "vn-id": port.network,
        "vm-project-id": port.project,
        "mac-address": port.mac,
        "system-name": port.system_name,
        "rx-vlan-id": port.rx_vlan,
        "tx-vlan-id": port.tx_vlan,
    }


def _file(port: Port) -> str:
    more = {"display-name": port.name, "type": port.kind, "link-state": int(port.link_up)}
    return json.dumps({**_fields(port), **more, "author": "contrail-vrouter-agent", "time": ""})


def _shown(port: Port) -> dict[str, Any]:
    more = {"plen": 24, "dns-server": "0.0.0.0", "gateway": "0.0.0.0", "author": "contrail-vrouter-agent"}  # noqa: S104
    return {**_fields(port), **more, "time": ""}


def _error(text: str) -> tuple[int, dict[str, Any]]:
    return 500, {"error": f"{{ {text} }}"}
