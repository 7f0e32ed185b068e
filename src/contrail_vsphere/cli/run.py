"""``contrail-vsphere run``: the controllers in the foreground, for production."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from contrail_vsphere.cli.config import DEFAULT_FILE, ConfigFile

if TYPE_CHECKING:
    from contrail_vsphere.app.contrailvm import ContrailVmService


def run(
    config: ConfigFile = DEFAULT_FILE,
    vcenter: Annotated[str, typer.Option(help="Name of the vCenter's table, where the settings have several.")] = "",
) -> None:
    """Run the controllers in the foreground.

    Prints one JSON line when they serve; ends on Ctrl-C or SIGTERM.
    """
    from contrail_vsphere.app.contrailvm import ContrailVmService
    from contrail_vsphere.app.logs import configure
    from contrail_vsphere.config.load import load

    settings = load(config, os.environ)
    configure(level=settings.log.level, style=settings.log.format)
    asyncio.run(_serve(ContrailVmService(settings, vcenter=vcenter)))


async def _serve(service: ContrailVmService) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with service:
        sys.stdout.write(json.dumps(service.ready) + "\n")
        sys.stdout.flush()
        await ended.wait()
