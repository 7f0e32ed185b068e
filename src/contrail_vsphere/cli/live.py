"""The live status table: asked anew every second, drawn in place."""

from __future__ import annotations

import asyncio
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from contrail_vsphere.app.control_client import ControlClient
from contrail_vsphere.cli.rollout_lines import rollout_lines
from contrail_vsphere.config.settings import Settings
from contrail_vsphere.demo.screen import status_view


async def watch_status(settings: Settings) -> None:
    """Show the table until interrupted."""
    async with ControlClient(settings, role="viewer") as client:
        with Live(refresh_per_second=4) as live:
            while True:
                document = await client.get("/v1/status")
                live.update(whole_view(document, height=live.console.height - 5))
                await asyncio.sleep(1)


def whole_view(document: dict[str, Any], *, height: int) -> RenderableType:
    """Rollouts under way above the table of hosts, in at most ``height`` lines."""
    under_way = [each for each in document["rollouts"] if each["state"] != "done"]
    lines = [line for each in under_way for line in rollout_lines(each)][: max(height // 2, 1)]
    told = [Text(line, no_wrap=True, overflow="ellipsis") for line in lines]
    return Group(*told, status_view(document, height=height - len(told)))
