"""Port API of a VRouterAgent (HTTP, port 9091): plug and unplug the ports of ESXi VMs.

The API is older than we are and has traps; this client is built so that a caller cannot fall into them:

* rx = -1 with a valid tx aborts the agent: a port has both VLANs or none, checked before anything is sent.
* A POST for a known port changes nothing but its version: :meth:`VRouterAgentClient.replace` deletes first.
* Paths match lower-case UUIDs only, and 404 says nothing then: ids are ``UUID`` here, never text.
* An array POST answers 200 whatever happened: one object per request, always.
* The port file is written only if there is none: after "same id, other VM" the old one comes back at the next start,
  so that change is a replace too.

Source: the agent's port_ipc (rest_server.cc, port_ipc_handler.cc, port_subscribe_table.cc).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from uuid import UUID

import aiohttp

from contrail_vsphere.contrail.http import Address, bounded_read, door
from contrail_vsphere.model.errors import InvalidArgument, InvalidState, NotFound, ProtocolError

PORT = 9091
REMOTE_PORT = 2
"""Port type of a VM that runs on ESXi: there is no tap device on the agent's own machine."""
MAX_DOCUMENT = 256 * 1024

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_NIL = UUID(int=0)


@dataclass(frozen=True, slots=True)
class VRouterPort:
    """A port as we want it plugged. Values are checked on construction; InvalidArgument says which is wrong."""

    id: UUID
    """Of the VirtualMachineInterface."""
    vm: UUID
    """Of the VirtualMachine in Contrail (the agent subscribes to it)."""
    network: UUID
    project: UUID
    name: str
    mac: str
    """Lower case, with colons."""
    vlan: int | None
    """The port's VLAN on the overlay trunk; sent as rx and tx. None: no VLAN."""
    ip: IPv4Address | None = None
    ip6: IPv6Address | None = None
    enabled: bool = True
    """``link-state``; a remote port is down unless told so."""

    def __post_init__(self) -> None:
        for field, value in (("id", self.id), ("vm", self.vm), ("network", self.network)):
            if value == _NIL:
                raise InvalidArgument(f"{field} of a vRouter port must not be the nil UUID")
        if not _MAC.fullmatch(self.mac) or self.mac == "00:00:00:00:00:00":
            raise InvalidArgument(f"{self.mac!r} is not a MAC address", hint="lower case with colons, not all zero")
        if self.vlan is not None and not 1 <= self.vlan <= 4094:
            raise InvalidArgument(f"VLAN {self.vlan} is not between 1 and 4094")

    def body(self) -> dict[str, Any]:
        """The object that POST /port takes."""
        vlan = -1 if self.vlan is None else self.vlan
        return {
            "id": str(self.id),
            "instance-id": str(self.vm),
            "vn-id": str(self.network),
            "vm-project-id": str(self.project),
            "display-name": self.name,
            "ip-address": str(self.ip or "0.0.0.0"),  # noqa: S104 - what the agent takes for "none"
            "ip6-address": str(self.ip6 or "::"),
            "mac-address": self.mac,
            "system-name": str(self.id),
            "type": REMOTE_PORT,
            "rx-vlan-id": vlan,
            "tx-vlan-id": vlan,
            "vhostuser-mode": 0,
            "link-state": int(self.enabled),
        }


class VRouterAgentClient:
    """Talks to any VRouterAgent; one per process, on a shared connection pool. ``timeout`` in seconds, per request.

    ``address`` is ``HOST`` or ``HOST:PORT`` everywhere. Every method raises Unreachable and ProtocolError.
    """

    def __init__(self, http: aiohttp.ClientSession, *, port: int = PORT, timeout: float = 10.0) -> None:
        self._http = http
        self._port = port
        self._timeout = aiohttp.ClientTimeout(total=timeout)

    async def add(self, address: str, port: VRouterPort) -> None:
        """Plug a port that the agent does not know, or confirm one that is already exactly so.

        Raises InvalidArgument with the agent's reason when it refuses the port.
        """
        status, answer = await self._ask("POST", address, "/port", port.body())
        if status != 200:
            raise InvalidArgument(f"the vRouter agent at {address} refuses port {port.id}: {_reason(answer)}")

    async def replace(self, address: str, port: VRouterPort) -> None:
        """Plug a port whatever the agent knows of it: DELETE, then POST; traffic stops in between."""
        await self.remove(address, port.id)
        await self.add(address, port)

    async def remove(self, address: str, port: UUID) -> None:
        """Unplug; a port that the agent does not know counts as unplugged."""
        status, answer = await self._ask("DELETE", address, f"/port/{port}")
        if status != 200:
            raise ProtocolError(f"the vRouter agent at {address} does not delete port {port}: {_reason(answer)}")

    async def read(self, address: str, port: UUID) -> dict[str, Any] | None:
        """What the agent says of a port, or None.

        None also while interface, VM, network or IPAM have not arrived from the controller: it is no proof of absence.
        """
        status, answer = await self._ask("GET", address, f"/port/{port}")
        if status == 404:
            return None
        if status != 200 or not isinstance(answer, dict):
            raise ProtocolError(f"the vRouter agent at {address} answers {status} for port {port}")
        return answer

    async def enable(self, address: str, port: UUID) -> None:
        """Link up. Raises NotFound for a port that is not plugged."""
        await self._link(address, port, "enable-port")

    async def disable(self, address: str, port: UUID) -> None:
        """Link down. Raises NotFound for a port that is not plugged."""
        await self._link(address, port, "disable-port")

    async def begin_sync(self, address: str) -> None:
        """From now, the agent drops after 60 s every port that is not plugged again: only for a full replay."""
        status, answer = await self._ask("POST", address, "/syncports", {})
        if status != 200:
            raise ProtocolError(f"the vRouter agent at {address} does not begin a sync: {_reason(answer)}")

    async def _link(self, address: str, port: UUID, verb: str) -> None:
        status, answer = await self._ask("PUT", address, f"/{verb}/{port}")
        if status == 200:
            return
        reason = _reason(answer)
        if "not found" in reason.lower():
            raise NotFound(f"port {port} is not plugged at the vRouter agent at {address}")
        raise InvalidState(f"the vRouter agent at {address} refuses {verb} of {port}: {reason}")

    async def _ask(self, verb: str, address: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        peer = Address.parse(address, port=self._port)
        with door(f"the vRouter agent at {peer}"):
            async with self._http.request(
                verb, f"http://{peer}{path}", json=body, timeout=self._timeout, allow_redirects=False
            ) as reply:
                raw = await bounded_read(reply, most=MAX_DOCUMENT)
                try:
                    return reply.status, json.loads(raw) if raw else None
                except (ValueError, RecursionError):
                    if reply.status == 200:
                        raise ProtocolError(f"the vRouter agent at {peer} sent no JSON for {verb} {path}") from None
                    return reply.status, None


def _reason(answer: Any) -> str:
    text = answer.get("error") if isinstance(answer, dict) else None
    return str(text).strip("{ }")[:300] if text else "no reason given"
