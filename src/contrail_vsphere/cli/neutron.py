"""``contrail-vsphere neutron``: the worker of one vCenter, and questions to Neutron's database about it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Neutron's vmware_dvs driver: one worker per vCenter.", no_args_is_help=True)

ConfigFiles = Annotated[
    list[Path],
    typer.Option("--config-file", help="Neutron's settings, then the vCenter's own file; repeat.", show_default=False),
]


@app.command()
def worker(config_file: ConfigFiles) -> None:
    """Follow Neutron on one vCenter, in the foreground; ends on SIGTERM.

    Several may run for one vCenter: one works, the others wait for its lease.
    """
    from contrail_vsphere.ml2.worker.boot import load, serve

    settings, own = load(config_file)
    asyncio.run(serve(settings, own))
