"""Port subscriptions of a VRouterAgent, with the behaviour of its port_ipc (rest_server.cc, port_ipc_handler.cc).

It is as unkind as the real one: an array answers 200 whatever happened, a second POST changes nothing but a version,
the port file keeps what was written first, a garbage UUID is taken as nil, and some requests abort the whole process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from contrail_vsphere.simulator.vrouter.delivery import PortFacts
from contrail_vsphere.wire.contrail.port_api import (
    NAMESPACE,
    NO_IP,
    NO_IP6,
    NO_VLAN,
    PATH_ID,
    REMOTE,
    PortDocument,
    PortRefusedError,
    error_body,
    read_port,
)

__all__ = ["PATH_ID", "AgentAborts", "Port", "PortTable"]

AUTHOR = "contrail-vrouter-agent"


class AgentAborts(Exception):  # noqa: N818 - what happens, not an error we handle
    """The agent's process dies of an assertion; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Port(PortDocument):
    """An entry of the subscription table, as it was first posted."""

    version: int = 0
    since: float = 0.0
    """Simulated time at which the agent subscribed."""
    changed: float = 0.0
    """Simulated time at which it was subscribed, or its link last went up or down."""


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
    _now: float = 0.0

    @property
    def ports(self) -> Mapping[str, Port]:
        """What the agent forwards for, by port UUID."""
        return self._ports

    def of_vm(self, vm: str) -> list[Port]:
        """The ports of a VM, by its UUID."""
        return [port for port in self._ports.values() if port.vm == vm]

    def stamp(self, now: float) -> None:
        """Note the time for what is subscribed from now on."""
        self._now = now

    def post(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """POST /port. Raises AgentAborts."""
        if self.reject:
            return _error(self.reject)
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return _error(f"Invalid Json string ==> {body.decode(errors='replace')}")
        if isinstance(document, list):
            ports = [_read(item) for item in document]
            if None not in ports:
                for port in ports:
                    self._add(port)
            return 200, {}
        if not isinstance(document, dict):
            return _error("Unexpected Json string")
        try:
            self._add(read_port(document))
        except PortRefusedError as error:
            return _error(str(error))
        return 200, {}

    def delete(self, port_id: str) -> tuple[int, dict[str, Any]]:
        """DELETE /port/<id>: content with ports it never saw."""
        self._ports.pop(port_id, None)
        self.files.pop(port_id, None)
        return 200, {}

    def get(self, port_id: str, facts: PortFacts | None) -> tuple[int, dict[str, Any]]:
        """GET /port/<id>; ``facts`` is what has come of it from the control node: VM, network and IPAM, or nothing."""
        port = self._ports.get(port_id)
        if port is None or facts is None:
            return 404, error_body("Not Found")
        return 200, _shown(port, facts)

    def link(self, port_id: str, *, up: bool) -> tuple[int, dict[str, Any]]:
        """PUT /enable-port/<id> and /disable-port/<id>."""
        port = self._ports.get(port_id)
        if port is None:
            return _error(f"Port Not found {port_id}")
        if port.kind != REMOTE:
            return _error(f"Incorrect Port type for {port_id}")
        changed = port.changed if port.link_up == up else self._now
        self._ports[port_id] = replace(port, link_up=up, changed=changed)
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
            port = _read(json.loads(content))
            if port is not None:
                self._subscribe(replace(port, version=0))

    def _add(self, document: PortDocument | None) -> None:
        if document is not None:
            self.files.setdefault(document.id, _file(document))
            self._subscribe(_port(document, version=self._version))

    def _subscribe(self, port: Port) -> None:
        known = self._ports.get(port.id)
        if known is not None and known.vm == port.vm:
            self._ports[port.id] = replace(known, version=port.version)
            return
        if port.rx_vlan == NO_VLAN and port.tx_vlan != NO_VLAN:
            raise AgentAborts("vm_interface_utils.cc: rx_vlan_id != kInvalidVlanId")
        if NO_VLAN not in (port.rx_vlan, port.tx_vlan) and not self.trunk_active:
            raise AgentAborts("vm_interface_request.cc: parent != NULL")
        self._ports[port.id] = replace(port, since=self._now, changed=self._now)


def _read(item: Any) -> Port | None:
    """The port, or None where the agent would refuse it."""
    try:
        return _port(read_port(item)) if isinstance(item, dict) else None
    except PortRefusedError:
        return None


def _port(document: PortDocument, *, version: int = 0) -> Port:
    values = {item.name: getattr(document, item.name) for item in fields(PortDocument)}
    return Port(**values, version=version)


def _file(port: PortDocument) -> str:
    return json.dumps(port.encode(author=AUTHOR))


def _shown(port: Port, facts: PortFacts) -> dict[str, Any]:
    """No type, no link state, no display name; the rest is as it was posted, with what the IPAM says."""
    sent = port.encode(author=AUTHOR)
    for name in ("type", "link-state", "display-name", "ip-address", "ip6-address"):
        del sent[name]
    if port.ip != NO_IP or facts.v6 is None:
        sent |= {"ip-address": port.ip}
        if facts.v4 is not None:
            v4 = facts.v4
            sent |= {"plen": v4.prefix_length, "dns-server": v4.dns_server, "gateway": v4.gateway}
    if port.ip6 != NO_IP6 and facts.v6 is not None:
        v6 = facts.v6
        sent |= {"v6-ip-address": port.ip6, "v6-plen": v6.prefix_length}
        sent |= {"v6-dns-server": v6.dns_server, "v6-gateway": v6.gateway}
    return sent


def _error(text: str) -> tuple[int, dict[str, Any]]:
    return 500, error_body(text)
