"""Keeps the VirtualRouter objects in Contrail equal to the vRouters that serve: name and address, host by host.

A redeployed ContrailVM keeps its vRouter's name; when its address is another, the object follows. A host that is served
no more keeps its object for a grace: it may come back, and objects that VMs refer to are not torn from under them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.model.protocols import VRouterObjects

INTERVAL = 30.0
"""Seconds between two looks."""
AGAIN = 600.0
"""Seconds after which an object is asked for once more: somebody may have deleted it."""
GRACE = 3600.0
"""Seconds a host may be without ContrailVM before its object goes."""

_LOG = logging.getLogger(__name__)


class VRouterRoll:
    """``serving`` gives name and address of every vRouter that forwards, ``known`` the names of all hosts in scope.

    ``known`` is None while another process leads: then nothing is removed.
    """

    def __init__(
        self,
        objects: VRouterObjects,
        *,
        serving: Callable[[], Mapping[str, str]],
        known: Callable[[], frozenset[str] | None],
    ) -> None:
        self._objects = objects
        self._serving = serving
        self._known = known
        self._told: dict[str, tuple[str, float]] = {}
        """Name -> address and when it was last made sure of."""
        self._gone: dict[str, float] = {}
        self.errors: dict[str, str] = {}
        """Name -> why its object is not as it should be."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="vrouter-roll")

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(INTERVAL)

    async def look(self) -> None:
        """One look at all of them; what fails is told once and tried again with the next look."""
        now = asyncio.get_running_loop().time()
        for name, address in sorted(self._serving().items()):
            self._gone.pop(name, None)
            before = self._told.get(name)
            if before is not None and before[0] == address and now < before[1] + AGAIN:
                continue
            if await self._try(name, self._objects.ensure(name, address)):
                self._told[name] = (address, now)
        known = self._known()
        for name in sorted(self._told.keys() - known) if known is not None else ():
            if now >= self._gone.setdefault(name, now) + GRACE and await self._try(name, self._objects.remove(name)):
                del self._told[name], self._gone[name]

    async def _try(self, name: str, work: Coroutine[Any, Any, None]) -> bool:
        try:
            await work
        except (ContrailVsphereError, TimeoutError) as error:
            if self.errors.get(name) != str(error):
                _LOG.warning("VirtualRouter %s: %s", name, error)
            self.errors[name] = str(error)
            return False
        self.errors.pop(name, None)
        return True
