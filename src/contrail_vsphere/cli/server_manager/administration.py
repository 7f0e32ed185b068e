"""``server-manager token|secret``: who may use the API, and secrets that documents refer to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from contrail_vsphere.cli.output import print_json, print_table, say
from contrail_vsphere.cli.server_manager.change import AsJson, Yes, confirm
from contrail_vsphere.cli.server_manager.client import connected

token = typer.Typer(help="Tokens for the API.", no_args_is_help=True)
secret = typer.Typer(help="Named secrets, for documents to refer to.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Its name.")]


@token.command("create")
def create_token(
    context: typer.Context,
    name: Name,
    role: Annotated[Literal["viewer", "operator", "admin"], typer.Option(help="What it may do.")] = "viewer",
    out: Annotated[Path | None, typer.Option(help="Write it to this file (0600) instead of stdout.")] = None,
) -> None:
    """Make a token; it is shown this once."""
    from contrail_vsphere.pki.secrets import write_private

    with connected(context.obj) as client:
        made = client.ask("POST", "/v1/tokens", {"name": name, "role": role})["token"]
    if out is None:
        sys.stdout.write(f"{made}\n")
    else:
        write_private(out, made.encode() + b"\n")


@token.command("list")
def list_tokens(context: typer.Context, as_json: AsJson = False) -> None:
    """The tokens' names and roles."""
    with connected(context.obj) as client:
        rows = client.get("/v1/tokens")["items"]
    if as_json:
        print_json({"items": rows})
    else:
        print_table("", ("name", "role", "created"), [[row["name"], row["role"], row["created"]] for row in rows])


@token.command("delete")
def delete_token(context: typer.Context, name: Name, yes: Yes = False) -> None:
    """End a token."""
    confirm(f"end the token {name}", yes=yes)
    with connected(context.obj) as client:
        client.ask("DELETE", f"/v1/tokens/{name}")


def collect_garbage(context: typer.Context, yes: Yes = False, as_json: AsJson = False) -> None:
    """Free the layers of deleted images in the embedded registry, which is down for the moment."""
    confirm("take the registry down and collect garbage", yes=yes)
    with connected(context.obj) as client:
        document = client.ask("POST", "/v1/registry/gc")
    if as_json:
        print_json(document)
    else:
        say(f"{document['freed_bytes']:,} bytes freed")


@secret.command("put")
def put_secret(
    context: typer.Context,
    name: Name,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="File that holds it, mode 0600; else stdin.")
    ] = None,
) -> None:
    """Keep a secret, for documents to refer to as {"secret": NAME}."""
    from contrail_vsphere.pki.secrets import read_secret

    if file is not None:
        value = read_secret(file).reveal()
    elif sys.stdin.isatty():
        value = typer.prompt(name, hide_input=True, err=True)
    else:
        value = sys.stdin.read().rstrip("\n")
    with connected(context.obj) as client:
        client.ask("PUT", f"/v1/secrets/{name}", {"value": value})
    say(f"secret {name}: kept")


@secret.command("list")
def list_secrets(context: typer.Context, as_json: AsJson = False) -> None:
    """The names."""
    with connected(context.obj) as client:
        rows = client.get("/v1/secrets")["items"]
    if as_json:
        print_json({"items": rows})
    else:
        print_table("", ("name",), [[row["name"]] for row in rows])


@secret.command("delete")
def delete_secret(context: typer.Context, name: Name, yes: Yes = False) -> None:
    """Delete one that nothing refers to."""
    confirm(f"delete the secret {name}", yes=yes)
    with connected(context.obj) as client:
        client.ask("DELETE", f"/v1/secrets/{name}")
