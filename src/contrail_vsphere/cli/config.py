"""``contrail-vsphere config ...``: write an example, validate (also by connecting), show what is in force."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from contrail_vsphere.cli.output import print_json, print_table, say
from contrail_vsphere.model.errors import ContrailVsphereError, SettingsError

app = typer.Typer(help="The settings file: write an example, check it, show what is in force.", no_args_is_help=True)

DEFAULT_FILE = Path("contrail-vsphere.toml")
ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", envvar="CONTRAIL_VSPHERE_CONFIG", help="The settings file (TOML).")
]


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="Where to write it; - for stdout.")] = DEFAULT_FILE,
    name: Annotated[str, typer.Option(help="A name of your choice for the vCenter.")] = "lab",
    force: Annotated[bool, typer.Option(help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented settings file with every key and its default."""
    from contrail_vsphere.config.example import example

    text = example(name)
    if str(file) == "-":
        sys.stdout.write(text)
        return
    try:
        with file.open("w" if force else "x") as out:
            out.write(text)
    except FileExistsError:
        raise SettingsError(f"{file} exists", hint="choose another name, or --force to overwrite it") from None
    except OSError as error:
        raise SettingsError(f"cannot write {file}: {error.strerror}") from error
    say(f"wrote {file}; edit it, then: contrail-vsphere config check --config {file}")


@app.command()
def check(
    config: ConfigFile = DEFAULT_FILE,
    connect: Annotated[bool, typer.Option(help="Also log in to every vCenter that has an account.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Validate the file and the environment, and reach each vCenter over verified TLS."""
    from contrail_vsphere.config.load import load

    settings = load(config, os.environ)
    found: dict[str, Any] = {}
    if connect:
        found = {name: asyncio.run(_reach(table)) for name, table in settings.vcenter.items()}
    if as_json:
        print_json({"file": str(config), "vcenters": found})
        return
    for name, about in found.items():
        typer.echo(f"vcenter.{name}: {about['full_name']}, API {about['api_version']}, {about['login']}")
    typer.echo(f"{config}: good")


@app.command()
def show(
    config: ConfigFile = DEFAULT_FILE,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """The values in force and where each came from; secrets are masked."""
    from contrail_vsphere.config.load import read

    rows = list(read(config, os.environ).effective())
    if as_json:
        print_json([{"key": row.path, "value": row.value, "origin": row.origin} for row in rows])
        return
    print_table("", ("key", "value", "from"), ((row.path, str(row.value), row.origin) for row in rows))


async def _reach(table: Any) -> dict[str, str]:
    """Connect and, where an account is given, log in; what vCenter says of itself."""
    from contrail_vsphere.app.connect import administrator, endpoint
    from contrail_vsphere.vsphere.vcenter import VCenter

    if not table.username:
        raise SettingsError("no username to log in with", hint="give username and password_file, or --no-connect")
    try:
        async with VCenter(endpoint(table), administrator(table)) as vcenter:
            about = vcenter.about
            return {"full_name": str(about.fullName), "api_version": str(about.apiVersion), "login": "login succeeded"}
    except ContrailVsphereError as error:
        raise type(error)(f"vCenter {table.host}: {error.message}", hint=error.hint) from error
