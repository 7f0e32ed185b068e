"""``simulate contrail`` as a process, steered through its control port."""

import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest
from typer.testing import CliRunner

from contrail_vsphere.cli.main import app

pytestmark = pytest.mark.process


def contrail_vsphere(*arguments, **options):
    command = [sys.executable, "-m", "contrail_vsphere.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.fixture
def ready():
    command = [sys.executable, "-m", "contrail_vsphere.cli.main", "simulate", "contrail", "--networks", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        process.stdout.close()


def test_networks_come_and_go_by_the_control_port(ready):
    assert ready["amqp_url"] is None
    environment = {**os.environ, "CONTRAIL_VSPHERE_CONTROL_URL": ready["control_url"]}

    def control(*arguments):
        """In this process, which is quicker; what goes wrong needs one of its own."""
        done = CliRunner().invoke(app, ["simulate", "control", *arguments], env=environment)
        assert done.exit_code == 0, done.output
        return done.stdout

    network = json.loads(control("contrail", "create-network", "blue", "--prefix", "10.99.0.0/24", "--json"))
    with urllib.request.urlopen(f"{ready['url']}/virtual-network/{network['uuid']}", timeout=10) as reply:
        assert json.load(reply)["virtual-network"]["fq_name"] == ["default-domain", "vCenter", "blue"]
    again = contrail_vsphere("simulate", "control", "contrail", "create-network", "blue", env=environment)
    assert again.returncode == 1
    assert "already exists with uuid" in again.stderr
    control("contrail", "delete-network", "blue")
    listed = json.loads(control("contrail", "list", "--json"))
    assert [item["fq_name"][-1] for item in listed][-2:] == ["net-000", "net-001"]
    rule = ("method=create", "http_status=503", "message=away")
    control("fault", "add", *rule)
    shown = json.loads(control("stats", "--json"))
    assert shown["defects"] == []
    assert shown["calls"] == {"read virtual-network": 1}


def test_what_is_wrong_is_said_in_a_line():
    told = contrail_vsphere("simulate", "contrail", "--profile", "r99")
    assert (told.returncode, told.stdout) == (2, "")
    assert "r1912" in told.stderr
