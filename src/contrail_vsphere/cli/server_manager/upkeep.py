"""``server-manager restart|role`` and ``display logs|columns``: servers between two provisionings."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any, Final, Literal

import typer

from contrail_vsphere.cli.output import print_json, print_table, say
from contrail_vsphere.cli.server_manager.change import AsJson, Yes, confirm
from contrail_vsphere.cli.server_manager.choose import ClusterId, Ip, Mac, ServerId, Tag, WherePhrase, some_servers
from contrail_vsphere.cli.server_manager.client import Client, connected
from contrail_vsphere.cli.server_manager.provision import PlanOnly, Wait, WaitTime, go
from contrail_vsphere.cli.server_manager.show import display
from contrail_vsphere.model.errors import ContrailVsphereError, NotConverged, Unreachable, UsageError

role = typer.Typer(help="Give servers roles, or take them away, and provision.", no_args_is_help=True)

PAUSE: Final = 2.0
"""Seconds between two looks at a server that restarts."""

Roles = Annotated[str, typer.Argument(metavar="ROLES", help="Roles, with commas between.")]
ServerList = Annotated[
    str, typer.Option("--server-list", "--server_list", help="Servers' ids, with commas between; of one cluster.")
]
Image = Annotated[str, typer.Option(help="Provision with this image; empty: the cluster's.")]


@role.command("add")
def add_roles(
    context: typer.Context,
    roles: Roles,
    server_list: ServerList,
    image: Image = "",
    plan: PlanOnly = False,
    wait: Wait = False,
    timeout: WaitTime = 3600.0,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Give servers roles for good, and put these on them."""
    with connected(context.obj) as client:
        order = _change("roles", roles, server_list, image)
        go(client, order, plan=plan, wait=wait, timeout=timeout, yes=yes, as_json=as_json)


@role.command("delete")
def delete_roles(
    context: typer.Context,
    roles: Roles,
    server_list: ServerList,
    image: Image = "",
    plan: PlanOnly = False,
    wait: Wait = False,
    timeout: WaitTime = 3600.0,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Take roles away from servers for good, and their containers with them."""
    with connected(context.obj) as client:
        order = _change("without", roles, server_list, image)
        go(client, order, plan=plan, wait=wait, timeout=timeout, yes=yes, as_json=as_json)


def _change(key: str, roles: str, server_list: str, image: str) -> dict[str, Any]:
    names, ids = _words(roles), _words(server_list)
    if not names or not ids:
        raise UsageError("which roles, on which servers", hint="role add contrail-agent --server_list s1,s2")
    return {"image": image, "servers": ids, key: dict.fromkeys(names, ids), "lasting": True}


def _words(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def restart(
    context: typer.Context,
    server_id: ServerId = "",
    cluster_id: ClusterId = "",
    mac: Mac = "",
    ip: Ip = "",
    tag: Tag = "",
    where: WherePhrase = "",
    net_boot: Annotated[bool, typer.Option("--net_boot", "-n", hidden=True, help="Bare metal's; refused.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until each answers again.")] = False,
    timeout: Annotated[float, typer.Option(help="With --wait: seconds, then exit code 3.")] = 900.0,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Restart servers, by SSH."""
    if net_boot:
        raise UsageError("net boot is bare metal's", hint="use what installs your servers: MAAS, Foreman, ...")
    with connected(context.obj) as client:
        named = {"server_id": server_id, "cluster_id": cluster_id, "mac": mac, "ip": ip, "tag": tag, "where": where}
        ids = [row["id"] for row in some_servers(client, **named)]
        confirm(f"restart {', '.join(ids)}", yes=yes)
        boots, failed = _asked(client, ids)
        if wait:
            _wait(client, boots, timeout)
    if as_json:
        print_json({"restarted": sorted(boots), "failed": failed})
    if failed:
        raise ContrailVsphereError(f"not restarted: {', '.join(sorted(failed))}")


def _asked(client: Client, ids: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Server -> the boot that ends, and server -> why it could not be asked."""
    boots, failed = {}, {}
    for each in ids:
        try:
            boots[each] = client.ask("POST", f"/v1/servers/{each}/restart")["boot"]
            say(f"{each}: restarts")
        except ContrailVsphereError as error:
            failed[each] = error.message
            say(f"{each}: {error.message}")
    return boots, failed


def _wait(client: Client, boots: dict[str, str], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    left = dict(boots)
    while True:
        for each, before in list(left.items()):
            try:
                if client.get(f"/v1/servers/{each}/boot")["boot"] != before:
                    del left[each]
                    say(f"{each}: is back")
            except Unreachable:
                continue
        if not left:
            return
        if time.monotonic() > deadline:
            raise NotConverged(f"not back after {timeout:g} s: {', '.join(sorted(left))}", hint="server-manager check")
        time.sleep(PAUSE)


def bare_metal(context: typer.Context) -> None:
    """Installing machines is not done here any more."""
    raise UsageError(
        f"{context.info_name} is bare metal's",
        hint="install servers with MAAS, Foreman or your own tools, then add them",
    )


@display.command()
def logs(
    context: typer.Context,
    server_id: Annotated[str, typer.Option("--server-id", "--server_id", help="Whose.")],
    file_name: Annotated[str, typer.Option("--file-name", "--file_name", help="This file; empty: list them.")] = "",
    size: Annotated[int, typer.Option("--bytes", min=1, max=1_000_000, help="At most, from its end.")] = 65536,
    as_json: AsJson = False,
) -> None:
    """Log files of a server, below /var/log/contrail; or the end of one."""
    with connected(context.obj) as client:
        if file_name:
            document = client.get(f"/v1/servers/{server_id}/log", file=file_name, bytes=size)
        else:
            document = client.get(f"/v1/servers/{server_id}/logs")
    if as_json:
        print_json(document)
    else:
        sys.stdout.writelines(f"{line}\n" for line in document["lines" if file_name else "items"])


@display.command()
def columns(
    context: typer.Context,
    table: Annotated[Literal["server", "cluster", "image", "tag"], typer.Option(help="Of these objects.")],
    as_json: AsJson = False,
) -> None:
    """The columns that objects have in the database."""
    with connected(context.obj) as client:
        document = client.get(f"/v1/columns/{table}")
    if as_json:
        print_json(document)
    else:
        print_table("", ("column", "type"), [[name, kind] for name, kind in document["columns"].items()])
