"""``contrail-vsphere contrailvm certificates ...``: when they expire, and how they are changed while all goes on."""

from __future__ import annotations

import asyncio
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from contrail_vsphere.cli.config import DEFAULT_FILE, ConfigFile
from contrail_vsphere.cli.output import print_json, print_table
from contrail_vsphere.model.errors import UsageError

app = typer.Typer(help="Certificates: when they expire, and how they change.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]


class Step(StrEnum):
    """Of a rotation of our CA, in this order."""

    PREPARE = "prepare"
    ACTIVATE = "activate"
    RETIRE = "retire"


@app.command("list")
def list_certificates(config: ConfigFile = DEFAULT_FILE, as_json: AsJson = False) -> None:
    """Every certificate and when it expires."""
    document = asyncio.run(_ask(config, "/v1/certificates"))
    if as_json:
        print_json(document)
        return
    rows = ((e["name"], e["expires"][:10], e["thumbprint"], e["advice"] or "-") for e in document["certificates"])
    print_table("", ("certificate", "expires", "SHA-1 thumbprint", "what to do"), rows)
    if document["ca"] != "steady":
        typer.echo(f"a rotation of the CA is {document['ca']}")


@app.command()
def ca(
    step: Annotated[Step, typer.Argument(help="The step; one after the other.")],
    config: ConfigFile = DEFAULT_FILE,
    force: Annotated[
        bool, typer.Option("--force", help="Retire the CA of before although ContrailVMs have certificates of it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rotate our CA, step by step.

    prepare: the next one is trusted. activate: it issues. retire: the one before is trusted no more.
    """
    if force and step is not Step.RETIRE:
        raise UsageError("--force belongs to retire")
    _change(config, "/v1/certificates/ca", {"step": step.value, "force": force}, as_json=as_json)


@app.command()
def extension(config: ConfigFile = DEFAULT_FILE, as_json: AsJson = False) -> None:
    """Give our extension in vCenter a new certificate now.

    The manager does so by itself 30 days before the present one expires.
    """
    _change(config, "/v1/certificates/extension", {}, as_json=as_json)


def _change(config: Path, path: str, body: dict[str, Any], *, as_json: bool) -> None:
    outcome = asyncio.run(_ask(config, path, body))
    if as_json:
        print_json(outcome)
        return
    for line in outcome["changes"] or ("nothing to change",):
        typer.echo(line)


async def _ask(config: Path, path: str, body: dict[str, Any] | None = None) -> Any:
    from contrail_vsphere.app.control_client import ControlClient
    from contrail_vsphere.config.load import load

    settings = load(config, os.environ)
    async with ControlClient(settings, role="viewer" if body is None else "operator") as client:
        return await (client.get(path) if body is None else client.post(path, body))
