"""``server-manager add|delete|check|upload-image``: objects from JSON files, or from flags."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from contrail_vsphere.cli.output import print_json, say, warn
from contrail_vsphere.cli.server_manager import fields
from contrail_vsphere.cli.server_manager.choose import (
    ClusterId,
    ImageId,
    Ip,
    Mac,
    ServerId,
    Tag,
    WherePhrase,
    matching,
    some_servers,
)
from contrail_vsphere.cli.server_manager.client import Client, connected
from contrail_vsphere.model.errors import (
    ContrailVsphereError,
    NotConverged,
    RefusedError,
    Unreachable,
    UsageError,
)

add = typer.Typer(help="Add or change objects.", no_args_is_help=True)
update = typer.Typer(help="Change objects that are there.", no_args_is_help=True)
delete = typer.Typer(help="Delete objects.", no_args_is_help=True)

File = Annotated[Path, typer.Option("--file", "--file_name", "-f", help="JSON file, as {KIND: [{...}, ...]}.")]
FileOrFields = Annotated[
    Path | None,
    typer.Option("--file", "--file_name", "-f", help="JSON file, as {KIND: [{...}, ...]}; or --id ID --NAME VALUE."),
]
FIELDS: Final = {"allow_extra_args": True, "ignore_unknown_options": True}
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", "-F", "--no_confirm", help="Do not ask.")]
Wait = Annotated[bool, typer.Option("--wait", help="Until the image is ready or failed.")]
WaitTime = Annotated[float, typer.Option(help="With --wait: seconds, then exit code 3.")]


@add.command("server", context_settings=FIELDS)
def add_server(context: typer.Context, file: FileOrFields = None, as_json: AsJson = False) -> None:
    """Add servers, or merge into those that are there; their SSH host keys are pinned.

    Instead of a file, fields: --id s1 --ip_address 10.0.0.1 --roles lb,agent --network.interfaces[0].name eth0
    """
    given = _given(context, file, "server")
    with connected(context.obj) as client:
        _tell([_put(client, "server", each) for each in given], as_json=as_json)


@add.command("cluster", context_settings=FIELDS)
def add_cluster(context: typer.Context, file: FileOrFields = None, as_json: AsJson = False) -> None:
    """Add clusters, or merge into those that are there; from a file, or from fields."""
    given = _given(context, file, "cluster")
    with connected(context.obj) as client:
        _tell([_put(client, "cluster", each) for each in given], as_json=as_json)


@update.command("server", context_settings=FIELDS)
def update_server(context: typer.Context, file: FileOrFields = None, as_json: AsJson = False) -> None:
    """Change servers that are there; from a file, or from fields."""
    _update(context, file, "server", as_json=as_json)


@update.command("cluster", context_settings=FIELDS)
def update_cluster(context: typer.Context, file: FileOrFields = None, as_json: AsJson = False) -> None:
    """Change clusters that are there; from a file, or from fields."""
    _update(context, file, "cluster", as_json=as_json)


@add.command("image", context_settings=FIELDS)
def add_image(
    context: typer.Context,
    file: FileOrFields = None,
    wait: Wait = False,
    timeout: WaitTime = 3600.0,
    as_json: AsJson = False,
) -> None:
    """Add images, from a file or from fields; paths are paths on Server Manager's machine."""
    given = _given(context, file, "image")
    with connected(context.obj) as client:
        added = [client.ask("POST", "/v1/images", each) for each in given]
        if wait:
            added = [wait_for_image(client, each["id"], timeout) for each in added]
        _tell(added, as_json=as_json)
        _fail_with(added)


@add.command("config")
def add_config(
    context: typer.Context, file: File, wait: Wait = False, timeout: WaitTime = 3600.0, as_json: AsJson = False
) -> None:
    """Add images, clusters and servers of one file, or nothing of it; they may name each other."""
    document = _parse(file)
    with connected(context.obj) as client:
        answer = client.ask("PUT", "/v1/config", document)
        for note in answer["notes"]:
            warn(note)
        told = [_added(client, each["kind"], each["id"]) for each in answer["items"]]
        if wait:
            told = [wait_for_image(client, each["id"], timeout) if "category" in each else each for each in told]
        _tell(told, as_json=as_json)
        _fail_with([each for each in told if "category" in each])


@add.command("tag")
def add_tag(context: typer.Context, file: File, as_json: AsJson = False) -> None:
    """Name tags: {"tag1": "datacenter", ...}."""
    with connected(context.obj) as client:
        _tell([client.ask("PUT", "/v1/tags", _parse(file))], as_json=as_json)


def upload_image(
    context: typer.Context,
    id: Annotated[str, typer.Option(help="The image's id.")],
    version: Annotated[str, typer.Option(help="Its version, which becomes the tag.")],
    type: Annotated[str, typer.Option(help="Its type.")],
    file: Annotated[Path, typer.Option("--file", "--file_name", "-f", help="A bundle on this machine.")],
    category: Annotated[str, typer.Option(help="container or package.")] = "package",
    wait: Wait = False,
    timeout: WaitTime = 3600.0,
    as_json: AsJson = False,
) -> None:
    """Send a bundle to Server Manager and add it as an image."""
    with connected(context.obj) as client:
        document = {"id": id, "version": version, "type": type, "category": category, "path": client.upload(file)}
        added = client.ask("POST", "/v1/images", document)
        if wait:
            added = wait_for_image(client, id, timeout)
        _tell([added], as_json=as_json)
        _fail_with([added])


def check(context: typer.Context, server: Annotated[str, typer.Argument(help="The server's id.")]) -> None:
    """Reach a server by SSH; pin its host key, or hold it to the pinned one."""
    with connected(context.obj) as client:
        say(f"{server}: {client.ask('POST', f'/v1/servers/{server}/check')['host_key']}")


@delete.command("server")
def delete_server(
    context: typer.Context,
    server_id: ServerId = "",
    cluster_id: ClusterId = "",
    mac: Mac = "",
    ip: Ip = "",
    tag: Tag = "",
    where: WherePhrase = "",
    force: Annotated[bool, typer.Option("--force", help="Even if it bears containers; they stay there.")] = False,
    yes: Yes = False,
) -> None:
    """Forget servers."""
    with connected(context.obj) as client:
        if server_id and not (cluster_id or mac or ip or tag or where):
            ids = [server_id]
        else:
            found = some_servers(
                client, server_id=server_id, cluster_id=cluster_id, tag=tag, mac=mac, ip=ip, where=where
            )
            ids = [row["id"] for row in found]
        _delete(client, "server", ids, query="?force=true" if force else "", yes=yes)


@delete.command("cluster")
def delete_cluster(
    context: typer.Context, cluster_id: ClusterId = "", where: WherePhrase = "", yes: Yes = False
) -> None:
    """Delete clusters without servers."""
    with connected(context.obj) as client:
        _delete(client, "cluster", _named(client, "cluster", cluster_id, where), yes=yes)


@delete.command("image")
def delete_image(context: typer.Context, image_id: ImageId = "", where: WherePhrase = "", yes: Yes = False) -> None:
    """Delete images that nobody uses, from the registry too."""
    with connected(context.obj) as client:
        _delete(client, "image", _named(client, "image", image_id, where), yes=yes)


@delete.command("tag")
def delete_tag(
    context: typer.Context, tag: Annotated[str, typer.Argument(help="tag1 to tag7.")], yes: Yes = False
) -> None:
    """Take away a tag that nobody carries."""
    confirm(f"delete {tag}", yes=yes)
    with connected(context.obj) as client:
        client.ask("PUT", "/v1/tags", {tag: ""})


def confirm(what: str, *, yes: bool) -> None:
    """Ask on a terminal; without one, ``--yes`` is needed."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{what}: nobody to ask", hint="--yes")
    if not typer.confirm(f"{what}?", default=False, err=True):
        raise typer.Abort


def wait_for_image(client: Client, image_id: str, timeout: float) -> dict[str, Any]:
    """Until the job is over; progress on stderr."""
    deadline = time.monotonic() + timeout
    said = ""
    while time.monotonic() < deadline:
        image: dict[str, Any] = client.get(f"/v1/images/{image_id}")
        if image["state"] != "adding":
            return image
        parts = (f"{each['role']} {each['done_bytes']:,}/{each['total_bytes']:,}" for each in image["containers"])
        line = f"{image_id}: {', '.join(parts)} bytes"
        if line != said:
            say(line)
            said = line
        time.sleep(1)
    raise NotConverged(f"image {image_id} is not ready after {timeout:g} s", hint="server-manager display image")


def _given(context: typer.Context, file: Path | None, kind: str) -> list[dict[str, Any]]:
    if file is None:
        return [fields.document(context.args)]
    if context.args:
        raise UsageError(f"{context.args[0]}: a file or fields, not both")
    return _read(file, kind)


def _update(context: typer.Context, file: Path | None, kind: str, *, as_json: bool) -> None:
    given = _given(context, file, kind)
    with connected(context.obj) as client:
        for each in given:
            client.get(f"/v1/{kind}s/{each.get('id')}")
        _tell([_put(client, kind, each) for each in given], as_json=as_json)


def _put(client: Client, kind: str, document: dict[str, Any]) -> dict[str, Any]:
    if not document.get("id"):
        raise UsageError(f"a {kind} in the file has no id")
    answer: dict[str, Any] = client.ask("PUT", f"/v1/{kind}s/{document['id']}", document)
    for note in answer.pop("notes", ()):
        warn(note)
    return _added(client, kind, document["id"]) if kind == "server" else answer


def _added(client: Client, kind: str, object_id: str) -> dict[str, Any]:
    """An object as it is now; a server's SSH host key is pinned."""
    if kind == "server":
        try:
            client.ask("POST", f"/v1/servers/{object_id}/check")
        except (Unreachable, RefusedError) as error:
            warn(f"{object_id}: {error.message}; its SSH host key is not pinned yet")
    answer: dict[str, Any] = client.get(f"/v1/{kind}s/{object_id}")
    return answer


def _named(client: Client, kind: str, object_id: str, where: str) -> list[str]:
    """The ids that a deletion means: one, or those that fit an expression."""
    if bool(object_id) == bool(where):
        raise UsageError(f"say which {kind}", hint=f"--{kind}-id or --where")
    if object_id:
        return [object_id]
    found = [row["id"] for row in matching(client.items(f"/v1/{kind}s"), where, kind=kind)]
    if not found:
        raise UsageError(f"no {kind} fits")
    return found


def _delete(client: Client, kind: str, ids: list[str], *, query: str = "", yes: bool) -> None:
    confirm(f"delete {kind} {', '.join(ids)}", yes=yes)
    for each in ids:
        client.ask("DELETE", f"/v1/{kind}s/{each}{query}")
        say(f"{kind} {each}: deleted")


def _parse(file: Path) -> dict[str, Any]:
    from contrail_vsphere.servermanager.documents import parse

    return parse(file.read_bytes())


def _read(file: Path, kind: str) -> list[dict[str, Any]]:
    from contrail_vsphere.servermanager.documents import listed

    return listed(_parse(file), kind)


def _tell(told: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json({"items": told})
        return
    for each in told:
        words = [str(each[key]) for key in ("id", "state", "reason") if each.get(key)]
        sys.stdout.write((": ".join(words) or ", ".join(f"{key}={value}" for key, value in each.items())) + "\n")


def _fail_with(images: list[dict[str, Any]]) -> None:
    for each in images:
        if each["state"] == "failed":
            raise ContrailVsphereError(f"image {each['id']}: {each['reason']}")
