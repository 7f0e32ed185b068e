"""``contrail-vsphere demo-neutron``: Neutron with two simulated vCenters, three tiers, and a worker that dies."""

from __future__ import annotations

import asyncio
import signal
from typing import Annotated, Any

import typer

from contrail_vsphere.cli.output import print_json


def demo_neutron(
    once: Annotated[bool, typer.Option("--once", help="End when the story is told, and print the summary.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds until it is given up (exit 3).")] = 600.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON on stdout.")] = False,
) -> None:
    """See Neutron's networks and ports on two vCenters.

    With their security groups, as DVS filter rules. Neutron and MariaDB are real.
    Needs MariaDB's programs, and says so. Everything listens on loopback and is gone with the demo.
    """
    from contrail_vsphere.demo.neutron_story import tell

    async def told() -> dict[str, Any]:
        # A service manager's or timeout(1)'s SIGTERM ends the children as Ctrl-C does.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)
        return await tell(once=once, timeout=timeout, live=not as_json)

    summary = asyncio.run(told())
    if as_json:
        print_json(summary)
