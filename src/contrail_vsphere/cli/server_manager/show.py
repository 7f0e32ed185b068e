"""``server-manager display`` (``show``) and ``explain``: what is there, as tables or JSON."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from contrail_vsphere.cli.output import print_json, print_table
from contrail_vsphere.cli.server_manager.choose import ClusterId, ImageId, Ip, Mac, ServerId, Tag, WherePhrase, matching
from contrail_vsphere.cli.server_manager.choose import servers as chosen_servers
from contrail_vsphere.cli.server_manager.client import connected

display = typer.Typer(help="Show what is there.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", "--detail", "-d", help="Print JSON with every field on stdout.")]
FIELDS = {
    "cluster": "id,package_image_id,provisioned_id,servers",
    "server": "id,cluster_id,ip_address,roles,state,reason",
    "image": "id,version,state,containers,reason",
}
"""What is shown of each kind."""
Select = Annotated[str, typer.Option(help="Fields to show, with commas between.")]


@display.command()
def server(
    context: typer.Context,
    server_id: ServerId = "",
    cluster_id: ClusterId = "",
    mac: Mac = "",
    ip: Ip = "",
    tag: Tag = "",
    where: WherePhrase = "",
    select: Select = FIELDS["server"],
    as_json: AsJson = False,
) -> None:
    """Servers."""
    with connected(context.obj) as client:
        rows = chosen_servers(client, server_id=server_id, cluster_id=cluster_id, tag=tag, mac=mac, ip=ip, where=where)
    _print(rows, select, as_json=as_json)


@display.command()
def cluster(
    context: typer.Context,
    cluster_id: ClusterId = "",
    where: WherePhrase = "",
    select: Select = FIELDS["cluster"],
    as_json: AsJson = False,
) -> None:
    """Clusters."""
    with connected(context.obj) as client:
        rows = [client.get(f"/v1/clusters/{cluster_id}")] if cluster_id else client.items("/v1/clusters")
    _print(matching(rows, where, kind="cluster"), select, as_json=as_json)


@display.command()
def image(
    context: typer.Context,
    image_id: ImageId = "",
    where: WherePhrase = "",
    select: Select = FIELDS["image"],
    as_json: AsJson = False,
) -> None:
    """Images, with the roles they hold."""
    with connected(context.obj) as client:
        rows = [client.get(f"/v1/images/{image_id}")] if image_id else client.items("/v1/images")
    rows = matching(rows, where, kind="image")
    _print(rows if as_json else [_brief(row) for row in rows], select, as_json=as_json)


@display.command()
def tag(context: typer.Context, as_json: AsJson = False) -> None:
    """Tags and their names."""
    with connected(context.obj) as client:
        rows = [{"tag": key, "name": name} for key, name in client.get("/v1/tags").items()]
    _print(rows, "tag,name", as_json=as_json)


@display.command("all")
def everything(context: typer.Context, as_json: AsJson = False) -> None:
    """Clusters, servers, images and tags."""
    with connected(context.obj) as client:
        found = {kind: client.items(f"/v1/{kind}s") for kind in ("cluster", "server", "image")}
        tags = client.get("/v1/tags")
    if as_json:
        print_json({**found, "tag": tags})
        return
    found["image"] = [_brief(row) for row in found["image"]]
    for kind, fields in FIELDS.items():
        _print(found[kind], fields, title=f"{kind}s")
    print_table("tags", ("tag", "name"), tags.items())


@display.command()
def role(context: typer.Context, as_json: AsJson = False) -> None:
    """Roles that servers can have."""
    with connected(context.obj) as client:
        rows = client.get("/v1/roles")["items"]
    _print(rows, "role,stage,rolling,title,aliases", as_json=as_json)


@display.command()
def run(context: typer.Context, cluster_id: ClusterId = "", as_json: AsJson = False) -> None:
    """Provisioning runs."""
    with connected(context.obj) as client:
        rows = client.items("/v1/runs", cluster=cluster_id)
    _print(sorted(rows, key=lambda row: row["started"]), "id,cluster,state,servers,who,started,reason", as_json=as_json)


@display.command()
def audit(context: typer.Context, as_json: AsJson = False) -> None:
    """Who did what."""
    with connected(context.obj) as client:
        rows = client.items("/v1/audit")
    _print(rows, "at,who,action,kind,object", as_json=as_json)


def explain(
    context: typer.Context,
    server_id: Annotated[str, typer.Argument(metavar="SERVER", help="The server's id.")],
    role_name: Annotated[str, typer.Argument(metavar="ROLE", help="One of its roles.")],
    option: Annotated[str, typer.Option(help="Only this option, as SECTION.option.")] = "",
    as_json: AsJson = False,
) -> None:
    """Where each value of a role's configuration comes from, and what it overrode."""
    with connected(context.obj) as client:
        document = client.get(f"/v1/servers/{server_id}/effective", role=role_name)
    rows = [row for row in document["settings"] if option in ("", f"{row['section']}.{row['option']}")]
    if as_json:
        print_json({**document, "settings": rows})
        return
    shown = [
        {**row, "option": f"{row['section']}.{row['option']}",
         "overrode": [f"{each['source']}: {each['value']}" for each in row["overrode"]]}
        for row in rows
    ]  # fmt: skip
    _print(shown, "option,value,source,overrode", as_json=False)


def _brief(image: dict[str, Any]) -> dict[str, Any]:
    return {**image, "containers": [each["role"] for each in image["containers"]]}


def _print(rows: list[dict[str, Any]], select: str, *, as_json: bool = False, title: str = "") -> None:
    if as_json:
        print_json({"items": rows})
        return
    fields = [each.strip() for each in select.split(",") if each.strip()]
    print_table(title, fields, [[cell(row.get(field)) for field in fields] for row in rows])


def cell(value: Any) -> str:
    """A value for a table."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
