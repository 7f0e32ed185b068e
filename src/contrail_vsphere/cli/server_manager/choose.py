"""Which objects a command means: the keys of the seed's verbs, and ``--where``."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from contrail_vsphere.cli.server_manager.client import Client
from contrail_vsphere.model.errors import InvalidArgument, UsageError

ServerId = Annotated[str, typer.Option("--server-id", "--server_id", help="Only this server.")]
ClusterId = Annotated[str, typer.Option("--cluster-id", "--cluster_id", help="Only this cluster('s).")]
ImageId = Annotated[str, typer.Option("--image-id", "--image_id", help="Only this image.")]
Tag = Annotated[str, typer.Option(help="Only servers with NAME=VALUE, several with commas between.")]
Mac = Annotated[str, typer.Option(help="Only the one with this MAC address.")]
Ip = Annotated[str, typer.Option(help="Only the one with this IP address.")]
WherePhrase = Annotated[
    str, typer.Option("--where", metavar="EXPRESSION", help="Only those, as \"cluster_id = 'c1' and roles = 'lb'\".")
]

KEYS_HINT: Final = "--server-id, --cluster-id, --tag, --mac, --ip or --where"


def servers(
    client: Client,
    *,
    server_id: str = "",
    cluster_id: str = "",
    tag: str = "",
    mac: str = "",
    ip: str = "",
    where: str = "",
) -> list[dict[str, Any]]:
    """The servers that the options name together; all of them without any."""
    rows = [client.get(f"/v1/servers/{server_id}")] if server_id else client.items("/v1/servers", cluster=cluster_id)
    if server_id and cluster_id:
        rows = [row for row in rows if row.get("cluster_id") == cluster_id]
    if tag:
        wanted = dict(each.partition("=")[::2] for each in tag.split(","))
        rows = [row for row in rows if wanted.items() <= (row.get("tag") or {}).items()]
    rows = [row for row in rows if mac.lower() in ("", row.get("mac_address")) and ip in ("", row["ip_address"])]
    return matching(rows, where, kind="server")


def some_servers(client: Client, **named: str) -> list[dict[str, Any]]:
    """As ``servers``, for a change: ``UsageError`` unless something is named and fits."""
    if not any(named.values()):
        raise UsageError("say which servers", hint=KEYS_HINT)
    found = servers(client, **named)
    if not found:
        raise UsageError("no server fits")
    return found


def matching(rows: list[dict[str, Any]], where: str, *, kind: str) -> list[dict[str, Any]]:
    """Those of a kind's documents that fit the expression; all for an empty one."""
    if not where:
        return rows
    from contrail_vsphere.servermanager import documents, filters

    try:
        test = filters.parse(where, fields=documents.FIELDS[kind])
        return [row for row in rows if test(row)]
    except InvalidArgument as error:
        raise UsageError(f"--where: {error.message}", hint=error.hint) from error
