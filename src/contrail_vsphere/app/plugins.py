"""The plugins of several vCenters in one process, each with a session, a journal, a health and an API of its own.

None waits for another: a vCenter that is away when the process starts, or whose plugin cannot run, is tried again while
the others are served.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from random import Random
from typing import Any, Final

from contrail_vsphere.app.clock import utc_now
from contrail_vsphere.app.plugin import PluginService
from contrail_vsphere.config.settings import Settings
from contrail_vsphere.engine.backoff import Backoff
from contrail_vsphere.model.errors import ContrailVsphereError, SettingsError

RETRY: Final = Backoff(first=2.0, most=60.0)
"""Between two tries to start one of them."""
_LOG = logging.getLogger(__name__)


class PluginServices:
    """``async with`` it: every plugin has started, or failed once, when it is entered; ``ready`` says which."""

    def __init__(
        self,
        settings: Settings,
        *,
        vcenters: Sequence[str],
        now: Callable[[], datetime] = utc_now,
        seed: int | None = None,
    ) -> None:
        check_apart(settings, vcenters)
        self._settings = settings
        self._now = now
        self._seed = seed
        self._random = Random(seed)
        self._tasks: list[asyncio.Task[None]] = []
        self._tried = {name: asyncio.Event() for name in vcenters}
        self.running: dict[str, PluginService] = {}
        """By the vCenter's name."""
        self.failed: dict[str, str] = {}
        """Why one does not run, by the vCenter's name."""

    @property
    def ready(self) -> dict[str, Any]:
        """What has started, and what has not."""
        found: dict[str, Any] = {
            name: {"control_url": each.ready["control_url"]} for name, each in self.running.items()
        }
        found |= {name: {"error": reason} for name, reason in self.failed.items()}
        return {"role": "plugin", "vcenters": dict(sorted(found.items()))}

    async def __aenter__(self) -> PluginServices:
        """Start all side by side."""
        self._tasks = [asyncio.create_task(self._keep(name), name=f"plugin of {name}") for name in self._tried]
        try:
            await asyncio.gather(*(tried.wait() for tried in self._tried.values()))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, name: str) -> None:
        """Start one, as often as it takes; then leave it to itself until the end."""
        failures = 0
        async with AsyncExitStack() as stack:
            while name not in self.running:
                service = PluginService(self._settings, vcenter=name, now=self._now, seed=self._seed)
                try:
                    await stack.enter_async_context(service)
                except (ContrailVsphereError, OSError) as error:
                    failures += 1
                    self.failed[name] = str(error)
                    self._tried[name].set()
                    _LOG.error("the plugin of vCenter %s does not start: %s", name, error)
                    await asyncio.sleep(RETRY.delay(failures, self._random))
                else:
                    self.failed.pop(name, None)
                    self.running[name] = service
            self._tried[name].set()
            stack.callback(self.running.pop, name)
            await asyncio.Event().wait()


def check_apart(settings: Settings, vcenters: Sequence[str]) -> None:
    """SettingsError if two of them would listen at one port, or take one manager's hosts for their own."""
    listens: dict[str, str] = {}
    managers: dict[str, str] = {}
    for name in vcenters:
        table = settings.vcenter[name]
        listen = table.plugin_listen or settings.plugin.listen
        other = listens.setdefault(str(listen), name) if listen.port else name
        if other != name:
            raise SettingsError(
                f"the plugins of vCenters {other} and {name} would both listen at {listen}",
                hint=f"set plugin_listen in [vcenter.{name}]",
            )
        if settings.plugin.hosts_file is None:
            other = managers.setdefault(table.hosts_url or settings.plugin.hosts_url, name)
            if other != name:
                raise SettingsError(
                    f"the plugins of vCenters {other} and {name} would learn their hosts from the same manager",
                    hint=f"set hosts_url in [vcenter.{name}], or hosts_file in [plugin]",
                )
