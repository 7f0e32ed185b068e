"""``contrail-vsphere neutron``: the worker of one vCenter, and what an operator asks and orders around it."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contrail_vsphere.cli import neutron_fuel
from contrail_vsphere.cli.output import print_json, print_table, say
from contrail_vsphere.model.errors import UsageError

if TYPE_CHECKING:
    from contrail_vsphere.ml2.options import WorkerSettings
    from contrail_vsphere.ml2.worker.neutron_store import NeutronStore

app = typer.Typer(help="Neutron's vmware_dvs driver: one worker per vCenter.", no_args_is_help=True)
app.add_typer(neutron_fuel.app, name="fuel")

ConfigFiles = Annotated[
    list[Path],
    typer.Option("--config-file", help="Neutron's settings, then the vCenter's own file; repeat.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
NetworkIds = Annotated[list[str] | None, typer.Option("--network", help="Id of a Neutron network; repeat.")]
PortIds = Annotated[list[str] | None, typer.Option("--port", help="Id of a Neutron port; repeat.")]


@app.callback()
def prepare() -> None:
    """Before any command: what Neutron imports announces eventlet's end on stderr, which no operator can change."""
    warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")


@app.command()
def worker(
    config_file: ConfigFiles,
    heartbeat: Annotated[
        Path | None, typer.Option(help="File that is written whenever Neutron's database was reached.")
    ] = None,
    metrics: Annotated[str, typer.Option(help="HOST:PORT on which Prometheus finds /metrics; empty: nowhere.")] = "",
) -> None:
    """Follow Neutron on one vCenter, in the foreground.

    Ends on SIGTERM. Several may run for one vCenter: one works, the others wait for its lease.
    """
    from contrail_vsphere.ml2.worker.boot import load, serve

    settings, own = load(config_file, logs=True)
    asyncio.run(serve(settings, own, heartbeat=heartbeat, metrics=metrics))


@app.command()
def status(config_file: ConfigFiles, as_json: AsJson = False) -> None:
    """Who works for each vCenter, and what is open.

    Also what was given up, and why. Asks Neutron's database alone.
    """
    from contrail_vsphere.ml2 import operations
    from contrail_vsphere.ml2.worker.boot import load_settings

    found = operations.status(load_settings(config_file))
    if as_json:
        print_json({"vcenters": found})
        return
    rows = [
        (
            each["vcenter"],
            each["worker"] or "nobody",
            "yes" if each["state"].get("vcenter_reached") else "no",
            str(each["port_groups"]),
            str(each["pending"]),
            str(each["dead_count"]),
            "; ".join([each["state"].get("problem") or "", *each["state"].get("warnings", ())]).strip("; "),
        )
        for each in found
    ]
    print_table("", ("vCenter", "worker", "reached", "port groups", "pending", "given up", "problem"), rows)
    given_up = [(each["vcenter"], row["kind"], row["id"], row["reason"]) for each in found for row in each["dead"]]
    if given_up:
        print_table("given up; `neutron repair` tries again", ("vCenter", "what", "id", "why"), given_up)
    orphans = [(each["vcenter"], name) for each in found for name in each["state"].get("orphans", ())]
    if orphans:
        print_table("port groups without a network", ("vCenter", "port group"), orphans)


@app.command()
def diff(
    config_file: ConfigFiles,
    network: NetworkIds = None,
    port: PortIds = None,
    as_json: AsJson = False,
) -> None:
    """What a worker would do now.

    Compares Neutron with vCenter and writes nothing.
    """
    _print_difference(config_file, network or [], port or [], as_json=as_json)


@app.command()
def resync(
    config_file: ConfigFiles,
    network: NetworkIds = None,
    port: PortIds = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Have the worker compare with vCenter again.

    These networks and ports, or everything.
    """
    if dry_run:
        _print_difference(config_file, network or [], port or [], as_json=as_json)
        return
    from contrail_vsphere.ml2 import operations

    vcenter = _vcenter(config_file)
    _ordered(operations.order(vcenter, networks=network or [], ports=port or []), vcenter, as_json=as_json)


@app.command()
def repair(
    config_file: ConfigFiles,
    orphans: Annotated[
        bool, typer.Option("--orphans", help="Also remove port groups of ours without a network, now.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Try again what was given up, and compare everything."""
    from contrail_vsphere.ml2 import operations

    if dry_run:
        _print_difference(config_file, [], [], as_json=as_json)
        return
    vcenter = _vcenter(config_file)
    revived = operations.revive(vcenter)
    _ordered(revived + operations.order(vcenter, orphans=orphans), vcenter, as_json=as_json)


@app.command()
def adopt(
    config_file: ConfigFiles,
    network: Annotated[str, typer.Option(help="Id of one Neutron network; without it, all.")] = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Mark as this cloud's what another driver made.

    Port groups of its networks; nothing else of them is changed.
    """
    from contrail_vsphere.ml2 import operations
    from contrail_vsphere.ml2.worker.boot import connector

    store, own = _store(config_file)
    found = asyncio.run(operations.adopt(store, connector(own), network=network, dry=dry_run))
    if found and not dry_run:
        operations.order(own.vcenter)
    if as_json:
        print_json({"adopted": found, "dry_run": dry_run})
        return
    rows = [(each["group"], each["network"], each["repairs"]) for each in found]
    print_table("", ("port group", "network", "the worker then repairs"), rows, empty="nothing to adopt")


@app.command()
def pacemaker(
    config_file: ConfigFiles,
    node: Annotated[
        list[str] | None, typer.Option("--node", help="A controller, by its name in Pacemaker; repeat.")
    ] = None,
    tool: Annotated[str, typer.Option(help="crmsh or pcs: whose language is written.")] = "crmsh",
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", help="NAME=VALUE for every resource; {vcenter} is its vCenter.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Write the commands that take the resources away.")] = False,
) -> None:
    """Print Pacemaker's resources for the workers of all vCenters."""
    from contrail_vsphere.ml2 import pacemaker as resources
    from contrail_vsphere.ml2.worker.boot import load_settings

    if tool not in ("crmsh", "pcs"):
        raise UsageError(f"--tool is '{tool}'", hint="crmsh or pcs")
    settings = load_settings(config_file)
    vcenters = sorted({site.vcenter for site in settings.placement.sites.values()})
    parameters = dict(_pair(each) for each in parameter or [])
    workers = resources.Workers(vcenters, node or [], parameters)
    if remove:
        text = resources.removal(workers, tool)
    else:
        text = resources.crmsh(workers) if tool == "crmsh" else resources.pcs(workers)
    typer.echo(text, nl=False)


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise UsageError(f"--parameter '{text}' is not NAME=VALUE")
    return name, value


def _vcenter(config_files: list[Path]) -> str:
    from contrail_vsphere.ml2.options import worker_vcenter
    from contrail_vsphere.ml2.worker.boot import load_settings

    load_settings(config_files)
    return worker_vcenter()


def _store(config_files: list[Path]) -> tuple[NeutronStore, WorkerSettings]:
    from contrail_vsphere.ml2.worker.boot import load
    from contrail_vsphere.ml2.worker.neutron_store import NeutronStore

    settings, own = load(config_files)
    return NeutronStore(settings, own.vcenter), own


def _ordered(rows: int, vcenter: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"vcenter": vcenter, "rows": rows})
    else:
        say(f"{rows} rows for the worker of {vcenter}; `neutron status` shows when they are done")


def _print_difference(config_files: list[Path], networks: list[str], ports: list[str], *, as_json: bool) -> None:
    from contrail_vsphere.ml2 import operations
    from contrail_vsphere.ml2.worker.boot import connector

    store, own = _store(config_files)
    report = asyncio.run(operations.difference(store, connector(own), networks=networks, ports=ports))
    found: list[dict[str, Any]] = list(operations.described(report))
    if as_json:
        print_json({"vcenter": own.vcenter, "actions": found})
        return
    rows = [(each["action"], each["object"], each["why"]) for each in found]
    print_table("", ("action", "object", "why"), rows, empty=f"{own.vcenter} is as Neutron says")
