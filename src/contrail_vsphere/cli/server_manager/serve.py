"""``server-manager serve``: the REST API with its registry, in the foreground."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contrail_vsphere.cli.output import warn

if TYPE_CHECKING:
    from contrail_vsphere.app.server_manager import ServerManagerService


def serve(
    context: typer.Context,
    sm_config: Annotated[
        Path | None, typer.Option("--sm-config", help="The seed era's sm-config.ini, above the settings file.")
    ] = None,
) -> None:
    """Serve the API on 9001, and the embedded registry on 5100.

    Prints one JSON line when it serves; ends on Ctrl-C or SIGTERM. Settings: `[server_manager]` of the settings file.
    """
    from contrail_vsphere.app.logs import configure
    from contrail_vsphere.app.server_manager import ServerManagerService
    from contrail_vsphere.config.load import load
    from contrail_vsphere.config.settings import Settings
    from contrail_vsphere.servermanager.sm_config import read_sm_config

    file = context.obj.settings_file
    settings = load(file, os.environ) if file.exists() else Settings()
    configure(level=settings.log.level, style=settings.log.format)
    chosen = settings.server_manager
    if sm_config is not None:
        chosen, ignored = read_sm_config(sm_config, chosen)
        if ignored:
            warn(f"{sm_config}: no effect: {', '.join(ignored)}")
    asyncio.run(_serve(ServerManagerService(chosen)))


async def _serve(service: ServerManagerService) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with service:
        sys.stdout.write(json.dumps(service.ready) + "\n")
        sys.stdout.flush()
        await ended.wait()
