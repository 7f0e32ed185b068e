"""Whether our extension still stands in vCenter, and what follows when somebody took it away.

Unregistering makes EAM destroy every agency of ours. Somebody wanted that, or erred; either way it is not for us to
deploy everything again behind his back. The manager is *detached* from then on, which the journal remembers, until a
person says that all is to be made again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from contrail_vsphere.contrailvm.live import KeepsAlive
from contrail_vsphere.contrailvm.notebook import Notebook
from contrail_vsphere.model.errors import ContrailVsphereError, NotFound

HEARTBEAT = 120.0
"""Seconds between two heartbeats of our extension."""
REATTACH = "register it, then `contrailvm adopt --extension` if they are to be made again"

_LOG = logging.getLogger(__name__)


class Attachment:
    """``registration`` None: nothing is kept alive. ``leave`` raises where another process leads."""

    def __init__(
        self, registration: KeepsAlive | None, *, notebook: Notebook, leave: Callable[[], Awaitable[None]]
    ) -> None:
        self._registration = registration
        self._notebook = notebook
        self._leave = leave
        self._pulse: asyncio.Task[None] | None = None
        self.detached = notebook.detached
        """Why nothing may be made any more; empty while all is well."""

    def start(self) -> None:
        """Begin to keep the extension's heartbeat fresh."""
        if self._registration is not None:
            self._pulse = asyncio.create_task(self._beat(), name="contrailvm:heartbeat")

    async def stop(self) -> None:
        """End."""
        if self._pulse is not None:
            self._pulse.cancel()
            await asyncio.gather(self._pulse, return_exceptions=True)
            self._pulse = None

    async def check(self) -> None:
        """NotFound when our extension is gone: EAM is destroying our agencies then, and we keep our hands off."""
        if self._registration is None:
            return
        await self._leave()
        try:
            await self._registration.heartbeat()
        except NotFound as gone:
            if not self.detached:
                _LOG.error("detached: %s", gone)
                self.detached = f"{gone}; its agencies and ContrailVMs are gone with it: {REATTACH}"
                self._notebook.put_detached(self.detached)
            raise

    async def reattach(self) -> bool:
        """A person's word; False when there is nothing to attach. NotFound while the extension is not registered."""
        if not self.detached:
            return False
        await self.check()
        self.detached = ""
        self._notebook.put_detached("")
        return True

    async def _beat(self) -> None:
        while True:
            try:
                await self.check()
            except ContrailVsphereError as error:
                _LOG.info("heartbeat: %s", error)
            await asyncio.sleep(HEARTBEAT)
