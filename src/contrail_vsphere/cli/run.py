"""``contrail-vsphere run``: the controllers in the foreground, for production."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from contrail_vsphere.cli.config import DEFAULT_FILE, ConfigFile

if TYPE_CHECKING:
    from contrail_vsphere.app.contrailvm import ContrailVmService
    from contrail_vsphere.app.plugin import PluginService
    from contrail_vsphere.app.plugins import PluginServices
    from contrail_vsphere.config.settings import Settings

    Service = ContrailVmService | PluginService | PluginServices


class Role(StrEnum):
    """What a process does."""

    CONTRAILVM = "contrailvm"
    PLUGIN = "plugin"


def run(
    config: ConfigFile = DEFAULT_FILE,
    vcenter: Annotated[str, typer.Option(help="Name of the vCenter's table; plugins: one for each without it.")] = "",
    role: Annotated[
        list[Role] | None, typer.Option(help="What to run; repeat for several in one process. Default: contrailvm.")
    ] = None,
) -> None:
    """Run the controllers in the foreground.

    Prints one JSON line when they serve, of several roles one line each; ends on Ctrl-C or SIGTERM.
    """
    from contrail_vsphere.app.logs import configure
    from contrail_vsphere.config.load import load

    settings = load(config, os.environ)
    configure(level=settings.log.level, style=settings.log.format)
    chosen = dict.fromkeys(role or [Role.CONTRAILVM])
    asyncio.run(_serve([_service(each, settings, vcenter) for each in chosen]))


def _service(role: Role, settings: Settings, vcenter: str) -> Service:
    if role is Role.PLUGIN:
        from contrail_vsphere.app.plugin import PluginService
        from contrail_vsphere.app.plugins import PluginServices

        if not vcenter and len(settings.vcenter) > 1:
            return PluginServices(settings, vcenters=tuple(settings.vcenter))
        return PluginService(settings, vcenter=vcenter)
    from contrail_vsphere.app.contrailvm import ContrailVmService

    return ContrailVmService(settings, vcenter=vcenter)


async def _serve(services: Sequence[Service]) -> None:
    """Until a signal: what serves is ended in order, a start that waits for somebody is given up."""
    ended = asyncio.Event()
    starting = asyncio.current_task()

    def end() -> None:
        ended.set()
        if starting is not None:
            starting.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    try:
        async with AsyncExitStack() as stack:
            for service in services:
                await stack.enter_async_context(service)
                sys.stdout.write(json.dumps(service.ready) + "\n")
                sys.stdout.flush()
            starting = None
            await ended.wait()
    except asyncio.CancelledError:
        if not ended.is_set():
            raise
