"""The live status table: asked anew every second, drawn in place."""

from __future__ import annotations

import asyncio

from rich.live import Live

from contrail_vsphere.app.control_client import ControlClient
from contrail_vsphere.config.settings import Settings
from contrail_vsphere.demo.screen import status_view


async def watch_status(settings: Settings) -> None:
    """Show the table until interrupted."""
    async with ControlClient(settings, role="viewer") as client:
        with Live(refresh_per_second=4) as live:
            while True:
                document = await client.get("/v1/status")
                live.update(status_view(document, height=live.console.height - 5))
                await asyncio.sleep(1)
