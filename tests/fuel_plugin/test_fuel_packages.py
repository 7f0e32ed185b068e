"""The plugin in three package versions: task graph, scripts, settings page; checked and built by the real builder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from real_process import needs

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PLUGIN = ROOT / "deploy/fuel-plugin"
BUILDER = ROOT / ".tools/fpb/bin/python"
VERSIONS = ("3.0.0", "4.0.0", "5.0.0")
FUELS_OWN = {"netconfig", "openstack-network-server-config", "deploy_end"}
"""Tasks of Fuel's own graph that ours name."""


@pytest.fixture(params=VERSIONS)
def plugin(request, tmp_path):
    target = tmp_path / "plugin"
    needs("dpkg-deb")
    subprocess.run([sys.executable, PLUGIN / "assemble.py", request.param, target], check=True, timeout=120)
    return target


def tasks():
    return {task["id"]: task for task in yaml.safe_load((PLUGIN / "common/deployment_tasks.yaml").read_text())}


def test_the_task_graph_names_what_exists_and_has_no_circle():
    found = tasks()
    edges = {name: set() for name in found}
    for name, task in found.items():
        for other in (*task.get("requires", ()), *task.get("required_for", ())):
            assert other in found or other in FUELS_OWN, f"{name} names {other}"
        for other in task.get("requires", ()):
            edges[name].add(other)
        for other in task.get("required_for", ()):
            edges.setdefault(other, set()).add(name)
    done: set[str] = set()
    while left := [name for name, before in edges.items() if name not in done and not (before & set(found)) - done]:
        done.update(left)
    assert set(found) <= done, "a circle"


def test_scripts_call_the_tool_and_decide_nothing():
    scripts = sorted((PLUGIN / "common/deployment_scripts").glob("*.sh"))
    assert {f"./{script.name}" for script in scripts} >= {task["parameters"]["cmd"] for task in tasks().values()}
    for script in scripts:
        assert os.access(script, os.X_OK)
        subprocess.run(["sh", "-n", script], check=True, timeout=10)
        lines = [line for line in script.read_text().splitlines() if line and not line.startswith("#")]
        assert len(lines) == 1, f"{script.name} does more than call"
        assert lines[0].startswith("exec ")


def test_the_settings_page_has_the_checkbox():
    attributes = yaml.safe_load((PLUGIN / "common/environment_config.yaml").read_text())["attributes"]
    box = attributes["vmware_dvs_enabled"]
    assert (box["type"], box["label"]) == ("checkbox", "Use vmware_dvs plugin for VMware networking")


def builder(*arguments):
    if not BUILDER.exists():
        pytest.skip("fuel-plugin-builder is not there: tests/fuel_plugin/builder.sh .tools/fpb")
    return subprocess.run(
        [BUILDER, HERE / "run_builder.py", *arguments], capture_output=True, text=True, timeout=180, check=False
    )


def test_the_real_builder_finds_no_fault(plugin):
    done = builder("--check", plugin)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Plugin is valid" in done.stdout


def test_the_real_builder_makes_an_rpm(plugin):
    needs("rpm", "rpmbuild", "createrepo_c", "dpkg-scanpackages")
    bin_directory = plugin.parent / "bin"
    bin_directory.mkdir()
    (bin_directory / "createrepo").symlink_to("/usr/bin/createrepo_c")
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{bin_directory}:{before}"
    try:
        done = builder("--build", plugin)
    finally:
        os.environ["PATH"] = before
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = plugin.glob("*.rpm")
    names = subprocess.run(
        ["rpm", "-qpl", made], capture_output=True, text=True, timeout=60, check=True
    ).stdout.splitlines()
    base = "/var/www/nailgun/plugins/contrail-vsphere-dvs-1.0"
    for wanted in ("metadata.yaml", "deployment_tasks.yaml", "environment_config.yaml", "deployment_scripts/apply.sh"):
        assert f"{base}/{wanted}" in names
    assert any(name.endswith("_all.deb") for name in names)
    assert any(name.endswith("/Packages.gz") or name.endswith("/Packages") for name in names)
