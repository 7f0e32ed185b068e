"""``contrail-vsphere contrailvm ...``: packages, registration, deployments, and what the manager does about them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from contrail_vsphere.cli import adopt, certificates, packages
from contrail_vsphere.cli.config import DEFAULT_FILE, ConfigFile
from contrail_vsphere.cli.output import print_json, print_table, say
from contrail_vsphere.cli.rollout_lines import rollout_lines
from contrail_vsphere.model.errors import NotReadyYet, UsageError

app = typer.Typer(help="The ContrailVM Manager: a ContrailVM on every ESXi host.", no_args_is_help=True)

PATIENCE = 30
"""Seconds to wait for a manager that has just started and does not know its vCenter yet."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
VCenterName = Annotated[str, typer.Option("--vcenter", help="Name of the vCenter's table, where there are several.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
Deployment = Annotated[str, typer.Option(help="Only this deployment.")]
Cluster = Annotated[str, typer.Option(help="Only this cluster, by name or moid.")]
OfRollout = Annotated[bool, typer.Option("--rollout", help="Of the deployment's rollout.")]
Host = Annotated[str, typer.Option(help="Only this host, by name or moid.")]


@app.command()
def register(config: ConfigFile = DEFAULT_FILE, vcenter: VCenterName = "", as_json: AsJson = False) -> None:
    """Register with vCenter, as an administrator.

    Once, and again when settings changed; from then on the manager logs in as its extension, by certificate.
    """
    from contrail_vsphere.app.contrailvm_register import register as do

    done = asyncio.run(do(_settings(config), vcenter=vcenter))
    if as_json:
        print_json(
            {"outcome": done.outcome, "key": done.key, "version": done.version, "certificate_sha256": done.certificate}
        )
    else:
        typer.echo(f"extension {done.key} {done.version}: {done.outcome}")
        typer.echo(f"  its certificate was set: SHA-256 {done.certificate}")


@app.command()
def unregister(
    config: ConfigFile = DEFAULT_FILE, vcenter: VCenterName = "", yes: Yes = False, as_json: AsJson = False
) -> None:
    """Unregister; destroys all ContrailVMs.

    EAM destroys every agency of the extension with it. Without --yes, says what would go.
    """
    from contrail_vsphere.app import contrailvm_register

    settings = _settings(config)
    found = asyncio.run(contrailvm_register.destruction(settings, vcenter=vcenter))
    say(f"unregistering {found.key} destroys its agencies ({len(found.agencies)}) and ContrailVMs ({len(found.vms)})")
    for name in (*found.agencies, *found.vms):
        say(f"  {name}")
    if found.disconnected:
        say(f"  {found.disconnected} of them on hosts EAM cannot reach: those VMs stay until the hosts are back")
    if not yes:
        raise UsageError("nothing was unregistered", hint="repeat with --yes if all of this may go")
    asyncio.run(contrailvm_register.unregister(settings, accepted=found, vcenter=vcenter))
    if as_json:
        print_json({"key": found.key, "agencies": list(found.agencies), "vms": list(found.vms)})
    else:
        typer.echo(f"extension {found.key}: unregistered")


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="Deployments file (TOML).")],
    config: ConfigFile = DEFAULT_FILE,
    dry_run: DryRun = False,
    allow_removal: Annotated[
        bool, typer.Option("--allow-removal", help="Clusters the file no longer names lose their ContrailVMs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a deployments file the desired state.

    The running manager brings it about; `status` shows how far it is.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from error
    body = {"document": text, "dry_run": dry_run, "allow_removal": allow_removal}
    _change(config, "/v1/apply", body, as_json=as_json)


@app.command()
def remove(deployment: str, config: ConfigFile = DEFAULT_FILE, yes: Yes = False, as_json: AsJson = False) -> None:
    """Take a deployment and its ContrailVMs away."""
    if not yes:
        raise UsageError(f"removing {deployment} destroys its ContrailVMs", hint="repeat with --yes if that is meant")
    _change(config, f"/v1/deployments/{deployment}/remove", {"confirm": deployment}, as_json=as_json)


@app.command()
def upgrade(
    deployment: Annotated[str, typer.Argument(help="Name of the deployment.")],
    config: ConfigFile = DEFAULT_FILE,
    to: Annotated[str, typer.Option(help="Version of a published package, or the beginning of its digest.")] = "",
    size: Annotated[str | None, typer.Option(help="Another size of the package.")] = None,
    canary: Annotated[int | None, typer.Option(min=0, help="So many hosts go first and must pass.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="So many hosts at a time.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Although the pre-checks find something.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Replace a deployment's ContrailVMs, host by host.

    The old ContrailVM forwards until its host's turn; a host that fails stops the rollout and, unless the deployment
    says otherwise, takes it back. `status` shows how far it is.
    """
    if not to and size is None:
        raise UsageError("upgrade to what?", hint="--to VERSION, --size SIZE, or both")
    body = {"to": to, "size": size, "canary": canary, "concurrency": concurrency, "force": force, "dry_run": dry_run}
    _change(config, f"/v1/deployments/{deployment}/upgrade", body, as_json=as_json)


@app.command()
def rollback(
    deployment: Annotated[str, typer.Argument(help="Name of the deployment.")],
    config: ConfigFile = DEFAULT_FILE,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Go back to what ran before the newest upgrade.

    Also in the middle of one: hosts that were not in turn keep the ContrailVM they have.
    """
    _change(config, f"/v1/deployments/{deployment}/rollback", {"dry_run": dry_run}, as_json=as_json)


@app.command()
def status(
    config: ConfigFile = DEFAULT_FILE,
    watch: Annotated[bool, typer.Option(help="Keep the table on the screen and up to date.")] = False,
    as_json: AsJson = False,
) -> None:
    """Per host: state, ContrailVM, issue, what is next."""
    if watch:
        if as_json or not sys.stdout.isatty():
            raise UsageError("--watch draws on a terminal", hint="for programs: --json, as often as needed")
        from contrail_vsphere.cli.live import watch_status

        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(watch_status(_settings(config)))
        return
    document = asyncio.run(_get(config, "/v1/status"))
    if as_json:
        print_json(document)
        return
    for each in document["deployments"]:
        title = f"{each['deployment']} on {each['cluster_name'] or each['cluster']}, package {each['version']}"
        title += " (paused)" if each["paused"] else ""
        print_table(title, ("host", "state", "EAM", "ContrailVM", "version", "issue", "next"), unit_rows(each["units"]))
        if each["reason"]:
            typer.echo(f"  {each['reason']}")
    for each in document["rollouts"]:
        if each["state"] != "done":
            for line in rollout_lines(each):
                typer.echo(line)
    if document["standby"]:
        typer.echo(f"standby: {document['standby']}")
    for problem in document["problems"]:
        typer.echo(f"! {problem}")
    if not document["deployments"]:
        typer.echo("no deployments; apply one: contrail-vsphere contrailvm apply FILE")
    elif document["converged"]:
        typer.echo("converged: nothing is left to do")


def unit_rows(units: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """The rows of the status table."""
    for unit in units:
        issues = ", ".join(issue["type"] for issue in unit["issues"])
        told = unit["next"] or unit["reason"]
        yield (
            unit["host_name"] or unit["host"], unit["state"], unit["colour"] or "-", unit["vm_name"] or "-",
            unit["version"] or "-", issues or "-", told or "-",
        )  # fmt: skip


def _host_of(action: dict[str, Any]) -> str:
    if not action["host"]:
        return "-"
    return f"{action['host_name']} ({action['host']})" if action["host_name"] else str(action["host"])


@app.command()
def plan(config: ConfigFile = DEFAULT_FILE, as_json: AsJson = False) -> None:
    """What would be done now, why, and whom it would disturb."""
    document = asyncio.run(_get(config, "/v1/plan"))
    if as_json:
        print_json(document)
        return
    if document["standby"]:
        typer.echo(f"standby: {document['standby']}")
    rows = (
        (
            f"{each['deployment']} on {each['cluster_name'] or each['cluster']}", _host_of(each),
            each["action"], each["effect"], each["reason"], each["disturbs"] or "-",
        )
        for each in document["actions"]
    )  # fmt: skip
    print_table("", ("where", "host", "action", "effect", "reason", "disturbs"), rows, empty="nothing is to be done")


@app.command()
def hosts(config: ConfigFile = DEFAULT_FILE, as_json: AsJson = False) -> None:
    """Which ContrailVM serves which host.

    And where its VRouterAgent answers: the host directory that other services read.
    """
    document = asyncio.run(_get(config, "/v1/hosts"))
    if as_json:
        print_json(document)
        return
    rows = (
        (e["name"], e["host"], e["vm"] or "-", e["agent_address"] or "-", e["version"] or "-", e["state"])
        for e in document
    )
    print_table(
        "",
        ("host", "moid", "ContrailVM", "VRouterAgent", "version", "state"),
        rows,
        empty="no hosts: nothing is deployed yet",
    )


@app.command()
def resolve(
    config: ConfigFile = DEFAULT_FILE,
    deployment: Deployment = "",
    cluster: Cluster = "",
    host: Host = "",
    as_json: AsJson = False,
) -> None:
    """Release holds and try again now."""
    _change(config, "/v1/resolve", {"deployment": deployment, "cluster": cluster, "host": host}, as_json=as_json)


@app.command()
def approve(
    config: ConfigFile = DEFAULT_FILE,
    deployment: Deployment = "",
    cluster: Cluster = "",
    host: Host = "",
    issue: Annotated[list[str] | None, typer.Option(help="Issue types; all present ones where none is named.")] = None,
    rollout: OfRollout = False,
    as_json: AsJson = False,
) -> None:
    """Allow, once, repairs that disturb a host.

    Those that put it into maintenance mode or reboot it. With --rollout: let the other hosts follow the canaries.
    """
    if rollout:
        _steer(config, "approve", deployment, rest=(cluster, host, *(issue or ())), as_json=as_json)
        return
    body = {"deployment": deployment, "cluster": cluster, "host": host, "issues": issue or []}
    _change(config, "/v1/approve", body, as_json=as_json)


@app.command()
def pause(
    config: ConfigFile = DEFAULT_FILE,
    deployment: Deployment = "",
    cluster: Cluster = "",
    rollout: OfRollout = False,
    as_json: AsJson = False,
) -> None:
    """Change nothing there until resume.

    With --rollout only its rollout rests: turns that were given end, no more are given, everything else goes on.
    """
    if rollout:
        _steer(config, "pause", deployment, rest=(cluster,), as_json=as_json)
        return
    _change(config, "/v1/pause", {"deployment": deployment, "cluster": cluster}, as_json=as_json)


@app.command()
def resume(
    config: ConfigFile = DEFAULT_FILE,
    deployment: Deployment = "",
    cluster: Cluster = "",
    rollout: OfRollout = False,
    as_json: AsJson = False,
) -> None:
    """End a pause.

    With --rollout that of its rollout, also one that a failure stopped.
    """
    if rollout:
        _steer(config, "resume", deployment, rest=(cluster,), as_json=as_json)
        return
    _change(config, "/v1/resume", {"deployment": deployment, "cluster": cluster}, as_json=as_json)


@app.command("release-brake")
def release_brake(
    reason: Annotated[str, typer.Option(help="Why the deletions are meant; kept in the journal.")],
    name: Annotated[str, typer.Argument(help="The brake.")] = "contrailvm",
    config: ConfigFile = DEFAULT_FILE,
    as_json: AsJson = False,
) -> None:
    """Approve the deletions a brake refused."""
    _change(config, f"/v1/brakes/{name}/release", {"reason": reason}, as_json=as_json)


app.command()(adopt.adopt)
app.add_typer(certificates.app, name="certificates")
app.add_typer(packages.app, name="package")


# -- inside -------------------------------------------------------------------------------------------------------


def _settings(config: Path) -> Any:
    from contrail_vsphere.config.load import load

    return load(config, os.environ)


def _steer(config: Path, step: str, deployment: str, *, rest: tuple[str, ...], as_json: bool) -> None:
    """Steer a rollout, which is of a whole deployment."""
    if not deployment or any(rest):
        raise UsageError("a rollout is of one whole deployment", hint=f"contrailvm {step} --rollout --deployment NAME")
    _change(config, f"/v1/deployments/{deployment}/rollout/{step}", {}, as_json=as_json)


async def _get(config: Path, path: str) -> Any:
    from contrail_vsphere.app.control_client import ControlClient

    async with ControlClient(_settings(config), role="viewer") as client:
        return await client.get(path)


def _change(config: Path, path: str, body: dict[str, Any], *, as_json: bool) -> None:
    from contrail_vsphere.app.control_client import ControlClient

    async def send() -> Any:
        async with ControlClient(_settings(config), role="operator") as client:
            for _ in range(PATIENCE):
                try:
                    return await client.post(path, body)
                except NotReadyYet as error:
                    say(f"waiting for the manager: {error.message}")
                    await asyncio.sleep(1)
            return await client.post(path, body)

    outcome = asyncio.run(send())
    if as_json:
        print_json(outcome)
        return
    for line in outcome["changes"]:
        typer.echo(line)
    if not outcome["changes"]:
        typer.echo("nothing to change")
    elif body.get("dry_run"):
        typer.echo("nothing was changed; without --dry-run it is done")
