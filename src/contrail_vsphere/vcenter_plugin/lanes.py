"""The lanes of one pass: those that are under way, and how those ended that are done.

A port must not stay open in another's VLAN because Contrail or a VRouterAgent takes its time for what it is asked about
the same VM. So a pass waits for the switch and looks again; for the others it waits while nothing is heard of the VM.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.vcenter_plugin.plan.actions import Action, Claim, RefetchPort, WritePort

OWN = frozenset({"local", "switch"})
"""Tracks of what the DVPort itself needs."""
MEANWHILE = (Claim, RefetchPort, WritePort)
"""What is done while others are under way: it is right whatever comes of those."""
AGAIN = 1.0
"""Seconds after which one of these that failed is tried again, while others are under way."""


class Lanes:
    """``run`` does the actions of one lane, one after the other. ``async with``: what is left at the end is cut off."""

    def __init__(self, run: Callable[[Sequence[Action]], Awaitable[None]]) -> None:
        self._run = run
        self._under_way: dict[str, tuple[asyncio.Future[None], list[Action]]] = {}
        self.failed: dict[str, Exception] = {}
        """The error of each lane that could not be finished, by track."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        tasks = [task for task, _ in self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return bool(self._under_way)

    def begin(self, actions: Sequence[Action]) -> None:
        """Start a lane for each track; none of these may be under way."""
        lanes: dict[str, list[Action]] = {}
        for action in actions:
            lanes.setdefault(action.track, []).append(action)
        for track, lane in lanes.items():
            self._under_way[track] = asyncio.ensure_future(self._run(lane)), lane

    async def settle(self, news: asyncio.Future[None] | None = None) -> list[Action]:
        """Wait for the switch, or where nothing of it is under way for all others; returns what was done meanwhile.

        ``news``: once this is done, the others are waited for no longer.
        """
        own = {task for track, (task, _) in self._under_way.items() if track in OWN}
        pending = own or {task for task, _ in self._under_way.values()}
        ends = {news} if news is not None and not own else set()
        again = AGAIN if ends and self.failed.keys() & OWN else None
        while pending and not any(end.done() for end in ends):
            done, _ = await asyncio.wait(pending | ends, timeout=again, return_when=asyncio.FIRST_COMPLETED)
            pending -= done
            if not done:
                break
        if ends and pending:
            self.failed = {track: error for track, error in self.failed.items() if track not in OWN}
        return self._collect()

    def _collect(self) -> list[Action]:
        finished: list[Action] = []
        for track, (task, lane) in tuple(self._under_way.items()):
            if not task.done():
                continue
            del self._under_way[track]
            try:
                task.result()
            except Exception as error:  # noqa: BLE001 - it is the pass's
                self.failed[track] = error
            else:
                finished += lane
        return finished


def raise_first(errors: Mapping[str, Exception]) -> None:
    """The one that says most: refused before transient before a host's."""
    if errors:
        worst = sorted(errors.items(), key=lambda item: (item[0].startswith("agent"), item[0]))
        unknown = [error for error in errors.values() if not isinstance(error, ContrailVsphereError)]
        raise unknown[0] if unknown else worst[0][1]
