"""The plugin in three package versions: task graph, scripts, settings page; checked and built by the real builder."""

from __future__ import annotations

import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml
from real_process import needs

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PLUGIN = ROOT / "deploy/fuel-plugin"
BUILDER = ROOT / ".tools/fpb/bin/python"
VERSIONS = ("3.0.0", "4.0.0", "5.0.0")
FUELS_OWN = {
    "3.0.0": {"netconfig", "openstack-network", "deploy_end"},
    "4.0.0": {"netconfig", "openstack-network-server-config", "deploy_end"},
    "5.0.0": {"netconfig", "primary-openstack-network-server-config", "openstack-network-server-config", "deploy_end"},
}
"""Tasks of Fuel's own graph, by package version, that ours may name."""


@pytest.fixture(params=VERSIONS, scope="module")
def plugin(request, tmp_path_factory):
    target = tmp_path_factory.mktemp("fuel") / "plugin"
    needs("dpkg-deb")
    subprocess.run([sys.executable, PLUGIN / "assemble.py", request.param, target], check=True, timeout=120)
    return target


def tasks(plugin):
    return {task["id"]: task for task in yaml.safe_load((plugin / "deployment_tasks.yaml").read_text())}


def test_the_task_graph_names_what_exists_and_goes_from_packages_to_resources(plugin):
    version = yaml.safe_load((plugin / "metadata.yaml").read_text())["package_version"]
    found = tasks(plugin)
    edges = {name: set() for name in found}
    for name, task in found.items():
        waits = {*task.get("requires", ()), *(each["name"] for each in task.get("cross-depends", ()))}
        for other in (*waits, *task.get("required_for", ())):
            assert other in found or other in FUELS_OWN[version], f"{name} names {other}"
        edges[name] |= waits
        for other in task.get("required_for", ()):
            edges.setdefault(other, set()).add(name)
    order = [name.rpartition("-")[2] for name in TopologicalSorter(edges).static_order() if name in found]
    assert order[:2] == ["install", "render"]
    # Tables before workers. On another controller than the primary one that is a dependency between nodes.
    if version != "3.0.0":
        assert order == ["install", "render", "migrate", "apply"]
    # Neutron is configured with files that are there, and has tables made once it is.
    for neutrons in FUELS_OWN[version] - {"netconfig", "deploy_end"}:
        assert "contrail-vsphere-dvs-render" in edges[neutrons]
        assert neutrons in edges["contrail-vsphere-dvs-migrate"] & edges["contrail-vsphere-dvs-apply"]


def test_scripts_call_the_tool_and_decide_nothing(plugin):
    scripts = sorted((PLUGIN / "common/deployment_scripts").glob("*.sh"))
    assert {f"./{script.name}" for script in scripts} >= {task["parameters"]["cmd"] for task in tasks(plugin).values()}
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
