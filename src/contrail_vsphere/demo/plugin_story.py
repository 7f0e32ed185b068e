"""The vCenter plugin's part of the story: networks made in Contrail, VMs placed in them, moved, and taken out again.

No RabbitMQ is started for it: the plugin polls the config API every second, which is where the second goes that a
network takes to appear. What is counted in the end is counted by the other sides: VLANs by the switch, requests by the
simulated Contrail and by the VRouterAgents of the simulated guests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, AsyncExitStack
from pathlib import Path
from typing import Any, Final, Protocol, Self

from contrail_vsphere.app.connect import administrator, endpoint
from contrail_vsphere.app.control_client import ControlClient
from contrail_vsphere.config.load import load
from contrail_vsphere.demo.estate import Estate
from contrail_vsphere.demo.processes import Child, Children
from contrail_vsphere.demo.tale import Tale
from contrail_vsphere.model.errors import ContrailVsphereError, NotConverged

NETWORKS: Final = {"web": "10.1.0.0/16", "app": "10.2.0.0/16", "db": "10.3.0.0/16"}
PROJECT: Final = "vCenter"
PASSING: Final = ("lab", "10.9.0.0/24")
"""A network that comes, is used and goes within the story."""
POLL: Final = 0.25
"""Seconds between two looks; the demo runs in real time."""


class Stage(Protocol):
    """What the story is told on; see ``contrailvm_story``."""

    tale: Tale
    children: Children
    contrail: Child
    config: Path

    def step(self, words: str) -> AbstractContextManager[None]:
        """A chapter."""
        ...

    async def glance(self, obstacle: str) -> None:
        """Show how things stand, and remember what is waited for; raises when the manager has ended."""
        ...

    async def do(self, method: str, path: str, body: dict[str, Any] | None = None, *, url: str = "") -> Any:
        """A verb of a simulator's control port: of vCenter's when ``url`` names no other."""
        ...


class PluginStory:
    """Its chapters, in the order of their telling; ``async with`` it once the ContrailVM Manager runs."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._stack = AsyncExitStack()
        self._moves = 0
        """Live, that vCenter said were done."""
        self._settings = load(stage.config, {})
        self._starting: asyncio.Task[Child]
        self._plugin: Child
        self._control: ControlClient
        self._estate: Estate

    async def __aenter__(self) -> Self:
        """The plugin's process starts while hosts get their ContrailVM; ``begin`` waits for it."""
        command = ("run", "--role", "plugin", "--config", str(self._stage.config))
        self._starting = self._stage.tale.ahead(self._stage.children.start("plugin", *command))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Log out; the processes end with the demo."""
        await self._stack.aclose()

    async def begin(self) -> None:
        """The plugin serves, and a user is logged in to vCenter."""
        settings = self._settings
        (table,) = settings.vcenter.values()
        with self._stage.step("start the vCenter plugin, a process of its own"):
            self._plugin = await self._starting
            self._estate = await self._stack.enter_async_context(Estate(endpoint(table), administrator(table)))
        self._control = await self._stack.enter_async_context(
            ControlClient(settings, role="viewer", listen=settings.plugin.listen)
        )

    # -- the chapters -----------------------------------------------------------------------------------------------

    async def networks(self) -> None:
        """Networks are made in Contrail, and port groups appear."""
        with self._stage.step(f"networks {', '.join(NETWORKS)} are made in Contrail: each gets a port group"):
            for name, prefix in NETWORKS.items():
                await self._contrail_does("POST", "/v1/networks", {"name": name, "prefix": prefix, "project": PROJECT})
            await self._until("there is a port group for each", lambda: self._groups_are(set(NETWORKS)))

    async def machines(self) -> None:
        """Users connect their VMs to them."""
        vms = self._estate.tenants()
        if not vms:
            return
        with self._stage.step(f"users connect {len(vms)} VMs to them: each gets VLAN, address and plug"):
            await self._estate.place(vms, [group for name, group in self._estate.groups().items() if name in NETWORKS])
            await self.settled()

    async def replugged(self) -> None:
        """After something that took VRouterAgents away: every port is there again."""
        with self._stage.step("every port is plugged at the VRouterAgent of its host again"):
            await self.settled()

    async def vmotion(self) -> None:
        """VMs move live."""
        vms = self._estate.placed()[: max(4, len(self._estate.placed()) // 4)]
        if not vms:
            return
        with self._stage.step(f"{len(vms)} VMs move to other hosts, live: ports, VLANs and plugs follow"):
            self._moves += await self._estate.move(vms, self._estate.hosts())
            await self.settled()

    async def passing(self) -> None:
        """A network comes and goes, and so do the VMs in it."""
        name, prefix = PASSING
        guests = self._estate.placed()[:2]
        with self._stage.step(f"network {name} is made, used by {len(guests)} VMs, left and deleted: nothing stays"):
            body = {"name": name, "prefix": prefix, "project": PROJECT}
            await self._contrail_does("POST", "/v1/networks", body)
            await self._until("its port group is there", lambda: self._groups_are({*NETWORKS, name}))
            await self._estate.place(guests, [self._estate.groups()[name]])
            await self.settled()
            await self._estate.place(guests, [self._estate.groups()[each] for each in NETWORKS][:1])
            await self._until("the VMs have left", self._is_empty)
            await self._contrail_does("DELETE", f"/v1/networks/{name}")
            await self._until("its port group is gone", lambda: self._groups_are(set(NETWORKS)))
            await self.settled()

    # -- what is seen -----------------------------------------------------------------------------------------------

    async def settled(self) -> None:
        """Every running VM's port is open with a VLAN of its own, and plugged at the agent of its host and no other."""
        await self._until("every port is active", self._all_active)

    async def summary(self) -> dict[str, Any]:
        """The plugin's part of the summary. NotConverged when two ports share a VLAN on a host."""
        status, audit = await self._status(), await self._estate.audit()
        calls = await self._contrail_does("GET", "/v1/stats")
        agents = await self._stage.do("GET", "/v1/vrouters/calls")
        if audit.conflicts or audit.shut:
            raise NotConverged(f"{audit.conflicts} ports share a VLAN, {audit.shut} are shut in the end")
        return {
            "networks": len(self._estate.groups()),
            "ports_active": audit.active,
            "vlan_conflicts": audit.conflicts,
            "moves": self._moves,
            "contrail_calls": sum(calls["calls"].values()),
            "vrouter_calls": sum(number for call, number in agents.items() if "Snh_" not in call),
            "plug_ms_p50": status["plug_ms"]["p50"],
            "plug_ms_p99": status["plug_ms"]["p99"],
        }

    @property
    def visitor(self) -> int:
        """Calls to vCenter that the story's users made."""
        return self._estate.calls

    async def _all_active(self) -> str:
        """What is missing; empty when nothing is."""
        wanted = len(self._estate.placed())
        status = await self._status()
        states = [port["state"] for port in status["ports"]]
        if states.count("ACTIVE") < wanted:
            waiting = next((port for port in status["ports"] if port["state"] != "ACTIVE"), None)
            why = f"{waiting['vm']} is {waiting['state']}: {waiting['reason']}" if waiting else "it is being looked at"
            return f"{states.count('ACTIVE')} of {wanted} ports are active; {why}"
        agents = await self._stage.do("GET", "/v1/vrouters")
        plugged = sum(agent["ports"] for agent in agents)
        if plugged != wanted:
            return f"the VRouterAgents have {plugged} ports for {wanted} cards"
        audit = await self._estate.audit()
        return "" if audit.active == wanted else f"the switch has {audit.active} of {wanted} ports open with a VLAN"

    async def _groups_are(self, names: set[str]) -> str:
        found = set(self._estate.groups())
        return "" if found == names else f"there are port groups {', '.join(sorted(found)) or 'for none'}"

    async def _is_empty(self) -> str:
        """Contrail deletes no network that interfaces refer to."""
        networks = {
            network["name"].rpartition(":")[2]: network["uuid"] for network in (await self._status())["networks"]
        }
        path = f"/virtual-network/{networks[PASSING[0]]}?fields=virtual_machine_interface_back_refs"
        answer = await self._stage.do("GET", path, url=self._stage.contrail.ready["url"])
        left = len(answer["virtual-network"].get("virtual_machine_interface_back_refs", ()))
        return f"{left} interfaces are in it" if left else ""

    async def _status(self) -> dict[str, Any]:
        if not self._plugin.alive:
            raise ContrailVsphereError(f"the plugin ended: {self._plugin.last_words()}")
        document: dict[str, Any] = await self._control.get("/v1/status")
        return document

    async def _contrail_does(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return await self._stage.do(method, path, body, url=self._stage.contrail.ready["control_url"])

    async def _until(self, what: str, lacking: Callable[[], Awaitable[str]]) -> None:
        """Wait until nothing is lacking, and remember what is."""
        while reason := await lacking():
            await self._stage.glance(f"until {what}: {reason}")
            await asyncio.sleep(POLL)
