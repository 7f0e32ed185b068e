"""``contrail-vsphere demo-servers``: Server Manager's story, on servers made of this machine; needs root on Debian."""

from __future__ import annotations

import asyncio
import signal
from typing import Annotated, Any

import typer

from contrail_vsphere.cli.output import print_json


def demo_servers(
    once: Annotated[bool, typer.Option("--once", help="End when all is healthy, and print the summary.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds until it is given up (exit 3).")] = 600.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON on stdout.")] = False,
) -> None:
    """See Server Manager put five roles on three servers.

    Registry, Ansible, SSH and Podman are real.
    Needs root and some packages, and says which. The servers are namespaces without a route out, gone with the demo.
    """
    from contrail_vsphere.demo.servers_story import tell

    async def told() -> dict[str, Any]:
        # A service manager's or timeout(1)'s SIGTERM ends the children as Ctrl-C does.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)
        return await tell(once=once, timeout=timeout, live=not as_json)

    summary = asyncio.run(told())
    if as_json:
        print_json(summary)
