"""The walked site with two processes that stand for election: the one that leads is frozen, ends, comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from elected_stand import ElectedStand, Member
from plugin_site import PluginSite

from contrail_vsphere.model.errors import ContrailVsphereError


class ElectedSite(PluginSite, ElectedStand):
    """As ``PluginSite``; ``alive`` as long as any of the processes runs."""

    NAMES = ("one", "two")

    def __init__(self, directory: Path, **options: Any) -> None:
        super().__init__(directory, **options)
        self.names = self.NAMES
        self.frozen: list[Member] = []

    async def resume(self) -> None:
        for name in self.names:
            if name not in self.members:
                await self.begin_process(name)

    async def revive(self) -> None:
        """Start each that does not run, as a service manager does until it stays."""
        await super().revive()
        for name in self.names:
            while name not in self.members:
                try:
                    await self.begin_process(name)
                except ContrailVsphereError as refused:
                    self.told.append(f"  {name} does not start: {refused}")
                    await asyncio.sleep(5.0)

    async def begin_process(self, name: str) -> None:
        await ElectedStand.begin(self, name)

    async def abandon(self) -> None:
        """What began beside one that could not begin ends with it."""
        await ElectedStand.crash(self)

    def freeze(self) -> str:
        """The leader's session ends, and it does not know yet."""
        if not self.election.queue or not self.election.queue[0].leads:
            return ""
        self.frozen.append(self.election.freeze())
        return "the leader is frozen: " + ("the other one leads" if self.election.queue else "nobody leads")

    def thaw(self) -> str:
        if not self.frozen:
            return ""
        for member in self.frozen:
            member.hears()
        self.frozen.clear()
        return "who was frozen hears that its reign is over"

    async def rest(self, *, away: str = "") -> list[str]:
        self.thaw()
        return await super().rest(away=away)

    def describe(self) -> str:
        if self.reigning is None:
            return "nobody leads"
        ports = (f"{port.vm} {port.id.nic}: {port.state} {port.reason}" for port in self.plugin.controller.ports())
        return "\n".join((super().describe(), *ports))
