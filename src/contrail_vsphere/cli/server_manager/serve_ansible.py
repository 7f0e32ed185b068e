"""``server-manager serve-ansible``: the Ansible server, in the foreground; a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from contrail_vsphere.app.ansible_server import AnsibleService


def serve_ansible(context: typer.Context) -> None:
    """Serve runs of playbooks on 9003.

    Prints one JSON line when it serves; ends on Ctrl-C or SIGTERM, and leaves runs that are under way to their workers:
    the next start takes them up. Settings: `[server_manager]` of the settings file.
    """
    from contrail_vsphere.app.ansible_server import AnsibleService
    from contrail_vsphere.app.logs import configure
    from contrail_vsphere.config.load import load
    from contrail_vsphere.config.settings import Settings

    file = context.obj.settings_file
    settings = load(file, os.environ) if file.exists() else Settings()
    configure(level=settings.log.level, style=settings.log.format)
    asyncio.run(_serve(AnsibleService(settings.server_manager)))


async def _serve(service: AnsibleService) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with service:
        sys.stdout.write(json.dumps(service.ready) + "\n")
        sys.stdout.flush()
        await ended.wait()
