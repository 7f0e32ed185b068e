"""``contrail-vsphere contrailvm adopt``: taking over what others, or a lost journal, left behind."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from contrail_vsphere.cli.config import DEFAULT_FILE, ConfigFile
from contrail_vsphere.cli.output import print_json, print_table, say
from contrail_vsphere.model.errors import UsageError


def adopt(
    agency: Annotated[str, typer.Argument(help="Agency of another tool, by name or id; none: list them.")] = "",
    config: ConfigFile = DEFAULT_FILE,
    vcenter: Annotated[str, typer.Option("--vcenter", help="Name of the vCenter's table.")] = "",
    cluster: Annotated[str, typer.Option(help="Only this cluster, by name or moid; else all of the agency's.")] = "",
    draft: Annotated[bool, typer.Option("--draft", help="Print a deployments file for agencies of our own.")] = False,
    extension: Annotated[
        bool, typer.Option("--extension", help="Make again what went with the extension that somebody unregistered.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")] = False,
) -> None:
    """Take over what others left behind.

    Another tool's agency is taken off its clusters, as an administrator: its ContrailVMs there are deleted, and the
    deployment that waits for the cluster comes in their place. An outage per cluster.
    """
    if sum(map(bool, (agency, draft, extension))) > 1:
        raise UsageError("an agency, --draft and --extension are three different things", hint="give one of them")
    if draft:
        document = asyncio.run(_ask(config, "GET", "/v1/adoptable"))
        if as_json:
            print_json(document)
        else:
            typer.echo(document["draft"] or "# every agency of ours belongs to a deployment", nl=not document["draft"])
    elif extension:
        _reattach(config, yes=yes, as_json=as_json)
    elif agency:
        _take_off(config, agency, cluster=cluster, vcenter=vcenter, yes=yes, as_json=as_json)
    else:
        _list(config, vcenter=vcenter, as_json=as_json)


def _list(config: Path, *, vcenter: str, as_json: bool) -> None:
    from contrail_vsphere.app.contrailvm_adopt import adoptable

    found = asyncio.run(adoptable(_settings(config), vcenter=vcenter))
    if as_json:
        print_json([asdict(each) for each in found])
        return
    rows = ((e.name, e.id, e.owner, e.status, ", ".join(e.clusters) or "-", str(len(e.vms))) for e in found)
    headings = ("agency", "id", "owner", "EAM", "clusters", "ContrailVMs")
    print_table("", headings, rows, empty="no agency of another tool runs ContrailVMs")


def _take_off(config: Path, agency: str, *, cluster: str, vcenter: str, yes: bool, as_json: bool) -> None:
    from contrail_vsphere.app.contrailvm_adopt import take_off

    if not yes:
        where = cluster or "all of its clusters"
        raise UsageError(
            f"the ContrailVMs of {agency} on {where} would be deleted, and tenants there lose their network until ours"
            " forward",
            hint="repeat with --yes in a maintenance window",
        )
    status = asyncio.run(_ask(config, "GET", "/v1/status"))
    waiting = {each["cluster"] for each in status["deployments"]}
    say(f"EAM removes the ContrailVMs of {agency}; this takes minutes")
    done = asyncio.run(
        take_off(_settings(config), agency, cluster=cluster, ready=waiting.__contains__, vcenter=vcenter)
    )
    if as_json:
        print_json(asdict(done))
        return
    typer.echo(f"{done.agency}: taken off {', '.join(done.clusters)}{'; destroyed' if done.destroyed else ''}")
    typer.echo("the deployment comes in its place: `contrailvm status` shows how far it is")


def _reattach(config: Path, *, yes: bool, as_json: bool) -> None:
    detached = asyncio.run(_ask(config, "GET", "/v1/adoptable"))["detached"]
    if detached and not yes:
        raise UsageError(f"everything would be deployed again: {detached}", hint="repeat with --yes if that is meant")
    outcome = asyncio.run(_ask(config, "POST", "/v1/reattach"))
    if as_json:
        print_json(outcome)
        return
    for line in outcome["changes"] or ("the extension stands; nothing to make again",):
        typer.echo(line)


async def _ask(config: Path, method: str, path: str) -> Any:
    from contrail_vsphere.app.control_client import ControlClient

    async with ControlClient(_settings(config), role="operator" if method == "POST" else "viewer") as client:
        return await (client.post(path, {}) if method == "POST" else client.get(path))


def _settings(config: Path) -> Any:
    from contrail_vsphere.config.load import load

    return load(config, os.environ)
