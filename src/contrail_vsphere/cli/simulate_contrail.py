"""``contrail-vsphere simulate control contrail ...``: what a person does to a running simulated Contrail."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from contrail_vsphere.cli.simulate_control import AsJson, Url, ask, table, tell

app = typer.Typer(help="What happens in the simulated Contrail.", no_args_is_help=True)

NetworkName = Annotated[str, typer.Argument(help="Name, uuid, or whole name with colons.", metavar="NETWORK")]


@app.command("list")
def list_objects(
    type_name: Annotated[str, typer.Argument(help="Dashed type.", metavar="TYPE")] = "virtual-network",
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """List the objects of a type."""
    found = ask(url, "GET", f"/v1/objects/{quote(type_name, safe='')}")
    if not as_json:
        found = [{**item, "fq_name": ":".join(item["fq_name"])} for item in found]
    table(found, ("fq_name", "uuid"), as_json=as_json)


@app.command("create-project")
def create_project(name: str, url: Url = "", as_json: AsJson = False) -> None:
    """Create a project with its ipam and security group."""
    tell(ask(url, "POST", "/v1/projects", {"name": name}), as_json=as_json)


@app.command("create-network")
def create_network(
    name: str,
    prefix: Annotated[str, typer.Option(help="Its subnet, for example 10.1.0.0/16; none without.")] = "",
    project: Annotated[str, typer.Option(help="Made if it is not there.")] = "vCenter",
    external_ipam: Annotated[bool, typer.Option(help="Addresses are given out by somebody else.")] = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Create a network, as the Web UI does."""
    body = {"name": name, "prefix": prefix, "project": project, "external_ipam": external_ipam}
    tell(ask(url, "POST", "/v1/networks", body), as_json=as_json)


@app.command("rename-network")
def rename_network(name: NetworkName, display_name: str, url: Url = "", as_json: AsJson = False) -> None:
    """Give a network another display name."""
    path = f"/v1/networks/{quote(name, safe='')}/rename"
    tell(ask(url, "POST", path, {"display_name": display_name}), as_json=as_json)


@app.command("delete-network")
def delete_network(name: NetworkName, url: Url = "", as_json: AsJson = False) -> None:
    """Delete a network that nothing is in."""
    ask(url, "DELETE", f"/v1/networks/{quote(name, safe='')}")
    tell({"deleted": name}, as_json=as_json)


@app.command()
def restart(
    down: Annotated[float, typer.Option(min=0, help="Seconds that connections are refused.")] = 1.0,
    starting: Annotated[float, typer.Option(min=0, help="Seconds of 503 after that.")] = 2.0,
    empty: Annotated[bool, typer.Option("--empty", help="Come back without the database.")] = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """All API servers die and come back."""
    ask(url, "POST", "/v1/restart", {"down": down, "starting": starting, "empty": empty})
    tell({"restarted": "all API servers"}, as_json=as_json)


@app.command()
def messages(
    lose: Annotated[int, typer.Option(min=-1, help="Lose so many of the next notifications; -1: all.")] = 0,
    delay: Annotated[float | None, typer.Option(min=0, help="Seconds each takes from now on.")] = None,
    jitter: Annotated[float, typer.Option(min=0, help="Most seconds more, so that they overtake each other.")] = 0.0,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Lose, delay or disorder notifications."""
    body = {"lose": lose, "delay": delay, "jitter": jitter}
    ask(url, "POST", "/v1/messages", body)
    tell(body, as_json=as_json)


@app.command("expire-tokens")
def expire_tokens(url: Url = "", as_json: AsJson = False) -> None:
    """Make every token worthless."""
    tell(ask(url, "POST", "/v1/tokens/expire"), as_json=as_json)
