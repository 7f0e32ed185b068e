"""``server-manager``: the root of its commands; the verbs are the seed's, each in a module of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from contrail_vsphere.cli.main import run as run_command
from contrail_vsphere.cli.server_manager import administration, change, provision, serve, serve_ansible, show, upkeep
from contrail_vsphere.cli.server_manager.client import Where

app = typer.Typer(
    help="Contrail services as containers on servers: images, servers, clusters, provisioning.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(change.add, name="add")
app.add_typer(change.update, name="update")
app.add_typer(show.display, name="display")
app.add_typer(show.display, name="show", hidden=True)
app.add_typer(change.delete, name="delete")
app.add_typer(provision.status, name="status")
app.add_typer(upkeep.role, name="role")
app.add_typer(administration.token, name="token")
app.add_typer(administration.secret, name="secret")
app.command("provision")(provision.provision)
app.command("retry")(provision.retry)
app.command("cancel")(provision.cancel)
app.command("drift")(provision.drift)
app.command("restart")(upkeep.restart)
for verb in ("reimage", "run_inventory", "run-inventory", "issu", "issu_finalize", "issu-finalize", "issu-rollback"):
    app.command(verb, hidden=True, context_settings=change.FIELDS)(upkeep.bare_metal)
app.command("check")(change.check)
app.command("explain")(show.explain)
app.command("gc")(administration.collect_garbage)
app.command("upload-image")(change.upload_image)
app.command("upload_image", hidden=True)(change.upload_image)
app.command("serve")(serve.serve)
app.command("serve-ansible")(serve_ansible.serve_ansible)


@app.callback()
def root(
    context: typer.Context,
    url: Annotated[str, typer.Option(envvar="SERVER_MANAGER_URL", help="Server Manager's URL.")] = "",
    smgr_ip: Annotated[str, typer.Option("--smgr_ip", envvar="SMGR_IP", help="Instead of --url: its address.")] = "",
    smgr_port: Annotated[int, typer.Option("--smgr_port", envvar="SMGR_PORT", help="And its port.")] = 9001,
    token_file: Annotated[
        Path | None, typer.Option(envvar="SERVER_MANAGER_TOKEN_FILE", help="File with your token, mode 0600.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(envvar="SERVER_MANAGER_CA_FILE", help="CA certificates (PEM) that sign its own.")
    ] = None,
    config: Annotated[
        Path, typer.Option("--config", "-c", envvar="CONTRAIL_VSPHERE_CONFIG", help="The settings file (TOML).")
    ] = Path("contrail-vsphere.toml"),
) -> None:
    """Contrail services as containers on servers: images, servers, clusters, provisioning."""
    if not url and smgr_ip:
        host = f"[{smgr_ip}]" if ":" in smgr_ip else smgr_ip
        url = f"https://{host}:{smgr_port}"
    context.obj = Where(url, token_file, ca_file, config)


def run(arguments: list[str] | None = None) -> None:
    """Entry point of the console script; leaves through ``sys.exit``."""
    run_command(arguments, application=app, name="server-manager")


if __name__ == "__main__":
    run()
