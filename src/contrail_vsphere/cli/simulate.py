"""``contrail-vsphere simulate ...``: one simulator in the foreground, and the remote control of a running one."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from contrail_vsphere.cli import simulate_contrail, simulate_control
from contrail_vsphere.cli.output import warn
from contrail_vsphere.model.errors import ContrailVsphereError, UsageError

if TYPE_CHECKING:
    from contrail_vsphere.simulator.simulator import VCenterSimulator
    from contrail_vsphere.simulator.story import Story

app = typer.Typer(help="Run a simulator in the foreground, or steer one.", no_args_is_help=True)
app.add_typer(simulate_control.app, name="control")
simulate_control.app.add_typer(simulate_contrail.app, name="contrail")

Pace = Literal["instant", "demo", "real"]
ControlPort = Annotated[
    int, typer.Option(min=0, max=65535, help="Loopback port of the control API; 0 picks a free one.")
]


@app.command()
def vcenter(
    listen: Annotated[str, typer.Option(help="HOST:PORT to serve on; port 0 picks a free one.")] = "127.0.0.1:0",
    hosts: Annotated[int, typer.Option(min=0, help="ESXi hosts to begin with.")] = 4,
    clusters: Annotated[int, typer.Option(min=1, help="Clusters the hosts are spread over.")] = 1,
    vms: Annotated[int, typer.Option(min=0, help="Tenant VMs to begin with.")] = 0,
    profile: Annotated[
        str, typer.Option(help="Release to behave like: vc65, vc67, vc70, vc80u2, vc80u3, vc90 or vc91.")
    ] = "vc80u3",
    pace: Annotated[Pace, typer.Option(help="How long things take: not at all, watchably, or as in life.")] = "real",
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    ca_dir: Annotated[
        Path | None, typer.Option(help="Keep the CA here, so that clients trust it after a restart.")
    ] = None,
    username: Annotated[str, typer.Option(help="The administrator's name.")] = "administrator@vsphere.local",
    password_file: Annotated[
        Path | None,
        typer.Option(
            help="File (mode 0600) with the administrator's password; else VMware1!, off loopback a random one."
        ),
    ] = None,
    guests: Annotated[
        bool, typer.Option(help="Run the guests of powered-on VMs, and the VRouterAgents in them.")
    ] = True,
    control_port: ControlPort = 0,
    tunnel_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the sdkTunnel proxy; 0 picks a free one.")
    ] = 0,
    load: Annotated[
        Path | None, typer.Option(help="Begin with this inventory: a saved file, or a directory of govc object.save.")
    ] = None,
    switch: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE: how an unknown of the real thing is settled; repeat for more.")
    ] = None,
    scenario: Annotated[Path | None, typer.Option(help="Play this scenario file once it serves.")] = None,
    record: Annotated[Path | None, typer.Option(help="Write every verb that is done to this scenario file.")] = None,
) -> None:
    """A vCenter with EAM and DVS.

    Prints one JSON line when it serves; ends on Ctrl-C or SIGTERM.
    """
    from contrail_vsphere.config.settings import Address
    from contrail_vsphere.pki.secrets import read_secret
    from contrail_vsphere.simulator import switchboard
    from contrail_vsphere.simulator.core.timing import Timing
    from contrail_vsphere.simulator.profile import RELEASES
    from contrail_vsphere.simulator.simulator import VCenterSimulator
    from contrail_vsphere.simulator.story import load as load_story

    try:
        address = Address.parse(listen)
    except ValueError as error:
        raise UsageError(f"--listen: {error}", hint="for example 127.0.0.1:8443") from None
    if profile not in RELEASES:
        raise UsageError(f"--profile {profile}: no such release", hint=f"there are: {', '.join(RELEASES)}")
    if load is not None and not load.exists():
        raise UsageError(f"--load: there is no {load}", hint="name a saved file or a directory of govc object.save")
    story = load_story(scenario) if scenario is not None else None
    options: dict[str, Any] = {"load": load, "switches": switchboard.parse(switch or ())}
    if password_file is not None:
        options["password"] = read_secret(password_file).reveal()
    elif not address.is_loopback:
        options["password"] = secrets.token_urlsafe(16)
    if not address.is_loopback:
        warn(f"{address} can be reached by other machines: this is a simulator, for networks you trust only")
    timings = {"instant": Timing.instant, "demo": Timing.demo, "real": Timing.real}
    simulator = VCenterSimulator(
        hosts=hosts, clusters=clusters, vms=vms, profile=profile, timing=timings[pace](), seed=seed, listen=listen,
        ca_dir=ca_dir, username=username, guests=guests, control=True, control_port=control_port,
        tunnel_port=tunnel_port, **options,
    )  # fmt: skip
    asyncio.run(_serve_vcenter(simulator, story, record))


async def _serve_vcenter(simulator: VCenterSimulator, story: Story | None, record: Path | None) -> None:
    """Serve; what is played is recorded too, and a scenario that fails ends alone."""
    from contrail_vsphere.simulator.play import play
    from contrail_vsphere.simulator.record import Recorder

    recorder = Recorder(simulator, record) if record is not None else None
    playing: list[asyncio.Task[None]] = []

    async def tell(story: Story) -> None:
        try:
            played = await play(simulator, story)
            warn(f"the scenario is over: {played.steps} steps in {played.seconds:.0f} simulated seconds")
        except ContrailVsphereError as error:
            warn(f"the scenario ended: {error}")

    async def start() -> None:
        await simulator.start()
        for line in simulator.not_understood:
            warn(f"not loaded: {line}")
        if recorder is not None:
            recorder.start()
        if story is not None:
            playing.append(asyncio.create_task(tell(story), name="scenario"))

    async def stop() -> None:
        for task in playing:
            task.cancel()
        await asyncio.gather(*playing, return_exceptions=True)
        if recorder is not None:
            recorder.stop()
        await simulator.stop()

    await _serve(start, stop, lambda: simulator.ready)


@app.command()
def vrouter(
    agents: Annotated[int, typer.Option(min=1, max=1000, help="How many, named esx-00, esx-01, ...")] = 4,
    controllers: Annotated[
        list[str] | None, typer.Option("--controller", help="Address of a control node; repeat for the second.")
    ] = None,
    control_port: ControlPort = 0,
) -> None:
    """VRouterAgents: port API and introspect, without a data plane.

    Each has a loopback address of its own. Prints one JSON line when they serve; ends on Ctrl-C or SIGTERM.
    """
    from contrail_vsphere.simulator.control.server import ControlServer
    from contrail_vsphere.simulator.control.vrouters import make_app
    from contrail_vsphere.simulator.vrouter.fleet import VRouterFleet

    ready: dict[str, Any] = {}

    async def serve() -> None:
        fleet = VRouterFleet()
        control = ControlServer(make_app(fleet))

        async def start() -> None:
            for number in range(agents):
                await fleet.add(f"esx-{number:02}", controllers=tuple(controllers or ()))
            ready.update(agents=fleet.ready, control_url=await control.start(control_port))

        async def stop() -> None:
            await control.stop()
            await fleet.stop()

        await _serve(start, stop, lambda: ready)

    asyncio.run(serve())


@app.command()
def contrail(
    listen: Annotated[str, typer.Option(help="HOST:PORT to serve on; port 0 picks a free one.")] = "127.0.0.1:0",
    profile: Annotated[str, typer.Option(help="Release of the API server to behave like: r1912 or master.")] = "r1912",
    amqp: Annotated[
        str,
        typer.Option(
            envvar="CONTRAIL_VSPHERE_AMQP_URL",
            help="URL of the RabbitMQ that gets the notifications; with a password, better in the variable.",
        ),
    ] = "",
    servers: Annotated[int, typer.Option(min=1, max=8, help="API servers, each on an address of its own.")] = 1,
    keystone: Annotated[bool, typer.Option(help="Ask for tokens, and serve a Keystone that gives them.")] = False,
    password_file: Annotated[
        Path | None,
        typer.Option(help="File (mode 0600) with the password of admin; else contrail123, off loopback a random one."),
    ] = None,
    ca_dir: Annotated[
        Path | None, typer.Option(help="Serve over TLS, by a CA that is kept here; plain HTTP without.")
    ] = None,
    networks: Annotated[int, typer.Option(min=0, max=250, help="Networks to begin with, in project vCenter.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    control_port: ControlPort = 0,
) -> None:
    """A Contrail config API with notifications.

    Prints one JSON line when it serves; ends on Ctrl-C or SIGTERM.
    """
    from contrail_vsphere.config.settings import Address
    from contrail_vsphere.pki.secrets import read_secret
    from contrail_vsphere.simulator.contrail.profile import PROFILES
    from contrail_vsphere.simulator.contrail.simulator import ContrailSimulator

    try:
        address = Address.parse(listen)
    except ValueError as error:
        raise UsageError(f"--listen: {error}", hint="for example 127.0.0.1:8082") from None
    if profile not in PROFILES:
        raise UsageError(f"--profile {profile}: no such release", hint=f"there are: {', '.join(PROFILES)}")
    options: dict[str, Any] = {"auth": "keystone" if keystone else None}
    if password_file is not None:
        options["password"] = read_secret(password_file).reveal()
    elif not address.is_loopback:
        options["password"] = secrets.token_urlsafe(16)
    if not address.is_loopback:
        warn(f"{address} can be reached by other machines: this is a simulator, for networks you trust only")

    async def serve() -> None:
        simulator = ContrailSimulator(
            listen=listen, profile=profile, amqp=amqp or None, servers=servers, ca_dir=ca_dir, seed=seed, control=True,
            control_port=control_port, **options,
        )  # fmt: skip

        async def start() -> None:
            await simulator.start()
            for number in range(networks):
                simulator.scenario.create_network(f"net-{number:03}", f"10.{number + 1}.0.0/16")

        await _serve(start, simulator.stop, lambda: simulator.ready)

    asyncio.run(serve())


async def _serve(
    start: Callable[[], Awaitable[Any]], stop: Callable[[], Awaitable[Any]], ready: Callable[[], dict[str, Any]]
) -> None:
    """Start, say so in one line, and serve until a signal."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    try:
        try:
            await start()
        except OSError as error:
            raise UsageError(
                f"the simulator cannot start: {_reason(error)}",
                hint="choose an address, port or directory that is free",
            ) from error
        sys.stdout.write(json.dumps(ready()) + "\n")
        sys.stdout.flush()
        await ended.wait()
    finally:
        await stop()


def _reason(error: OSError) -> str:
    """What asyncio and the file system say, without their error numbers and Python's way to write an address."""
    words = error.strerror or str(error)
    bind = re.fullmatch(
        r"error while attempting to bind on address \('([^']+)', (\d+).*?\): (?:\[errno \d+\] )?(.*)", words
    )
    if bind is not None:
        return f"{bind[1]}:{bind[2]}: {bind[3]}"
    return f"{error.filename}: {words}" if error.filename else words
