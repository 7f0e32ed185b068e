"""Many VRouterAgents in one process, each on its own address out of 127.0.0.0/8, on the ports real ones have.

Every agent owns two listening sockets; one HTTP server behind them finds the agent by the local address of the
connection. Addresses are taken at random out of the process's own corner and kept per name, so a restarted VM finds its
address again; an address on which somebody else listens is passed over, so parallel test runs never meet.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aiohttp import web

from contrail_vsphere.simulator.core.clock import Clock
from contrail_vsphere.simulator.vrouter.agent import VRouterAgent
from contrail_vsphere.simulator.vrouter.delivery import ControlNode
from contrail_vsphere.simulator.vrouter.introspect import XmppState
from contrail_vsphere.simulator.vrouter.ports import AgentAborts
from contrail_vsphere.wire.contrail import port_api

PORT_API, INTROSPECT = port_api.PORT, port_api.INTROSPECT
LOSS = 100.0
"""Frames a second that a lossy vRouter counts as dropped."""


class VRouterFleet:
    """The agents by name, and their sockets."""

    def __init__(self, *, clock: Clock | None = None, port: int = PORT_API, introspect: int = INTROSPECT) -> None:
        self._clock = clock or Clock()
        self._ports = {"port": port, "introspect": introspect}
        self._agents: dict[str, VRouterAgent] = {}
        self._by_address: dict[str, VRouterAgent] = {}
        self._sites: dict[str, list[tuple[web.SockSite, socket.socket]]] = {}
        self._runner: web.ServerRunner | None = None
        self._hung: set[str] = set()
        self._control_node: ControlNode | None = None
        self._random = random.Random(os.urandom(8))
        self.calls: Counter[str] = Counter()
        """Requests that were answered, by verb and first word of the path; all agents together."""

    @property
    def agents(self) -> Mapping[str, VRouterAgent]:
        """All agents that were ever added and not removed, by name."""
        return self._agents

    @property
    def control_node(self) -> ControlNode | None:
        """Where all agents, present and future, get the configuration of their ports; None: they need none."""
        return self._control_node

    @control_node.setter
    def control_node(self, node: ControlNode | None) -> None:
        self._control_node = node
        for agent in self._agents.values():
            agent.control_node = node

    @property
    def ready(self) -> dict[str, dict[str, str]]:
        """Name -> ``port_url`` and ``introspect_url``, for the ready line."""
        return {
            name: {
                "port_url": f"http://{agent.address}:{self._ports['port']}",
                "introspect_url": f"http://{agent.address}:{self._ports['introspect']}",
            }
            for name, agent in self._agents.items()
        }

    async def start(self) -> None:
        """Make ready to add agents."""
        if self._runner is None:
            self._runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=0.1)
            await self._runner.setup()

    async def stop(self) -> None:
        """End every agent and close every socket."""
        for agent in self._agents.values():
            agent.stop()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._sites.clear()

    def address_of(self, name: str) -> str:
        """The address of an agent, present or future: reserved for the name from now on."""
        return self._agent(name).address

    async def add(
        self, name: str, *, controllers: tuple[str, ...] = (), connect_after: float | None = 1.0, loss: float = 0.0
    ) -> VRouterAgent:
        """Start an agent (its process and its sockets); one that exists is started again with its port files."""
        agent = self._agent(name)
        if controllers:
            agent.controllers = tuple(node.partition(":")[0] for node in controllers)
        agent.connect_after, agent.loss = connect_after, loss
        if agent.life == "running":
            await self._halt(agent)
        await self._launch(agent)
        return agent

    async def remove(self, name: str) -> None:
        """The VM is destroyed: process, sockets and port files go, the address is free."""
        agent = self._agents.pop(name, None)
        if agent is not None:
            await self._halt(agent)
            self._by_address.pop(agent.address, None)

    async def kill(self, name: str) -> None:
        """The process dies or the VM is off: connections break, the ports refuse, port files stay."""
        await self._halt(self._agents[name])

    async def restart(self, name: str) -> None:
        """Kill and start again."""
        agent = self._agents[name]
        await self._halt(agent)
        await self._launch(agent)

    async def act(self, name: str, act: str) -> None:
        """``xmpp-up``, ``xmpp-down``, ``kill``, ``restart``, ``hang``, ``unhang``, ``lossy`` or ``lossless``.

        ``lossy``: it counts ``LOSS`` frames a second as dropped. LookupError for anything else.
        """
        if name not in self.agents:
            raise LookupError(f"there is no VRouterAgent {name}")
        match act:
            case "xmpp-up" | "xmpp-down":
                self.xmpp(name, "established" if act == "xmpp-up" else "down")
            case "kill":
                await self.kill(name)
            case "restart":
                await self.restart(name)
            case "hang" | "unhang":
                self.hang(name, hung=act == "hang")
            case "lossy" | "lossless":
                self._agents[name].lose(LOSS if act == "lossy" else 0.0)
            case _:
                raise LookupError(f"a VRouterAgent cannot {act}")

    def hang(self, name: str, *, hung: bool = True) -> None:
        """Accept connections and never answer, or answer again."""
        (self._hung.add if hung else self._hung.discard)(self._agents[name].address)

    def xmpp(self, name: str, state: XmppState, *, controller: str = "") -> None:
        """Set an agent's channel to one control node or to all."""
        self._agents[name].set_xmpp(state, controller=controller)

    def _agent(self, name: str) -> VRouterAgent:
        agent = self._agents.get(name)
        if agent is None:
            address = next(self._free_addresses())
            agent = self._agents[name] = self._by_address[address] = VRouterAgent(name, address, self._clock)
            agent.control_node = self._control_node
        return agent

    def _free_addresses(self) -> Iterator[str]:
        """Addresses of ours where both ports can be bound right now."""
        for _attempt in range(1000):
            corner = 1 + (os.getpid() % 250)
            address = f"127.{corner}.{self._random.randint(0, 255)}.{self._random.randint(1, 254)}"
            if address in self._by_address:
                continue
            try:
                for port in self._ports.values():
                    _bound(address, port).close()
            except OSError:
                continue
            yield address
        raise OSError(f"no address in 127.0.0.0/8 has the ports {self._ports} free")

    async def _launch(self, agent: VRouterAgent) -> None:
        await self.start()
        assert self._runner is not None  # noqa: S101 - just started
        sites = self._sites[agent.name] = []
        for port in self._ports.values():
            listening = _bound(agent.address, port)
            sites.append((web.SockSite(self._runner, listening), listening))
            await sites[-1][0].start()
        agent.start()
        if agent.life == "dead":
            await self._halt(agent)

    async def _halt(self, agent: VRouterAgent) -> None:
        if agent.life == "running":
            agent.stop()
        self._hung.discard(agent.address)
        await self._close(self._sites.pop(agent.name, []))
        server = self._runner.server if self._runner is not None else None
        for connection in list(server.connections) if isinstance(server, web.Server) else ():
            transport = connection.transport
            if transport is not None and transport.get_extra_info("sockname")[0] == agent.address:
                transport.abort()

    async def _close(self, sites: Sequence[tuple[web.SockSite, socket.socket]]) -> None:
        """Stop listening. A connection that asyncio just accepted is let in first, to be aborted with the others.

        Python 3.11 has no transport for one whose server closed in between, and leaks its socket.
        """
        for _, listening in sites:
            asyncio.get_running_loop().remove_reader(listening)
        for _ in ("its transport is made", "its protocol is told"):
            await asyncio.sleep(0)
        for site, _ in sites:
            await site.stop()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            raise web.HTTPServiceUnavailable
        address, port = transport.get_extra_info("sockname")[:2]
        agent = self._by_address.get(address)
        if agent is None or agent.life != "running":
            transport.abort()
            raise web.HTTPServiceUnavailable
        if address in self._hung:
            await asyncio.Event().wait()
        self.calls[f"{request.method} {request.path.split('/')[1]}"] += 1
        if port == self._ports["introspect"]:
            status, page = agent.answer_introspect(request.path)
            return web.Response(status=status, text=page, content_type="text/xml")
        try:
            return _json(*agent.answer_port(request.method, request.path, await request.read()))
        except AgentAborts as abort:
            agent.abort(str(abort))
            await self._halt(agent)
            raise web.HTTPServiceUnavailable from abort


def _bound(address: str, port: int) -> socket.socket:
    """A listening-ready socket; OSError when somebody else has the port."""
    with contextlib.ExitStack() as undo:
        bound = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setblocking(False)
        bound.bind((address, port))
        undo.pop_all()
    return bound


def _json(status: int, document: dict[str, Any]) -> web.Response:
    return web.Response(status=status, body=json.dumps(document).encode(), content_type="application/json")
