"""``contrail-vsphere demo``: the story, live, on loopback."""

from __future__ import annotations

import asyncio
import signal
from typing import Annotated, Any

import typer

from contrail_vsphere.cli.output import print_json


def demo(
    hosts: Annotated[int, typer.Option(min=3, help="ESXi hosts in the end; the last one joins during the story.")] = 4,
    vms: Annotated[int, typer.Option(min=0, help="Tenant VMs, which users connect to the networks.")] = 8,
    once: Annotated[bool, typer.Option("--once", help="End when all has converged, and print the summary.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds until it is given up (exit 3).")] = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON on stdout, and no table.")] = False,
) -> None:
    """See ContrailVMs, port groups and ports come alive.

    vCenter, ESXi hosts and Contrail are simulated, ContrailVM Manager and vCenter plugin are real. Hosts get their
    ContrailVM, lose it and get it back; networks become port groups, VMs get VLAN, address and plug; a host joins,
    another passes through maintenance; all are upgraded, an upgrade to a broken package is stopped and taken back;
    VMs move. Everything runs in child processes on loopback, which end with the demo.
    """
    from contrail_vsphere.demo.contrailvm_story import tell

    async def told() -> dict[str, Any]:
        # A service manager's or timeout(1)'s SIGTERM ends the children as Ctrl-C does.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)
        return await tell(hosts=hosts, vms=vms, once=once, timeout=timeout, live=not as_json)

    summary = asyncio.run(told())
    if as_json:
        print_json(summary)
