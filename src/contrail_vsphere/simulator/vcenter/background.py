"""Things that happen in the simulated data centre without a task: a guest that shuts down, HA that restarts a VM."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from contrail_vsphere.simulator.core.world import World
from contrail_vsphere.wire.soap.fault import SoapFault

log = logging.getLogger(__name__)


class Background:
    """Runs coroutines beside the calls until ``stop``; a SoapFault ends one of them and is logged."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    @classmethod
    def of(cls, world: World) -> Background:
        """The world's own, made when it is first needed."""
        found: Background = world.services.setdefault(cls, cls())
        return found

    def run(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        """Start and do not wait."""
        task = asyncio.get_running_loop().create_task(self._guard(work, name), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def idle(self) -> None:
        """Wait until nothing runs."""
        while self._running:
            await asyncio.gather(*self._running, return_exceptions=True)

    async def stop(self) -> None:
        """Cancel what runs."""
        for task in list(self._running):
            task.cancel()
        await self.idle()

    async def _guard(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        try:
            await work
        except SoapFault as error:
            log.info("%s did not happen: %s", name, error)
