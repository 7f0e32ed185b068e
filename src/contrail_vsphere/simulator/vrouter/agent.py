"""One simulated VRouterAgent: a process that may run, crash or hang, its disk, its channels to the control nodes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from contrail_vsphere.simulator.core.clock import Clock
from contrail_vsphere.simulator.vrouter.introspect import Xmpp, XmppState, port_subscriptions, xmpp_status
from contrail_vsphere.simulator.vrouter.ports import PATH_ID, AgentAborts, PortTable

STALE_SYNC = 60.0
"""Seconds from POST /syncports until ports that were not posted again are dropped."""

_PORT_PATH = re.compile(rf"/(port|enable-port|disable-port)/({PATH_ID.pattern})")

Life = Literal["stopped", "running", "dead"]


@dataclass(slots=True, eq=False)
class VRouterAgent:
    """State and rules; the fleet owns the sockets. ``name`` is the VirtualRouter's (or the VM's), for people."""

    name: str
    address: str
    clock: Clock
    controllers: tuple[str, ...] = ("10.0.0.11", "10.0.0.12")
    connect_after: float | None = 1.0
    """Seconds from the start until the control nodes answer; None: never."""
    life: Life = "stopped"
    aborted: str = ""
    """The assertion it died of."""
    resolved: Callable[[str], bool] = field(default=lambda _port: True, repr=False)
    """Whether VM, network and IPAM of a port have come from the controller (GET answers 404 until then)."""
    table: PortTable = field(default_factory=PortTable)
    _channels: list[Xmpp] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _run: int = 0

    @property
    def forwards(self) -> bool:
        """Running, with a control node."""
        return self.life == "running" and any(channel.state == "established" for channel in self._channels)

    @property
    def channels(self) -> tuple[Xmpp, ...]:
        """The channels to the first two control nodes; the agent takes no more."""
        return tuple(self._channels)

    def start(self) -> None:
        """The process starts: port files are read, control nodes are called."""
        self.life, self.aborted = "running", ""
        self._run += 1
        self._channels = [Xmpp(controller, since=self._now()) for controller in self.controllers[:2]]
        try:
            self.table.reload()
        except AgentAborts as abort:
            self.abort(str(abort))
            return
        if self.connect_after is not None:
            self._later(self.connect_after, lambda: self.set_xmpp("established"))

    def stop(self, life: Life = "stopped") -> None:
        """The process ends; what is not in port files is forgotten."""
        self.life = life
        self._channels = []
        self._run += 1
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()

    def abort(self, assertion: str) -> None:
        """It dies of an assertion, and stays dead until somebody starts it."""
        self.stop("dead")
        self.aborted = assertion

    def set_xmpp(self, state: XmppState, *, controller: str = "") -> None:
        """Set the channel to one control node, or all of them."""
        for number, channel in enumerate(self._channels):
            if controller and channel.controller != controller:
                continue
            flaps = channel.flaps + (channel.state == "established" and state != "established")
            self._channels[number] = replace(channel, state=state, flaps=flaps, since=self._now())

    def answer_introspect(self, path: str) -> tuple[int, str]:
        """GET on port 8085: status and XML."""
        if path == "/Snh_AgentXmppConnectionStatusReq":
            return 200, xmpp_status(self._channels)
        if path == "/Snh_FetchVmiPortSubscriptionReq":
            return 200, port_subscriptions(self.table.ports.values())
        return 404, "<error>not found</error>"

    def answer_port(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Port API on 9091. Raises AgentAborts; the caller then ends the process."""
        if (method, path) == ("POST", "/port"):
            return self.table.post(body)
        if (method, path) == ("POST", "/syncports"):
            version = self.table.begin_sync()
            self._later(STALE_SYNC, lambda: self.table.end_sync(version))
            return 200, {}
        match = _PORT_PATH.fullmatch(path)
        if match is not None:
            kind, port = match.groups()
            if kind == "port" and method == "DELETE":
                return self.table.delete(port)
            if kind == "port" and method == "GET":
                return self.table.get(port, resolved=self.resolved(port))
            if kind != "port" and method == "PUT":
                return self.table.link(port, up=kind == "enable-port")
        return 404, {"error": "Unknown Request"}

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        run = self._run

        async def wait() -> None:
            await self.clock.sleep(seconds)
            if self._run == run:
                action()

        task = asyncio.get_running_loop().create_task(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _now(self) -> str:
        return self.clock.now().strftime("%Y-%b-%d %H:%M:%S.%f")
