"""What becomes of a Fuel environment's controllers: scaled, upgraded, uninstalled; with the real crm on a CIB file."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from real_process import needs

from contrail_vsphere import __version__
from contrail_vsphere.ml2.fuel import DRIVER_FILE, HIERA_FILE, RESOURCES_FILE, RUN_DIR, SETTINGS_DIR, render

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
COMMAND = Path(sys.prefix) / "bin/contrail-vsphere"
IN_THE_AGENTS = 'mount -t overlay overlay -o "lowerdir=$1:$2" "$2" && shift 2 && exec "$@"'
"""In a mount namespace: our ResourceAgent beside those of the machine, where crm looks for its description."""
WHERE_AGENTS_ARE = "/usr/lib/ocf/resource.d"


def astute(*controllers):
    """fuel8's environment with these controllers, by number."""
    document = yaml.safe_load((HERE / "astute/fuel8.yaml").read_text())
    nodes = document["network_metadata"]["nodes"]
    model = next(node for node in nodes.values() if "primary-controller" in node["node_roles"])
    others = {name: node for name, node in nodes.items() if not _controls(node)}
    for number in controllers:
        role = "primary-controller" if number == controllers[0] else "controller"
        fqdn = f"node-{number}.domain.tld"
        others[f"node-{number}"] = copy.deepcopy(model) | {"fqdn": fqdn, "name": f"node-{number}", "node_roles": [role]}
    document["network_metadata"]["nodes"] = others
    return document


def _controls(node):
    return bool({"controller", "primary-controller"} & set(node["node_roles"]))


def texts(document):
    return {file.path: file.text for file in render(document).files}


def primitives(text):
    return {line for line in text.splitlines() if line.startswith("primitive ")}


@pytest.mark.parametrize(("before", "after"), [((1, 3), (1, 3, 4)), ((1, 3, 4), (1, 4)), ((1, 3), (3,))])
def test_controllers_that_come_or_go_change_where_workers_prefer_to_be_and_nothing_else(before, after):
    old, new = texts(astute(*before)), texts(astute(*after))
    changed = {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
    assert changed <= {RESOURCES_FILE}
    # The same primitives with the same parameters: Pacemaker restarts none.
    assert primitives(old[RESOURCES_FILE]) == primitives(new[RESOURCES_FILE])
    preferred = [line.rpartition(": ")[2] for line in new[RESOURCES_FILE].splitlines() if line.startswith("location ")]
    assert set(preferred) <= {f"node-{number}.domain.tld" for number in after}
    assert len(preferred) == 2


@pytest.fixture
def pacemaker(tmp_path, monkeypatch):
    """A CIB in a file, and a way to run commands that change it as they would the cluster's."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    needs("crm", "cibadmin", "unshare")
    agents = tmp_path / "agents/contrail-vsphere"
    agents.mkdir(parents=True)
    shutil.copy2(ROOT / "deploy/pacemaker/neutron-worker", agents)
    monkeypatch.setenv("CIB_file", str(tmp_path / "cib.xml"))
    monkeypatch.setenv("HOME", str(tmp_path))

    def run(*command):
        inside = ["unshare", "--mount", "sh", "-c", IN_THE_AGENTS, "sh", agents.parent, WHERE_AGENTS_ARE]
        done = subprocess.run([*inside, *command], capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    (tmp_path / "cib.xml").write_text(run("cibadmin", "--empty"))
    run("crm", "configure", "property", "stonith-enabled=false")
    return run


def cib(home):
    return (home / "cib.xml").read_text()


def primitive(text, vcenter):
    """The resource of a vCenter, with its parameters and operations; a restart is a change of these."""
    return re.search(rf'<primitive id="p_vmware_dvs_{vcenter}".*?</primitive>', text, re.DOTALL).group()


def controller(tmp_path, name, document):
    home = tmp_path / name
    home.mkdir(exist_ok=True)
    (home / "astute.yaml").write_text(yaml.safe_dump(document))
    return ["neutron", "fuel", "apply", "--astute", home / "astute.yaml", "--root", home], home


def removed_from(pacemaker, home):
    pacemaker(COMMAND, "neutron", "fuel", "remove", "--root", home)
    return [path for path in home.rglob("*") if path.is_file() and path.name != "astute.yaml"] == []


@pytest.mark.process
def test_it_is_uninstalled_from_one_controller_after_the_other(pacemaker, tmp_path):
    command, home = controller(tmp_path, "one", astute(1, 3))
    pacemaker(COMMAND, *command)
    assert cib(tmp_path).count("<primitive ") == 2
    assert 'node="node-3.domain.tld"' in cib(tmp_path)
    other = shutil.copytree(home, tmp_path / "two")
    assert removed_from(pacemaker, home)
    assert "p_vmware_dvs" not in cib(tmp_path)
    assert removed_from(pacemaker, other)  # the resources are gone by now


def recorded(name):
    return yaml.safe_load((HERE / f"astute/{name}.yaml").read_text())


def test_fuel_is_upgraded_and_the_same_environment_keeps_its_names_files_and_resources():
    """7.0 and 8.0 describe an environment differently; what the plugin makes of it is the same to the letter."""
    old, new = recorded("fuel7"), recorded("fuel7_upgraded")
    assert old.keys() != new.keys()
    before, after = texts(old), texts(new)
    assert before.keys() == after.keys()
    changed = {path for path in before if before[path] != after[path]}
    # Fuel 8.0 knows of "Bypass certificate verification", and the worker's file says that it is not taken over.
    own = f"{SETTINGS_DIR}/172.16.0.254.ini"
    assert changed == {own}
    told = after[own].splitlines(keepends=True)
    assert "".join(line for line in told if not line.startswith("#")) == before[own]


@pytest.mark.process
def test_an_upgrade_restarts_no_resource_by_what_it_writes(pacemaker, tmp_path):
    command, home = controller(tmp_path, "one", recorded("fuel7"))
    pacemaker(COMMAND, *command)
    before = primitive(cib(tmp_path), "172.16.0.254")
    secret = home / SETTINGS_DIR.lstrip("/") / "172.16.0.254.password"
    written = secret.stat().st_mtime_ns
    command, _ = controller(tmp_path, "one", recorded("fuel7_upgraded"))
    pacemaker(COMMAND, *command)
    assert primitive(cib(tmp_path), "172.16.0.254") == before
    assert cib(tmp_path).count("<primitive ") == 1
    assert secret.stat().st_mtime_ns == written


@pytest.mark.parametrize(("runs", "told"), [("0.0.1", "restart p_vmware_dvs_vc2.example.org"), (__version__, "")])
def test_a_worker_of_older_code_is_restarted_where_it_runs(pacemaker, tmp_path, runs, told):
    """On this CIB nothing runs, so that crm says what it was asked for and cannot do."""
    command, home = controller(tmp_path, "one", astute(1, 3))
    command[2] = "render"
    subprocess.run([COMMAND, *command], check=True, timeout=180, capture_output=True)
    running = home / RUN_DIR.lstrip("/")
    running.mkdir(parents=True)
    for name, version, here in (("172.16.0.254", "0.0.1", False), ("vc2.example.org", runs, True)):
        (running / f"{name}.heartbeat").write_text(json.dumps({"version": version}))
        if here:
            (running / f"{name}.pid").write_text("1")
    done = subprocess.run(
        [COMMAND, "neutron", "fuel", "restart", "--root", home],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == bool(told)
    assert told in done.stderr
    assert "172.16.0.254" not in done.stderr


@pytest.mark.soak
@pytest.mark.process
def test_a_vcenter_that_the_environment_has_no_more_goes(pacemaker, tmp_path):
    document = astute(1, 3)
    command, home = controller(tmp_path, "one", document)
    pacemaker(COMMAND, *command)
    computes = document["vcenter"]["computes"]
    gone, left = "172.16.0.254", "vc2.example.org"  # the first of the environment: nothing of the other changes
    document["vcenter"]["computes"] = [each for each in computes if each["vc_host"] != gone]
    before = primitive(cib(tmp_path), left)
    command, _ = controller(tmp_path, "one", document)
    pacemaker(COMMAND, *command)
    assert primitive(cib(tmp_path), left) == before
    assert cib(tmp_path).count("<primitive ") == 1
    assert gone not in cib(tmp_path)
    assert list((home / SETTINGS_DIR.lstrip("/")).glob(f"{gone}*")) == []
    document["contrail-vsphere-dvs"]["vmware_dvs_enabled"] = False
    assert removed_from(pacemaker, home)
    assert "p_vmware_dvs" not in cib(tmp_path)


def test_what_is_rendered_is_what_is_removed():
    rendered = {file.path for file in render(astute(1, 3)).files}
    assert {path for path in rendered if not path.startswith(SETTINGS_DIR)} == {DRIVER_FILE, HIERA_FILE}
