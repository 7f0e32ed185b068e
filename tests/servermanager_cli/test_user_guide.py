"""The guide's commands are understood, and its samples lead to a cluster that can be provisioned."""

import json
import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer

from contrail_vsphere.cli.server_manager.main import app
from contrail_vsphere.servermanager import documents
from contrail_vsphere.servermanager.catalogue import catalogue
from contrail_vsphere.servermanager.names import Release, repository
from contrail_vsphere.servermanager.objects import Objects
from contrail_vsphere.servermanager.planner import Order, Planner
from contrail_vsphere.servermanager.records import Actor
from contrail_vsphere.servermanager.store import Store
from contrail_vsphere.servermanager.tables import Image, ImagePart
from contrail_vsphere.servermanager.vault import Vault

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "server-manager.md").read_text()
LINES = [line for line in GUIDE.splitlines() if line.startswith("server-manager ")]
SAMPLES = DOCS / "samples" / "server-manager"


def sample(name, kind):
    return documents.listed(documents.parse((SAMPLES / name).read_bytes()), kind)[0]


@pytest.mark.parametrize("line", LINES)
def test_commands_are_understood(line):
    command = typer.main.get_command(app)
    context = command.make_context("server-manager", shlex.split(line, comments=True)[1:])
    while getattr(command, "commands", None):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)


def test_there_are_commands():
    assert len(LINES) > 10


@pytest.mark.parametrize("cluster", ["cluster.json", "cluster-contrail-4.json"])
def test_the_samples_together_are_a_cluster_that_can_be_provisioned(tmp_path, cluster):
    now = datetime(2026, 5, 4, tzinfo=UTC)
    actor, vault = Actor("alice", now), Vault(tmp_path / "key")
    store = Store(f"sqlite:///{tmp_path / 'x.db'}", now=lambda: now)
    store.migrate()
    objects = Objects(catalogue=catalogue(), vault=vault)
    image, given, server = sample("image.json", "image"), sample(cluster, "cluster"), sample("server.json", "server")
    with store.writing() as session:
        vault.put(session, "rabbit", "canary-8812")
        release = Release.parse(image["version"])
        row = Image(id=image["id"], category=image["category"], type=image["type"], release=image["version"], path="",
                    parameters={}, state="ready", reason="", since=now)  # fmt: skip
        for number, each in enumerate(image["parameters"]["containers"]):
            place = f"reg:5100/{repository(image['id'], each['role'], release)}"
            row.parts.append(ImagePart(role=each["role"], source="", repository=place, tag=release.version,
                             digest=f"sha256:{number:064d}", total_bytes=0, done_bytes=0, sent_bytes=0))  # fmt: skip
        session.add(row)
        session.flush()
        objects.put_cluster(session, actor, given)
        session.flush()
        objects.put_server(session, actor, {**server, "cluster_id": given["id"]})
    with store.writing() as session:
        planner = Planner(catalogue=catalogue(), vault=vault, config_dir="/etc/contrail")
        made = planner.prepare(session, Order(cluster=given["id"], image=image["id"]))
    assert {step.role for host in made.plan.hosts for step in host.roles} == {"controller", "analytics", "analyticsdb"}
    assert made.plan.changes > 0
    assert "canary-8812" not in json.dumps(made.document)
    store.close()
