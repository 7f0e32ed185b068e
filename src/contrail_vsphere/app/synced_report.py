"""How the plugin in a ContrailVM says whether its host has all its ports: at its manager's bootstrap server.

It says so when that changes, and now and then in between, so that a plugin that died is not believed for long.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable

import aiohttp

DEADLINE = 10.0
"""Seconds that the manager may take."""
LOOK = 1.0
"""Seconds between two looks at ourselves while anything is owed; tenants wait for it."""
EVERY = 30.0
"""Seconds between two reports of the same."""
AGAIN = 5.0
"""Seconds until a report that did not arrive is made again."""
_LOG = logging.getLogger(__name__)


class SyncedReporter:
    """Reports to the manager at ``url`` until stopped. ``state`` says whether nothing is owed, and what is.

    ``tls`` is called for every report: the guest's first-boot program renews the certificate while we run.
    """

    def __init__(
        self,
        url: str,
        http: aiohttp.ClientSession,
        tls: Callable[[], ssl.SSLContext],
        *,
        state: Callable[[], tuple[bool, str]],
    ) -> None:
        self._url = f"{url}/v1/synced"
        self._http = http
        self._tls = tls
        self._state = state
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="synced-report")

    async def stop(self) -> None:
        """Say nothing more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        told: bool | None = None
        due = 0.0
        while True:
            synced, reason = self._state()
            if synced != told or loop.time() >= due:
                arrived = await self._tell(synced, reason)
                told, due = (synced, loop.time() + EVERY) if arrived else (told, loop.time() + AGAIN)
                if not arrived:
                    await asyncio.sleep(AGAIN)
                    continue
            await asyncio.sleep(LOOK)

    async def _tell(self, synced: bool, reason: str) -> bool:
        timeout = aiohttp.ClientTimeout(total=DEADLINE)
        document = {"version": 1, "synced": synced, "reason": reason}
        try:
            async with self._http.post(
                self._url, json=document, ssl=self._tls(), timeout=timeout, allow_redirects=False
            ) as reply:
                if reply.status == 200:
                    return True
                _LOG.warning("the manager at %s does not take our report: %s", self._url, (await reply.text())[:200])
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            _LOG.warning("the manager at %s does not hear our report: %s", self._url, error)
        return False
