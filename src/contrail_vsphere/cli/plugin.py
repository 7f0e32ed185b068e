"""``contrail-vsphere plugin ...``: what the vCenter plugin sees and would do, asked of the one that runs."""

from __future__ import annotations

import asyncio
import os
from contextvars import ContextVar
from typing import Annotated, Any

import typer

from contrail_vsphere.cli.config import DEFAULT_FILE, ConfigFile
from contrail_vsphere.cli.output import print_json, print_table, say
from contrail_vsphere.model.errors import InvalidState, UsageError

app = typer.Typer(help="The vCenter plugin: Contrail networks as port groups.", no_args_is_help=True)

_VCENTER: ContextVar[str] = ContextVar("vcenter", default="")
"""What ``--vcenter`` before the command said."""
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]


@app.callback()
def chosen(
    vcenter: Annotated[str, typer.Option(help="Name of the vCenter's table, where there are several.")] = "",
) -> None:
    """The vCenter plugin: Contrail networks as port groups."""
    _VCENTER.set(vcenter)


@app.command()
def status(config: ConfigFile = DEFAULT_FILE, as_json: AsJson = False) -> None:
    """Networks, ports and hosts, and what is wrong."""
    document = _ask(config, "/v1/status")
    if as_json:
        print_json(document)
        return
    print_table(
        "networks",
        ("name", "port groups", "VMs", "waits for"),
        [(n["name"], ", ".join(n["port_groups"]), str(n["vms"]), n["waits_for"]) for n in document["networks"]],
    )
    print_table(
        "ports",
        ("VM", "card", "host", "VLAN", "state", "reason"),
        [
            (p["vm"], p["id"].partition("/")[2], p["host_name"], str(p["vlan"] or ""), p["state"], p["reason"])
            for p in document["ports"]
        ],
    )
    print_table(
        "hosts",
        ("name", "VRouterAgent", "forwards", "synced", "VLANs free", "reason"),
        [
            (h["name"], h["address"], _yes(h["forwards"]), _yes(h["synced"]), str(h["vlans_free"]), h["reason"])
            for h in document["hosts"]
        ],
    )
    if document["brake"]["engaged"]:
        say(f"the deletion brake is engaged: {document['brake']['reason']}")
    for trouble in document["troubles"]:
        say(trouble)


@app.command()
def plan(config: ConfigFile = DEFAULT_FILE, as_json: AsJson = False) -> None:
    """What it would do now, and what waits for what."""
    document = _ask(config, "/v1/plan")
    if as_json:
        print_json(document)
        return
    rows = [(row["key"], row["verb"], row["reason"]) for row in (*document["actions"], *document["waits"])]
    print_table("", ("for", "what", "why"), rows, empty="nothing to do")


@app.command()
def audit(config: ConfigFile = DEFAULT_FILE, as_json: AsJson = False) -> None:
    """Check that vCenter, Contrail and VRouterAgents agree.

    Reads all ports again; exit code 1 when something does not fit.
    """
    document = _ask(config, "/v1/audit")
    if as_json:
        print_json(document)
    else:
        rows = [(row["what"], row["subject"], row["detail"]) for row in document["findings"]]
        print_table("", ("finding", "where", "detail"), rows, empty="everything agrees")
    if not document["good"]:
        raise InvalidState(f"{len(document['findings'])} findings", hint="the plugin repairs what it can by itself")


@app.command()
def explain(
    vm: Annotated[str, typer.Argument(help="Name, moid or instance UUID of the VM.")],
    config: ConfigFile = DEFAULT_FILE,
    as_json: AsJson = False,
) -> None:
    """Why a VM is not connected.

    A chain of checks for each card, with the first broken one marked.
    """
    from urllib.parse import quote

    document = _ask(config, f"/v1/explain?vm={quote(vm, safe='')}")
    if as_json:
        print_json(document)
        return
    for found in document["vms"]:
        for card in found["cards"]:
            rows = [(_mark(check["ok"]), check["name"], check["found"]) for check in card["checks"]]
            print_table(f"{found['name']} card {card['nic']} {card['mac']}", ("", "check", "found"), rows)
        if not found["cards"]:
            typer.echo(f"{found['name']} has no network card")


@app.command()
def adopt(
    networks: Annotated[
        list[str] | None, typer.Argument(help="Names or uuids of networks; none: all that are selected.")
    ] = None,
    config: ConfigFile = DEFAULT_FILE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be taken over.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take over what the Java plugin or contrail-vcenter-manager left.

    Port groups get our mark, interfaces too; ids, addresses and VLANs stay, and guests go on meanwhile.
    """
    from urllib.parse import urlencode

    query = urlencode([("network", network) for network in networks or ()])
    path = f"/v1/adoption?{query}" if query else "/v1/adoption"
    document = _ask(config, path) if dry_run else _tell(config, path)
    if as_json:
        print_json(document)
        return
    print_table(
        "port groups",
        ("network", "port group", "switch", "VMs", "changes now", "once all VMs have VLANs", "obstacle"),
        [
            (g["network"], g["port_group"], g["switch"], str(len(g["vms"])), "; ".join(g["now"]),
             "; ".join(g["later"]), g["obstacle"])
            for g in document["port_groups"]
        ],
        empty="no unmarked port group has a network's name",
    )  # fmt: skip
    print_table(
        "interfaces that keep id and addresses",
        ("VM", "card", "interface", "made by", "addresses", "VLAN"),
        [
            (i["vm"], str(i["nic"]), i["uuid"], i["made_by"], ", ".join(i["addresses"]), str(i["vlan"] or ""))
            for i in document["interfaces"]
        ],
    )
    print_table(
        "left alone",
        ("what", "uuid", "name", "made by", "why"),
        [(e["kind"], e["uuid"], e["name"], e["creator"], e["reason"]) for e in document["left_alone"]],
    )
    if dry_run:
        say("nothing was changed; without --dry-run it is done")


@app.command()
def resync(config: ConfigFile = DEFAULT_FILE, as_json: AsJson = False) -> None:
    """Read everything again now and look at every VM."""
    _print_changes(_tell(config, "/v1/resync"), as_json=as_json)


@app.command()
def release(
    config: ConfigFile = DEFAULT_FILE,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Approve deletions that the brake refused.

    Without --yes, say which they are.
    """
    if not yes:
        brake = _ask(config, "/v1/status")["brake"]
        for key in brake["refused"]:
            say(f"  {key}")
        raise UsageError(
            f"{len(brake['refused'])} deletions wait: {brake['reason'] or 'none'}",
            hint="repeat with --yes if they may go",
        )
    _print_changes(_tell(config, "/v1/brakes/plugin/release"), as_json=as_json)


def _print_changes(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        for change in document["changes"]:
            typer.echo(change)


def _ask(config: Any, path: str) -> Any:
    return asyncio.run(_exchange(config, path, change=False))


def _tell(config: Any, path: str) -> Any:
    return asyncio.run(_exchange(config, path, change=True))


async def _exchange(config: Any, path: str, *, change: bool) -> Any:
    from contrail_vsphere.app.connect import choose_vcenter
    from contrail_vsphere.app.control_client import ControlClient
    from contrail_vsphere.config.load import load

    settings = load(config, os.environ)
    _, table = choose_vcenter(settings, _VCENTER.get())
    listen = table.plugin_listen or settings.plugin.listen
    async with ControlClient(settings, role="operator" if change else "viewer", listen=listen) as client:
        return await (client.post(path, {}) if change else client.get(path))


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _mark(ok: bool | None) -> str:
    return {True: "ok", False: "BROKEN", None: "-"}[ok]
