"""One simulated VRouterAgent: a process that may run, crash or hang, its disk, its channels to the control nodes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from contrail_vsphere.simulator.core.clock import Clock
from contrail_vsphere.simulator.vrouter.delivery import ControlNode, PortFacts, SubnetFacts
from contrail_vsphere.simulator.vrouter.introspect import (
    Xmpp,
    XmppState,
    drop_stats,
    interfaces,
    port_subscriptions,
    xmpp_status,
)
from contrail_vsphere.simulator.vrouter.ports import PATH_ID, AgentAborts, Port, PortTable
from contrail_vsphere.wire.contrail.port_api import STALE_SECONDS, UNKNOWN_REQUEST

_ANY_SUBNET = SubnetFacts(24, "0.0.0.0", "0.0.0.0")  # noqa: S104 - the agent's "none"
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
    mode: Literal["vcenter", "esxi_neutron"] = "vcenter"
    """``vmware_mode``: whether a frame's source address must be its port's, or the VLAN alone says whose it is."""
    life: Life = "stopped"
    aborted: str = ""
    """The assertion it died of."""
    control_node: ControlNode | None = field(default=None, repr=False)
    """Where the configuration of ports comes from; None: everything counts as delivered."""
    table: PortTable = field(default_factory=PortTable)
    loss: float = 0.0
    """Frames that its vRouter drops in a second, and counts, for want of a next hop."""
    _channels: list[Xmpp] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _run: int = 0
    _connected_at: float | None = None
    _dropped: float = 0.0
    _counted_at: float = 0.0

    @property
    def forwards(self) -> bool:
        """Running, with a control node."""
        return self.life == "running" and any(channel.state == "established" for channel in self._channels)

    @property
    def channels(self) -> tuple[Xmpp, ...]:
        """The channels to the first two control nodes; the agent takes no more."""
        return tuple(self._channels)

    def delivered(self, port_id: str) -> PortFacts | None:
        """What has come of a port from the control node; None until VM, network and IPAM are there."""
        port = self.table.ports.get(port_id)
        if port is None:
            return None
        if self.control_node is None:
            return PortFacts(vm=port.vm, network=port.network, v4=_ANY_SUBNET)
        facts = self.control_node.facts(port_id)
        if facts is None or facts.vm != port.vm or self._connected_at is None:
            return None  # the agent asks for the VM that was posted, and sees the interfaces of that VM only
        begin = max(facts.since, port.since, self._connected_at)
        return facts if self.clock.time() >= begin + self.control_node.delay else None

    def active_ports(self) -> list[Port]:
        """The ports it moves frames for: linked up and delivered, while a control node is there."""
        if not self.forwards:
            return []
        return [port for port in self.table.ports.values() if port.link_up and self.delivered(port.id) is not None]

    def start(self) -> None:
        """The process starts: port files are read, control nodes are called."""
        self.life, self.aborted = "running", ""
        self._run += 1
        self._connected_at = None
        self._dropped, self._counted_at = 0.0, self.clock.time()
        self.table.stamp(self.clock.time())
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
        if state == "established" and self._connected_at is None:
            self._connected_at = self.clock.time()
        for number, channel in enumerate(self._channels):
            if controller and channel.controller != controller:
                continue
            flaps = channel.flaps + (channel.state == "established" and state != "established")
            self._channels[number] = replace(channel, state=state, flaps=flaps, since=self._now())

    def lose(self, frames: float) -> None:
        """From now on its vRouter drops so many frames in a second."""
        self._count()
        self.loss = frames

    def _count(self) -> int:
        now = self.clock.time()
        self._dropped += self.loss * (now - self._counted_at)
        self._counted_at = now
        return int(self._dropped)

    def answer_introspect(self, path: str) -> tuple[int, str]:
        """GET on port 8085: status and XML."""
        if path == "/Snh_AgentXmppConnectionStatusReq":
            return 200, xmpp_status(self._channels)
        if path == "/Snh_FetchVmiPortSubscriptionReq":
            return 200, port_subscriptions(self.table.ports.values())
        if path == "/Snh_ItfReq":
            return 200, interfaces((port, self.delivered(port.id)) for port in self.table.ports.values())
        if path == "/Snh_KDropStatsReq":
            dropped = self._count()
            return 200, drop_stats({"discard": dropped // 2, "invalid_nh": dropped - dropped // 2})
        return 404, "<error>not found</error>"

    def answer_port(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Port API on 9091. Raises AgentAborts; the caller then ends the process."""
        self.table.stamp(self.clock.time())
        if (method, path) == ("POST", "/port"):
            return self.table.post(body)
        if (method, path) == ("POST", "/syncports"):
            version = self.table.begin_sync()
            self._later(STALE_SECONDS, lambda: self.table.end_sync(version))
            return 200, {}
        match = _PORT_PATH.fullmatch(path)
        if match is not None:
            kind, port = match.groups()
            if kind == "port" and method == "DELETE":
                return self.table.delete(port)
            if kind == "port" and method == "GET":
                return self.table.get(port, self.delivered(port))
            if kind != "port" and method == "PUT":
                return self.table.link(port, up=kind == "enable-port")
        return 404, dict(UNKNOWN_REQUEST)

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
