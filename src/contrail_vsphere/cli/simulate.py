"""``contrail-vsphere simulate ...``: one simulator in the foreground, and the remote control of a running one."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from contrail_vsphere.model.errors import UsageError

app = typer.Typer(help="Run a simulator in the foreground, or steer a running one.", no_args_is_help=True)

Pace = Literal["instant", "demo", "real"]


@app.command()
def vcenter(
    listen: Annotated[str, typer.Option(help="HOST:PORT to serve on; port 0 picks a free one.")] = "127.0.0.1:0",
    hosts: Annotated[int, typer.Option(min=0, help="ESXi hosts to begin with.")] = 4,
    clusters: Annotated[int, typer.Option(min=1, help="Clusters the hosts are spread over.")] = 1,
    vms: Annotated[int, typer.Option(min=0, help="Tenant VMs to begin with.")] = 0,
    profile: Annotated[str, typer.Option(help="vCenter release to behave like.")] = "vc80u3",
    pace: Annotated[Pace, typer.Option(help="How long things take: not at all, watchably, or as in life.")] = "real",
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    ca_dir: Annotated[
        Path | None, typer.Option(help="Keep the CA here, so that clients trust it after a restart.")
    ] = None,
    username: Annotated[str, typer.Option(help="The administrator's name.")] = "administrator@vsphere.local",
    password_file: Annotated[
        Path | None, typer.Option(help="File with the administrator's password; else one is made up.")
    ] = None,
    guests: Annotated[
        bool, typer.Option(help="Run the guests of powered-on VMs, and the VRouterAgents in them.")
    ] = True,
) -> None:
    """A vCenter with EAM and DVS; prints one JSON line when it serves, ends on Ctrl-C or SIGTERM."""
    from contrail_vsphere.pki.secrets import read_secret
    from contrail_vsphere.simulator.core.timing import Timing
    from contrail_vsphere.simulator.simulator import VCenterSimulator

    _address(listen)
    timings = {"instant": Timing.instant, "demo": Timing.demo, "real": Timing.real}
    password = {"password": read_secret(password_file).reveal()} if password_file else {}
    simulator = VCenterSimulator(
        hosts=hosts, clusters=clusters, vms=vms, profile=profile, timing=timings[pace](), seed=seed, listen=listen,
        ca_dir=ca_dir, username=username, guests=guests, control=True, **password,
    )  # fmt: skip
    asyncio.run(_serve(simulator.start, simulator.stop, lambda: simulator.ready))


async def _serve(
    start: Callable[[], Awaitable[Any]], stop: Callable[[], Awaitable[Any]], ready: Callable[[], dict[str, Any]]
) -> None:
    """Start, say so in one line, and serve until a signal."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    await start()
    try:
        sys.stdout.write(json.dumps(ready()) + "\n")
        sys.stdout.flush()
        await ended.wait()
    finally:
        await stop()


def _address(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"--listen {text!r} is not HOST:PORT", hint="for example 127.0.0.1:8443")
    return host, int(port)
