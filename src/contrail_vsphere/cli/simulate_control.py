"""``contrail-vsphere simulate control ...``: what a person does to a running simulator, over its control API."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

import typer

from contrail_vsphere.cli.output import print_json, print_table
from contrail_vsphere.model.errors import InvalidState, NotFound, ProtocolError, Unreachable, UsageError

app = typer.Typer(help="Steer a running simulator through its control port.", no_args_is_help=True)
vm = typer.Typer(help="What users do with virtual machines.", no_args_is_help=True)
host = typer.Typer(help="What happens to a host.", no_args_is_help=True)
fault = typer.Typer(help="Fault rules: what goes wrong, where, how often.", no_args_is_help=True)
app.add_typer(host, name="host")
app.add_typer(vm, name="vm")
app.add_typer(fault, name="fault")

DEADLINE = 3600.0
"""Seconds a verb may take: entering maintenance at real pace takes as long as it does in life."""

Url = Annotated[
    str, typer.Option(envvar="CONTRAIL_VSPHERE_CONTROL_URL", help="control_url of the simulator's ready line.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
HostName = Annotated[str, typer.Argument(help="Name or managed object id.", metavar="HOST")]
VmName = Annotated[str, typer.Argument(help="Name or managed object id.", metavar="VM")]
InventoryFile = Annotated[Path, typer.Argument(help="JSON file of a whole inventory.", metavar="FILE")]
VRouterVerb = Literal["xmpp-up", "xmpp-down", "kill", "restart", "hang", "unhang", "lossy", "lossless"]


# -- hosts --------------------------------------------------------------------------------------------------------


@app.command()
def hosts(url: Url = "", as_json: AsJson = False) -> None:
    """List the hosts."""
    table(ask(url, "GET", "/v1/hosts"), ("name", "id", "connection_state", "in_maintenance"), as_json=as_json)


@app.command("add-host")
def add_host(
    name: str,
    cluster: Annotated[str, typer.Option(help="Name or managed object id; the first one if none is named.")] = "",
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Add a host to a cluster."""
    tell(ask(url, "POST", "/v1/hosts", {"name": name, "cluster": cluster}), as_json=as_json)


@app.command("remove-host")
def remove_host(name: HostName, url: Url = "", as_json: AsJson = False) -> None:
    """Remove a host; disconnected or in maintenance only."""
    ask(url, "DELETE", f"/v1/hosts/{quote(name, safe='')}")
    tell({"removed": name}, as_json=as_json)


@host.command()
def maintenance(
    name: HostName,
    leave: Annotated[bool, typer.Option("--exit", help="Leave it instead.")] = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Enter maintenance mode; returns when it is entered."""
    _host(name, "exit-maintenance" if leave else "enter-maintenance", url, as_json=as_json)


@host.command()
def disconnect(name: HostName, url: Url = "", as_json: AsJson = False) -> None:
    """A user disconnects it from vCenter."""
    _host(name, "disconnect", url, as_json=as_json)


@host.command()
def reconnect(name: HostName, url: Url = "", as_json: AsJson = False) -> None:
    """A user reconnects it, or its network is back."""
    _host(name, "reconnect", url, as_json=as_json)


@host.command()
def lose(name: HostName, url: Url = "", as_json: AsJson = False) -> None:
    """The management network breaks; what runs there goes on."""
    _host(name, "lose", url, as_json=as_json)


@host.command()
def crash(name: HostName, url: Url = "", as_json: AsJson = False) -> None:
    """Power is lost: everything on it stops."""
    _host(name, "crash", url, as_json=as_json)


@host.command()
def boot(name: HostName, url: Url = "", as_json: AsJson = False) -> None:
    """A crashed host comes back."""
    _host(name, "boot", url, as_json=as_json)


# -- virtual machines ---------------------------------------------------------------------------------------------


@app.command()
def vms(url: Url = "", as_json: AsJson = False) -> None:
    """List the virtual machines."""
    table(ask(url, "GET", "/v1/vms"), ("name", "id", "power_state", "host"), as_json=as_json)


@vm.command()
def create(
    name: str,
    on: Annotated[str, typer.Option("--host", help="Where; the first host if none is named.")] = "",
    nics: Annotated[int, typer.Option(min=0, max=10, help='NICs, all on "VM Network".')] = 1,
    power_on: Annotated[bool, typer.Option(help="Power it on.")] = True,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Create a tenant VM."""
    body = {"name": name, "host": on, "nics": nics, "power_on": power_on}
    tell(ask(url, "POST", "/v1/vms", body), as_json=as_json)


@vm.command()
def delete(name: VmName, url: Url = "", as_json: AsJson = False) -> None:
    """Power it off if need be and delete it with its files."""
    ask(url, "DELETE", f"/v1/vms/{quote(name, safe='')}")
    tell({"deleted": name}, as_json=as_json)


@vm.command()
def move(
    name: VmName, to: Annotated[str, typer.Option("--host", help="Where to.")], url: Url = "", as_json: AsJson = False
) -> None:
    """Move it to another host."""
    tell(ask(url, "POST", f"/v1/vms/{quote(name, safe='')}/move", {"host": to}), as_json=as_json)


@vm.command()
def rename(name: VmName, new_name: str, url: Url = "", as_json: AsJson = False) -> None:
    """Give it another name."""
    tell(ask(url, "POST", f"/v1/vms/{quote(name, safe='')}/rename", {"name": new_name}), as_json=as_json)


@vm.command()
def power(
    name: VmName,
    verb: Annotated[Literal["on", "off", "suspend", "reset"], typer.Argument(help="What to do.")],
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Power it on or off, suspend or reset it."""
    wire = f"power-{verb}" if verb in ("on", "off") else verb
    tell(ask(url, "POST", f"/v1/vms/{quote(name, safe='')}/{wire}"), as_json=as_json)


# -- VRouterAgents ------------------------------------------------------------------------------------------------


@app.command()
def vrouters(url: Url = "", as_json: AsJson = False) -> None:
    """List the VRouterAgents."""
    found = ask(url, "GET", "/v1/vrouters")
    table(found, ("name", "life", "forwards", "port_url", "introspect_url"), as_json=as_json)


@app.command()
def vrouter(
    agent: Annotated[str, typer.Argument(help="Its name, as in `vrouters`.")],
    verb: Annotated[VRouterVerb, typer.Argument(help="What to do with it.")],
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Break or mend a VRouterAgent."""
    tell(ask(url, "POST", f"/v1/vrouters/{quote(agent, safe='')}/{verb}"), as_json=as_json)


# -- faults -------------------------------------------------------------------------------------------------------


@fault.command("add")
def add_fault(
    rule: Annotated[
        list[str], typer.Argument(help="FIELD=VALUE ..., e.g. method=CreateAgency fault=TaskInProgress times=2")
    ],
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Put a rule in force; the fields are in the reference."""
    tell(ask(url, "POST", "/v1/faults", dict(_field(each) for each in rule)), as_json=as_json)


@fault.command("list")
def list_faults(url: Url = "", as_json: AsJson = False) -> None:
    """The rules in force, and how often each acted."""
    found = ask(url, "GET", "/v1/faults")
    if as_json:
        print_json(found)
        return
    rows = [
        (str(each["key"]), str(each["acted"]), " ".join(f"{name}={value}" for name, value in _said(each["rule"])))
        for each in found
    ]
    print_table("", ("key", "acted", "rule"), rows)


@fault.command("remove")
def remove_fault(key: int, url: Url = "", as_json: AsJson = False) -> None:
    """Take one rule out."""
    ask(url, "DELETE", f"/v1/faults/{key}")
    tell({"removed": key}, as_json=as_json)


@fault.command("clear")
def clear_faults(url: Url = "", as_json: AsJson = False) -> None:
    """Take all rules out."""
    ask(url, "DELETE", "/v1/faults")
    tell({"removed": "all rules"}, as_json=as_json)


# -- the service --------------------------------------------------------------------------------------------------


@app.command()
def clock(
    advance: Annotated[float, typer.Option(min=0, help="Jump ahead by so many simulated seconds.")] = 0.0,
    rate: Annotated[float | None, typer.Option(help="Simulated seconds per second from now on.")] = None,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Show the simulated time, or change it."""
    if advance or rate is not None:
        tell(ask(url, "POST", "/v1/clock", {"advance": advance, "rate": rate}), as_json=as_json)
    else:
        tell(ask(url, "GET", "/v1/clock"), as_json=as_json)


@app.command()
def stats(url: Url = "", as_json: AsJson = False) -> None:
    """Calls per method, sessions, objects, defects."""
    found = ask(url, "GET", "/v1/stats")
    if as_json:
        print_json(found)
        return
    rows = [(name, str(value)) for name, value in found.items() if not isinstance(value, dict | list)]
    rows += [(f"{what}.{name}", str(number)) for what in ("calls", "objects") for name, number in found[what].items()]
    rows += [("defect", each) for each in found["defects"]]
    print_table("", ("what", "value"), rows)


@app.command()
def snapshot(url: Url = "") -> None:
    """The whole inventory as one JSON object."""
    print_json(ask(url, "GET", "/v1/snapshot"))


@app.command()
def save(file: InventoryFile, url: Url = "", as_json: AsJson = False) -> None:
    """Write the whole inventory to a file.

    For ``load``, and for ``simulate vcenter --load``.
    """
    document = ask(url, "GET", "/v1/inventory")
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump(document, out)
    tell({"saved": str(file), "objects": len(document["objects"])}, as_json=as_json)


@app.command()
def load(file: InventoryFile, url: Url = "", as_json: AsJson = False) -> None:
    """Begin anew with an inventory that save wrote.

    The simulator keeps its addresses.
    """
    try:
        document = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {error}", hint="write one with simulate control save") from error
    ask(url, "PUT", "/v1/inventory", document)
    tell({"loaded": str(file)}, as_json=as_json)


@app.command()
def reset(url: Url = "", as_json: AsJson = False) -> None:
    """Begin anew, at the same addresses."""
    ask(url, "POST", "/v1/reset")
    tell({"reset": True}, as_json=as_json)


@app.command()
def switches(url: Url = "", as_json: AsJson = False) -> None:
    """List the switches and how they stand."""
    found = ask(url, "GET", "/v1/switches")
    table(
        [{"switch": name, "position": value} for name, value in found.items()], ("switch", "position"), as_json=as_json
    )


@app.command()
def switch(
    name: Annotated[str, typer.Argument(help="As `switches` lists it.")],
    position: Annotated[str, typer.Argument(help="What it is to be.")],
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Put a switch into another position."""
    tell(ask(url, "POST", "/v1/switches", {"name": name, "value": position}), as_json=as_json)


@app.command("eam-restart")
def eam_restart(url: Url = "", as_json: AsJson = False) -> None:
    """EAM goes down and comes back."""
    ask(url, "POST", "/v1/eam/restart")
    tell({"eam": "restarting"}, as_json=as_json)


@app.command("sessions-expire")
def sessions_expire(url: Url = "", as_json: AsJson = False) -> None:
    """End every session."""
    tell(ask(url, "POST", "/v1/sessions/expire"), as_json=as_json)


@app.command("drop-connections")
def drop_connections(url: Url = "", as_json: AsJson = False) -> None:
    """Reset every open connection."""
    tell(ask(url, "POST", "/v1/connections/drop"), as_json=as_json)


# -- inside -------------------------------------------------------------------------------------------------------


def _host(name: str, verb: str, url: str, *, as_json: bool) -> None:
    tell(ask(url, "POST", f"/v1/hosts/{quote(name, safe='')}/{verb}"), as_json=as_json)


def _field(text: str) -> tuple[str, Any]:
    """``times=2``: values are JSON where they can be, else text."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise UsageError(f"{text!r} is not FIELD=VALUE", hint="for example fault=TaskInProgress")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _said(rule: dict[str, Any]) -> list[tuple[str, Any]]:
    """The fields of a rule that differ from a rule that says nothing."""
    nothing = {"truncate": -1, "probability": 1.0, "times": None}
    return [(name, value) for name, value in rule.items() if value != nothing.get(name) and (value or name in nothing)]


def ask(url: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """One request to a control port. Raises what its answer means: UsageError, NotFound, InvalidState, Unreachable."""
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise UsageError(
            f"{url!r} is no control URL" if url else "no simulator is named",
            hint="give --url or CONTRAIL_VSPHERE_CONTROL_URL: control_url of its ready line",
        )
    return asyncio.run(_exchange(url.rstrip("/"), method, path, body))


async def _exchange(url: str, method: str, path: str, body: dict[str, Any] | None) -> Any:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=DEADLINE, sock_connect=10)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.request(method, url + path, json=body) as response,
        ):
            document = await response.json() if response.status != 204 else {}
    except aiohttp.ContentTypeError as error:
        raise ProtocolError(f"{url} is not a simulator's control port", hint="see its ready line") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unreachable(f"no simulator answers at {url}", hint="see control_url of its ready line") from error
    if response.status >= 400:
        raise _refusal(response.status, document)
    return document


def _refusal(status: int, document: Any) -> NotFound | UsageError | InvalidState:
    """The control API's errors: FastAPI's own shape, or ours with the fault's name."""
    detail = document.get("detail") if isinstance(document, dict) else None
    if isinstance(detail, list):
        return UsageError("; ".join(f"{'.'.join(map(str, each['loc'][1:]))}: {_told(each)}" for each in detail))
    if status == 404:
        if "message" in document:
            return NotFound(str(document["message"]))
        return NotFound("this simulator has no such verb", hint="only `simulate vcenter` has hosts and VMs")
    if status == 422:
        return UsageError(str(detail))
    return InvalidState(f"{document.get('error', status)}: {document.get('message', detail)}")


def _told(each: dict[str, Any]) -> str:
    """One complaint of pydantic's."""
    return "there is no such field" if each["type"] == "extra_forbidden" else str(each["msg"])


def tell(document: dict[str, Any], *, as_json: bool) -> None:
    """Print what became of something."""
    if as_json:
        print_json(document)
        return
    told = {name: ":".join(value) if name == "fq_name" else value for name, value in document.items()}
    typer.echo("  ".join(f"{name} {value}" for name, value in told.items() if not isinstance(value, dict)))


def table(found: list[dict[str, Any]], columns: tuple[str, ...], *, as_json: bool) -> None:
    """Print a listing."""
    if as_json:
        print_json(found)
        return
    print_table("", columns, [tuple(str(each.get(column, "-")) for column in columns) for each in found])
