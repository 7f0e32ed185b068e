"""``contrail-vsphere demo``: the story, live, on loopback."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from contrail_vsphere.cli.output import print_json


def demo(
    hosts: Annotated[int, typer.Option(min=3, help="ESXi hosts in the end; the last one joins during the story.")] = 4,
    vms: Annotated[int, typer.Option(min=0, help="Tenant VMs, which maintenance has to move.")] = 8,
    once: Annotated[bool, typer.Option("--once", help="End when all has converged, and print the summary.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds until it is given up (exit 3).")] = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """See the ContrailVM Manager serve a simulated vCenter.

    ESXi hosts get their ContrailVM, lose it and get it back; a host joins, another passes through maintenance.
    """
    from contrail_vsphere.demo.contrailvm_story import tell

    summary = asyncio.run(tell(hosts=hosts, vms=vms, once=once, timeout=timeout, show_json=as_json))
    if as_json:
        print_json(summary)
