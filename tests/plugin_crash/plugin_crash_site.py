"""A site whose plugin dies at the n-th thing that it does to an outside world or to its journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any

from plugin_stand import PluginStand

from contrail_vsphere.engine.journal import Journal
from contrail_vsphere.model.errors import JournalError

VCENTER = ("run_task",)
CONTRAIL = ("create", "update", "delete", "ref_update")
AGENTS = ("add", "replace", "remove", "enable", "disable")


class Mortal(Journal):
    """A journal to which nothing more is written once its process is dead."""

    dead = False
    point: Callable[[str], None] = staticmethod(lambda _name: None)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.point("before the journal")
        if self.dead:
            raise JournalError("the process is dead")
        with super().transaction():
            yield
        self.point("after the journal")


class PluginCrashSite(PluginStand):
    """``arm`` it, let something happen, then ``over`` says whether the plugin died of it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._left = 0
        self._died = asyncio.Event()
        self.points = 0
        """Points passed while armed or not, since the start."""
        self.last = ""
        self.shared: list[str] = []

    async def __aenter__(self) -> PluginCrashSite:
        await super().__aenter__()
        self.vcenter.world.observe(lambda _commit: self._glance())
        return self

    async def resume(self) -> None:
        self._died.clear()
        self.journal_type = Mortal
        await super().resume()
        assert isinstance(self.journal, Mortal)
        self.journal.point = self._point
        applier = self.plugin.applier
        for thing, names in ((self.client, VCENTER), (self.api, CONTRAIL), (applier._agents, AGENTS)):
            for name in names:
                setattr(thing, name, self._watched(getattr(thing, name), name))

    def _watched(self, call: Any, name: str) -> Any:
        @wraps(call)
        async def watched(*args: Any, **fields: Any) -> Any:
            self._point(f"before {name}")
            answer = await call(*args, **fields)
            self._point(f"after {name}")
            return answer

        return watched

    def _point(self, name: str) -> None:
        """The dead neither write nor hear answers."""
        self.points += 1
        if self._died.is_set():
            raise JournalError("the process is dead")
        if self._left:
            self._left -= 1
            if not self._left:
                self.last = name
                self.journal.dead = True
                self._died.set()
                raise JournalError("the process is dead")

    def arm(self, points: int) -> None:
        """Die at the n-th point from now on."""
        self._left = points

    async def over(self, *, seconds: float = 20.0) -> bool:
        """Wait for the death; restart. False if the plugin outlived it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._died.wait()
        died, self._left = self._died.is_set(), 0
        if died:
            await self.crash()
            await self.resume()
        return died

    async def crash(self) -> None:
        with suppress(JournalError):
            await self.plugin.stop(deadline=0.0)
        await self.abandon()

    def _glance(self) -> None:
        used: dict[tuple[str, int], str] = {}
        for port in self.dvs.ports.ports.values():
            vlan = self.vlan(port)
            if port.vm is None or port.vm.host is None or not self.is_open(port) or port.vm.power_state != "poweredOn":
                continue
            other = used.setdefault((port.vm.host.moid, vlan or 0), port.key)
            if other != port.key:
                self.shared.append(f"{other} and {port.key}: VLAN {vlan}, after a death {self.last}")
