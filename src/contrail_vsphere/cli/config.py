"""``contrail-vsphere config ...``: write an example, validate (also by connecting), show what is in force."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contrail_vsphere.cli.output import print_json, print_table, say, warn
from contrail_vsphere.model.errors import ContrailVsphereError, SettingsError

if TYPE_CHECKING:
    from contrail_vsphere.config.settings import Settings

app = typer.Typer(help="The settings file: write, check, show.", no_args_is_help=True)

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
    """Write a commented file with every key."""
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
    connect: Annotated[bool, typer.Option(help="Also log in to every vCenter.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")] = False,
) -> None:
    """Validate, and log in to each vCenter.

    Looks at the file, the environment and the files they name; connects over verified TLS.
    """
    from contrail_vsphere.config.load import load

    settings = load(config, os.environ)
    found: dict[str, Any] = {}
    if connect:
        found = {name: asyncio.run(_reach(settings, name)) for name in settings.vcenter}
    if as_json:
        print_json({"file": str(config), "vcenters": found})
        return
    if not settings.vcenter:
        warn("the settings name no vCenter: add a table [vcenter.NAME]")
    for name, about in found.items():
        typer.echo(f"vcenter.{name}: {about['full_name']}, API {about['api_version']}, {about['login']}")
    typer.echo(f"{config}: good")


@app.command()
def show(
    config: ConfigFile = DEFAULT_FILE,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")] = False,
) -> None:
    """The values in force, and where from; secrets masked."""
    from contrail_vsphere.config.load import read

    rows = list(read(config, os.environ).effective())
    if as_json:
        print_json([{"key": row.path, "value": row.value, "origin": row.origin} for row in rows])
        return
    print_table("", ("key", "value", "from"), ((row.path, str(row.value), row.origin) for row in rows))


async def _reach(settings: Settings, name: str) -> dict[str, str]:
    """Log in with the account, else as the extension if it was registered; what vCenter says of itself."""
    from contrail_vsphere.app.clock import utc_now
    from contrail_vsphere.app.connect import administrator, endpoint
    from contrail_vsphere.app.data_dir import DataDirectory
    from contrail_vsphere.vsphere.endpoint import Credentials, ExtensionLogin
    from contrail_vsphere.vsphere.vcenter import VCenter

    table, key = settings.vcenter[name], settings.manager.extension_key
    login: Credentials
    if table.username:
        login, who = administrator(table), f"{table.username} logged in"
    else:
        identity = DataDirectory(settings.manager.data_dir, now=utc_now).extension_identity(key)
        login, who = ExtensionLogin(key=key, identity=identity), f"extension {key} logged in"
    try:
        async with VCenter(endpoint(table), login) as vcenter:
            about = vcenter.about
            return {"full_name": str(about.fullName), "api_version": str(about.apiVersion), "login": who}
    except ContrailVsphereError as error:
        raise type(error)(f"vcenter.{name}: {error.message}", hint=error.hint) from error
