"""``server-manager provision|status|retry|cancel``: plans, runs, and watching them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from contrail_vsphere.cli.output import print_json, print_table, say
from contrail_vsphere.cli.server_manager.change import AsJson, Yes, confirm
from contrail_vsphere.cli.server_manager.choose import ClusterId, ServerId, Tag, WherePhrase, servers, some_servers
from contrail_vsphere.cli.server_manager.client import Client, connected
from contrail_vsphere.cli.server_manager.show import cell
from contrail_vsphere.cli.server_manager.watch import watch
from contrail_vsphere.model.errors import ContrailVsphereError, UsageError

status = typer.Typer(help="How things stand.", no_args_is_help=True)

Wait = Annotated[bool, typer.Option("--wait", help="Until the run is over; exit 1 if it did not succeed.")]
PlanOnly = Annotated[bool, typer.Option("--plan", "--dry-run", help="Show what would be done, and do nothing.")]
WaitTime = Annotated[float, typer.Option(help="With --wait or --watch: seconds, then exit code 3.")]


def provision(
    context: typer.Context,
    image_id: Annotated[str, typer.Argument(metavar="IMAGE", help="Empty: the cluster's own.")] = "",
    server_id: ServerId = "",
    cluster_id: ClusterId = "",
    tag: Tag = "",
    where: WherePhrase = "",
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help='JSON: {"roles": {ROLE: [SERVER, ...]}, "overrides": {...}}.')
    ] = None,
    engine: Annotated[
        Literal["podman", "docker"] | None, typer.Option(help="Install this container engine first (Debian 12).")
    ] = None,
    interactive: Annotated[bool, typer.Option("--interactive", "-I", help="Ask which servers get which role.")] = False,
    plan: PlanOnly = False,
    wait: Wait = False,
    timeout: WaitTime = 3600.0,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Put the roles of servers on them as containers."""
    if not (server_id or cluster_id or tag or where or file or interactive):
        raise UsageError("say which servers", hint="--cluster-id, --server-id, --tag, --where, --file or -I")
    if interactive and (file is not None or not sys.stdin.isatty()):
        raise UsageError("-I asks on a terminal", hint='--file says the same: {"roles": {ROLE: [SERVER, ...]}}')
    with connected(context.obj) as client:
        order = _order(client, image_id, file, server_id=server_id, cluster_id=cluster_id, tag=tag, where=where)
        if interactive:
            order = _ask(client, order)
        if engine is not None:
            order["engine"] = engine
        go(client, order, plan=plan, wait=wait, timeout=timeout, yes=yes, as_json=as_json)


def go(
    client: Client, order: dict[str, Any], *, plan: bool, wait: bool, timeout: float, yes: bool, as_json: bool
) -> None:
    """Show the plan, ask, begin it, and follow it if that is wanted."""
    document = client.ask("POST", "/v1/plan", order)
    if plan and as_json:
        print_json(document)
        return
    if not as_json:
        _print_plan(document)
    if plan:
        return
    confirm(f"provision {len(document['hosts'])} servers with {document['image']}", yes=yes)
    run = client.ask("POST", "/v1/provision", {**order, "plan": document["hash"]})
    say(f"run {run['id']}")
    _finish(client, run["id"], wait=wait, timeout=timeout, as_json=as_json)


def retry(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="A run that is over.")],
    wait: Wait = False,
    timeout: WaitTime = 3600.0,
    as_json: AsJson = False,
) -> None:
    """Provision those servers of a run that did not complete."""
    with connected(context.obj) as client:
        new = client.ask("POST", f"/v1/runs/{run}/retry")
        say(f"run {new['id']}")
        _finish(client, new["id"], wait=wait, timeout=timeout, as_json=as_json)


def cancel(context: typer.Context, run: Annotated[str, typer.Argument(help="A run under way.")]) -> None:
    """Ask a run to end."""
    with connected(context.obj) as client:
        client.ask("POST", f"/v1/runs/{run}/cancel")


def drift(
    context: typer.Context,
    server_id: ServerId = "",
    cluster_id: ClusterId = "",
    tag: Tag = "",
    where: WherePhrase = "",
    timeout: Annotated[float, typer.Option(help="Seconds, then exit code 3.")] = 3600.0,
    as_json: AsJson = False,
) -> None:
    """Compare what runs with what was put there, and change nothing. Exit 1 if something differs."""
    if not (server_id or cluster_id or tag or where):
        raise UsageError("say which servers", hint="--cluster-id, --server-id, --tag or --where")
    with connected(context.obj) as client:
        order = _order(client, "", None, server_id=server_id, cluster_id=cluster_id, tag=tag, where=where)
        run = watch(client, client.ask("POST", "/v1/drift", order)["id"], timeout)
    hosts = run["hosts"]
    if as_json:
        print_json(run)
    else:
        rows = [
            [name, each]
            for name in sorted(hosts)
            for each in hosts[name]["drift"]
            or [
                "as planned"
                if hosts[name]["state"] == "completed"
                else f"{hosts[name]['state']}: {hosts[name]['message']}"
            ]
        ]
        print_table("", ("server", "differs"), rows)
    differing = sorted(name for name, host in hosts.items() if host["drift"] or host["state"] != "completed")
    if differing or run["state"] != "succeeded":
        raise ContrailVsphereError(
            f"not as planned: {', '.join(differing) or run['reason']}", hint="server-manager provision repairs it"
        )


@status.command("server")
def status_server(
    context: typer.Context,
    server_id: ServerId = "",
    cluster_id: ClusterId = "",
    tag: Tag = "",
    where: WherePhrase = "",
    as_json: AsJson = False,
) -> None:
    """Servers' states, with the reason."""
    with connected(context.obj) as client:
        rows = servers(client, server_id=server_id, cluster_id=cluster_id, tag=tag, where=where)
    fields = ("id", "ip_address", "state", "since", "reason")
    if as_json:
        print_json({"items": [{field: row.get(field) for field in fields} for row in rows]})
        return
    print_table("", fields, [[cell(row.get(field)) for field in fields] for row in rows])


@status.command("provision")
def status_provision(
    context: typer.Context,
    cluster_id: ClusterId = "",
    run: Annotated[str, typer.Option(help="Instead of the cluster's last one: this run.")] = "",
    live: Annotated[bool, typer.Option("--watch", help="Live, until it is over.")] = False,
    timeout: WaitTime = 3600.0,
    as_json: AsJson = False,
) -> None:
    """How far a run is, per server and role."""
    if not (cluster_id or run):
        raise UsageError("say which", hint="--cluster-id or --run")
    with connected(context.obj) as client:
        document = client.get(f"/v1/runs/{run}" if run else f"/v1/clusters/{cluster_id}/last-run")
        if live:
            document = watch(client, document["id"], timeout)
    _print_run(document, as_json=as_json)


def _order(client: Client, image_id: str, file: Path | None, **named: str) -> dict[str, Any]:
    order: dict[str, Any] = {"image": image_id}
    if named["server_id"] or named["tag"] or named["where"]:
        order["servers"] = [row["id"] for row in some_servers(client, **named)]
    else:
        order["cluster"] = named["cluster_id"]
    if file is not None:
        from contrail_vsphere.servermanager.documents import parse

        given = parse(file.read_bytes())
        order |= {key: given[key] for key in ("roles", "overrides") if key in given}
        if not order.get("servers") and not order.get("cluster"):
            order["servers"] = sorted({each for ids in order.get("roles", {}).values() for each in ids})
    return order


def _ask(client: Client, order: dict[str, Any]) -> dict[str, Any]:
    """Role by role, which of the servers get it; nothing for an empty answer."""
    known = order.get("servers") or [row["id"] for row in client.items("/v1/servers", cluster=order.get("cluster", ""))]
    if not order["image"]:
        images = ", ".join(row["id"] for row in client.items("/v1/images") if row["state"] == "ready")
        order["image"] = typer.prompt(f"image (empty: the cluster's; there are {images})", default="", err=True,
                                      show_default=False)  # fmt: skip
    say(f"servers: {', '.join(known)}")
    roles: dict[str, list[str]] = {}
    for row in client.get("/v1/roles")["items"]:
        answer = typer.prompt(f"servers for {row['role']} (with commas between, empty: none)", default="", err=True,
                              show_default=False)  # fmt: skip
        chosen = [each.strip() for each in answer.split(",") if each.strip()]
        if unknown := sorted(set(chosen) - set(known)):
            raise UsageError(f"no such server: {', '.join(unknown)}", hint=f"servers: {', '.join(known)}")
        if chosen:
            roles[row["role"]] = chosen
    if not roles:
        raise UsageError("no server gets a role")
    return {**order, "roles": roles, "servers": sorted({each for ids in roles.values() for each in ids})}


def _print_plan(document: dict[str, Any]) -> None:
    rows = []
    for host in document["hosts"]:
        for step in host["roles"]:
            files = ", ".join(f"{each['action']} {each['path']}" for each in step["files"] if each["action"] != "leave")
            container = step["container"]
            words = "; ".join(container["reasons"])
            rows.append([host["server"], step["role"], str(step["stage"]), container["action"], files, words])
    print_table("", ("server", "role", "stage", "container", "files", "because"), rows)
    for host in document["hosts"]:
        for step in host["roles"]:
            for file in step["files"]:
                if file["action"] == "change":
                    sys.stdout.write(f"\n{host['server']} {file['path']}\n{file['diff']}")
    sys.stdout.write(f"{document['changes']} changes, plan {document['hash'][:12]}\n")


def _finish(client: Client, run_id: str, *, wait: bool, timeout: float, as_json: bool) -> None:
    if not wait:
        if as_json:
            print_json({"id": run_id})
        return
    document = watch(client, run_id, timeout)
    _print_run(document, as_json=as_json)
    if document["state"] != "succeeded":
        raise ContrailVsphereError(
            f"run {run_id} {document['state']}: {document['reason']}", hint=f"server-manager retry {run_id}"
        )


def _print_run(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    rows = []
    for name in document["servers"]:
        host = document["hosts"].get(name, {"state": "pending", "roles": {}, "message": ""})
        roles = ", ".join(f"{role} {state}" for role, state in host["roles"].items())
        rows.append([name, host["state"], roles, " ".join(str(host["message"]).split())])
    print_table(f"{document['id']}: {document['state']}", ("server", "state", "roles", "message"), rows)
