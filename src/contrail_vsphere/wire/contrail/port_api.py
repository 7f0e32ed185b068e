"""Port API of a VRouterAgent (HTTP, port 9091): the JSON of a port, as sent, as read, and what must never be sent.

The agent takes more than is good for it. It wants every mandatory member with exactly its JSON type, reads a garbage
UUID as nil and a garbage address as none, and dies of an assertion when it is given a transmit VLAN without a receive
VLAN. ``read_port`` is what the agent does with a body; ``problems`` is what a client must look at before it sends one.

Source: the agent's port_ipc_handler.cc (MakeAddVmiUuidRequest), port_subscribe_table.cc, vm_interface_utils.cc.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

PORT, INTROSPECT = 9091, 8085
"""Where an agent listens."""
PATH_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
"""What the routes match: lower case only."""
STALE_SECONDS = 60.0
"""From POST /syncports until ports that were not posted again are dropped (``stale_interface_cleanup_timeout``)."""

TAP, NAMESPACE, REMOTE = 0, 1, 2
"""Types of ports; remote ones are those of ESXi: the agent's machine has no device for them."""
NO_VLAN = -1
NO_IP, NO_IP6 = "0.0.0.0", "::"  # noqa: S104 - the agent's "none"
NIL = "00000000-0000-0000-0000-000000000000"

TEXTS = (
    "id",
    "instance-id",
    "vn-id",
    "vm-project-id",
    "display-name",
    "ip-address",
    "ip6-address",
    "system-name",
    "mac-address",
)
NUMBERS = ("type", "rx-vlan-id", "tx-vlan-id")

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_ZERO_MAC = "00:00:00:00:00:00"


class PortRefusedError(ValueError):
    """The agent answers 500 with this text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortDocument:
    """A port as it travels."""

    id: str
    """UUID of the VirtualMachineInterface."""
    vm: str
    """UUID of the VirtualMachine in Contrail: the agent subscribes to it at the control node."""
    network: str
    project: str
    name: str
    mac: str
    kind: int = REMOTE
    rx_vlan: int = NO_VLAN
    tx_vlan: int = NO_VLAN
    ip: str = NO_IP
    ip6: str = NO_IP6
    system_name: str = ""
    """Name of the interface; the port's id where there is no device. Empty: the id."""
    link_up: bool = False

    def encode(self, *, author: str = "", time: str = "") -> dict[str, Any]:
        """The body of POST /port, and the content of a port file; the agent ignores ``author`` and ``time``."""
        return {
            "id": self.id,
            "instance-id": self.vm,
            "vn-id": self.network,
            "vm-project-id": self.project,
            "display-name": self.name,
            "ip-address": self.ip,
            "ip6-address": self.ip6,
            "mac-address": self.mac,
            "system-name": self.system_name or self.id,
            "type": self.kind,
            "rx-vlan-id": self.rx_vlan,
            "tx-vlan-id": self.tx_vlan,
            "vhostuser-mode": 0,
            "link-state": int(self.link_up),
            "author": author,
            "time": time,
        }


def read_port(document: Mapping[str, Any]) -> PortDocument:
    """Take a body as the agent takes it: strict about presence and JSON types, careless about contents.

    PortRefusedError with the agent's text.
    """
    for name in TEXTS:
        if not isinstance(document.get(name), str):
            raise PortRefusedError(_missing(name, document))
    for name in NUMBERS:
        if not isinstance(document.get(name), int) or isinstance(document[name], bool):
            raise PortRefusedError(_missing(name, document))
    mac = document["mac-address"]
    if mac.count(":") != 5 or mac == _ZERO_MAC:
        raise PortRefusedError("Invalid MAC, Use xx:xx:xx:xx:xx:xx format")
    network = _uuid(document["vn-id"])
    if document["type"] == TAP and network == NIL:
        raise PortRefusedError("invalid VN uuid, ")
    return PortDocument(
        id=_uuid(document["id"]),
        vm=_uuid(document["instance-id"]),
        network=network,
        project=_uuid(document["vm-project-id"]),
        name=document["display-name"],
        mac=mac,
        kind=document["type"],
        rx_vlan=document["rx-vlan-id"],
        tx_vlan=document["tx-vlan-id"],
        ip=_ip(document["ip-address"], NO_IP),
        ip6=_ip(document["ip6-address"], NO_IP6),
        system_name=document["system-name"],
        link_up=bool(document.get("link-state", 0 if document["type"] == REMOTE else 1)),
    )


def problems(port: PortDocument) -> tuple[str, ...]:
    """What is wrong with a port that is to be sent, a line each; empty if the agent will do what is meant."""
    found = [
        f"{name} {value!r} is no lower-case UUID, the agent would read it as nil"
        for name, value in (("id", port.id), ("vm", port.vm), ("network", port.network), ("project", port.project))
        if not PATH_ID.fullmatch(value)
    ]
    found += [
        f"{name} is the nil UUID"
        for name, value in (("id", port.id), ("vm", port.vm), ("network", port.network))
        if value == NIL
    ]
    if not _MAC.fullmatch(port.mac) or port.mac == _ZERO_MAC:
        found.append(f"the MAC {port.mac!r} is not six lower-case bytes with colons")
    if (port.rx_vlan == NO_VLAN) != (port.tx_vlan == NO_VLAN):
        found.append("one VLAN without the other aborts the agent")
    found += [
        f"the VLAN {vlan} is not within 1..4094"
        for vlan in sorted({port.rx_vlan, port.tx_vlan} - {NO_VLAN})
        if not 1 <= vlan <= 4094
    ]
    for name, text, version in (("IPv4", port.ip, 4), ("IPv6", port.ip6, 6)):
        try:
            fits = ipaddress.ip_address(text).version == version
        except ValueError:
            fits = False
        if not fits:
            found.append(f"{text!r} is no {name} address, the agent would take the port without it")
    return tuple(found)


def error_body(text: str) -> dict[str, str]:
    """How the agent says that something went wrong."""
    return {"error": f"{{ {text} }}"}


def error_text(document: Any) -> str:
    """The reason in an error body; empty if there is none."""
    text = document.get("error") if isinstance(document, Mapping) else None
    return str(text).strip("{ }")[:300] if text else ""


UNKNOWN_REQUEST: Mapping[str, str] = {"error": "Unknown Request"}
"""404 of a path the agent does not have."""


def _missing(name: str, document: Mapping[str, Any]) -> str:
    return f"Json string does not have all required members, {name} is missing ==> {json.dumps(dict(document))}"


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        return NIL


def _ip(text: str, otherwise: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return otherwise
