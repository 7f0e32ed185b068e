"""Port API of a VRouterAgent (HTTP, port 9091): plug and unplug the ports of ESXi VMs.

The API is older than we are and has traps; this client is built so that a caller cannot fall into them:

* rx = -1 with a valid tx aborts the agent: a port has both VLANs or none, checked before anything is sent.
* A POST for a known port changes nothing but its version: :meth:`VRouterAgentClient.replace` deletes first, as one
  section that is finished even if its caller is cancelled, and that no other call for the port comes between.
* Paths match lower-case UUIDs only, and 404 says nothing then: ids are ``UUID`` here, never text.
* An array POST answers 200 whatever happened: :meth:`VRouterAgentClient.add_all` looks afterwards what is there, and
  sends the rest one by one, which brings the reasons.
* The port file is written only if there is none: after "same id, other VM" the old one comes back at the next start,
  so that change is a replace too.

An agent that does not answer is left alone for a few seconds, so that its host delays no other. Source: the agent's
port_ipc (rest_server.cc, port_ipc_handler.cc, port_subscribe_table.cc).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from uuid import UUID

import aiohttp

from contrail_vsphere.contrail.http import Address, bounded_read, door
from contrail_vsphere.contrail.introspect import Introspect
from contrail_vsphere.engine.breaker import CircuitBreaker, Health
from contrail_vsphere.model.errors import (
    ContrailVsphereError,
    InvalidArgument,
    InvalidState,
    NotFound,
    ProtocolError,
    Unreachable,
)
from contrail_vsphere.wire.contrail.port_api import (
    NO_IP,
    NO_IP6,
    NO_VLAN,
    PORT,
    REMOTE,
    PortDocument,
    error_text,
    problems,
)

MAX_DOCUMENT = 256 * 1024
BATCH = 100
"""Ports per array POST."""


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
        if wrong := problems(self.document()):
            raise InvalidArgument(f"port {self.id} cannot be plugged: {'; '.join(wrong)}")

    def document(self) -> PortDocument:
        """As it travels."""
        vlan = NO_VLAN if self.vlan is None else self.vlan
        return PortDocument(
            id=str(self.id),
            vm=str(self.vm),
            network=str(self.network),
            project=str(self.project),
            name=self.name,
            mac=self.mac,
            kind=REMOTE,
            rx_vlan=vlan,
            tx_vlan=vlan,
            ip=str(self.ip or NO_IP),
            ip6=str(self.ip6 or NO_IP6),
            link_up=self.enabled,
        )

    def body(self) -> dict[str, Any]:
        """The object that POST /port takes."""
        return self.document().encode(author="contrail-vsphere")


class VRouterAgentClient:
    """Talks to any VRouterAgent; one per process, on a shared connection pool. ``timeout`` in seconds, per request.

    ``address`` is ``HOST`` or ``HOST:PORT`` everywhere. Every method raises Unreachable and ProtocolError.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        *,
        port: int = PORT,
        timeout: float = 10.0,
        introspect: Introspect | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._http = http
        self._port = port
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._introspect = introspect or Introspect(http, timeout=timeout)
        self._now = now
        self._breakers: dict[str, CircuitBreaker] = {}
        self._busy: dict[tuple[str, UUID], _Turn] = {}

    @property
    def health(self) -> Mapping[str, Health]:
        """By address, of every agent that was asked."""
        return {address: breaker.health for address, breaker in self._breakers.items()}

    async def add(self, address: str, port: VRouterPort) -> None:
        """Plug a port that the agent does not know, or confirm one that is already exactly so.

        Raises InvalidArgument with the agent's reason when it refuses the port.
        """
        async with self._turn(address, port.id):
            await self._add(address, port)

    async def add_all(
        self, address: str, ports: Sequence[VRouterPort], *, introspect: str = ""
    ) -> dict[UUID, ContrailVsphereError]:
        """Plug many ports that the agent does not know, in few requests; returns what went wrong, by port.

        ``introspect``: its address, if it is not at the usual port of the same host.
        """
        for first in range(0, len(ports), BATCH):
            batch = ports[first : first + BATCH]
            status, answer = await self._ask("POST", address, "/port", [port.body() for port in batch])
            if status != 200:
                raise ProtocolError(f"the vRouter agent at {address} answers {status} to an array: {_reason(answer)}")
        there = await self._introspect.plugged(introspect or Address.parse(address, port=self._port).host)
        failed: dict[UUID, ContrailVsphereError] = {}
        for port in ports:
            if there.get(port.id) == (port.vm, port.vlan):
                continue
            try:
                await (self.replace if port.id in there else self.add)(address, port)
            except Unreachable:
                raise
            except ContrailVsphereError as error:
                failed[port.id] = error
        return failed

    async def replace(self, address: str, port: VRouterPort) -> None:
        """Plug a port whatever the agent knows of it: DELETE, then POST; traffic stops in between.

        The link is as ``port`` says from the first moment. Once begun it is finished, cancelled or not.
        """
        await asyncio.shield(asyncio.ensure_future(self._replace(address, port)))

    async def remove(self, address: str, port: UUID) -> None:
        """Unplug; a port that the agent does not know counts as unplugged."""
        async with self._turn(address, port):
            await self._remove(address, port)

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

    async def _add(self, address: str, port: VRouterPort) -> None:
        status, answer = await self._ask("POST", address, "/port", port.body())
        if status != 200:
            raise InvalidArgument(f"the vRouter agent at {address} refuses port {port.id}: {_reason(answer)}")

    async def _remove(self, address: str, port: UUID) -> None:
        status, answer = await self._ask("DELETE", address, f"/port/{port}")
        if status != 200:
            raise ProtocolError(f"the vRouter agent at {address} does not delete port {port}: {_reason(answer)}")

    async def _replace(self, address: str, port: VRouterPort) -> None:
        async with self._turn(address, port.id):
            await self._remove(address, port.id)
            await self._add(address, port)

    async def _link(self, address: str, port: UUID, verb: str) -> None:
        async with self._turn(address, port):
            status, answer = await self._ask("PUT", address, f"/{verb}/{port}")
        if status == 200:
            return
        reason = _reason(answer)
        if "not found" in reason.lower():
            raise NotFound(f"port {port} is not plugged at the vRouter agent at {address}")
        raise InvalidState(f"the vRouter agent at {address} refuses {verb} of {port}: {reason}")

    @asynccontextmanager
    async def _turn(self, address: str, port: UUID) -> AsyncIterator[None]:
        """One call at a time for a port at an agent."""
        turn = self._busy.setdefault((address, port), _Turn(asyncio.Lock()))
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._busy[address, port]

    async def _ask(self, verb: str, address: str, path: str, body: Any = None) -> tuple[int, Any]:
        breaker = self._breakers.setdefault(address, CircuitBreaker(failures=3, pause=5.0, now=self._now))
        breaker.admit(f"the vRouter agent at {address}")
        try:
            answer = await self._exchange(verb, address, path, body)
        except Unreachable as error:
            breaker.failed(error.message)
            raise
        breaker.succeeded()
        return answer

    async def _exchange(self, verb: str, address: str, path: str, body: Any) -> tuple[int, Any]:
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


@dataclass(slots=True, eq=False)
class _Turn:
    """Who works on a port, and how many wait."""

    lock: asyncio.Lock
    users: int = 0


def _reason(answer: Any) -> str:
    return error_text(answer) or "no reason given"
