"""Simulators on the command line: ready lines, the verbs of ``simulate control``, ports in use."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest


@pytest.fixture
def control(desk, monkeypatch):
    """A command of ``simulate control`` against the simulator of the tests."""
    monkeypatch.setenv("CONTRAIL_VSPHERE_CONTROL_URL", desk.vcenter.simulator.ready["control_url"])

    def do(*arguments):
        said = desk.do("simulate", "control", *arguments, "--json")
        assert (said.code, said.err) == (0, ""), said
        return said.json

    return do


def test_a_host_comes_and_goes(desk, control):
    assert control("add-host", "esx-cli")["connection_state"] == "connected"
    line = desk.refused(1, "simulate", "control", "remove-host", "esx-cli")
    assert "maintenance" in line
    assert control("host", "maintenance", "esx-cli")["in_maintenance"] is True
    assert control("host", "maintenance", "esx-cli", "--exit")["in_maintenance"] is False
    assert control("host", "disconnect", "esx-cli")["connection_state"] == "disconnected"
    assert control("host", "reconnect", "esx-cli")["connection_state"] == "connected"
    control("host", "disconnect", "esx-cli")
    control("remove-host", "esx-cli")
    assert "esx-cli" not in [each["name"] for each in control("hosts")]
    assert "no HostSystem" in desk.refused(1, "simulate", "control", "host", "crash", "esx-cli")


def test_a_vm_lives(control):
    assert control("vm", "create", "web 1 (2)", "--host", "esx-00")["power_state"] == "poweredOn"
    assert control("vm", "move", "web 1 (2)", "--host", "esx-01")["name"] == "web 1 (2)"
    assert control("vm", "power", "web 1 (2)", "off")["power_state"] == "poweredOff"
    assert control("vm", "rename", "web 1 (2)", "web")["name"] == "web"
    assert {"name": "web", "host": "esx-01"}.items() <= control("vms")[0].items()
    control("vm", "delete", "web")
    assert control("vms") == []


def test_faults(desk, control):
    key = control("fault", "add", "method=CreateAgency", "fault=TaskInProgress", "times=2")["key"]
    (rule,) = control("fault", "list")
    assert (rule["key"], rule["rule"]["times"]) == (key, 2)
    assert "method=CreateAgency fault=TaskInProgress times=2" in desk.do("simulate", "control", "fault", "list").out
    control("fault", "remove", str(key))
    control("fault", "add", "point=guest.boot", "delay=0.5")
    control("fault", "clear")
    assert control("fault", "list") == []
    # Rules that would wait for ever are refused.
    line = desk.refused(1, "simulate", "control", "fault", "add", "method=PowerOnVM_Tsk")
    assert line == "the API has no method PowerOnVM_Tsk; did you mean PowerOnVM_Task?"
    assert desk.refused(2, "simulate", "control", "fault", "add", "metod=X") == "metod: there is no such field"
    assert control("fault", "list") == []
    for method in ("PowerOn*", "Solutions.set", "AgencyQueryRuntime"):
        control("fault", "add", f"method={method}")
    control("fault", "clear")
    assert "no fault Nope" in desk.refused(1, "simulate", "control", "fault", "add", "method=Login", "fault=Nope")
    assert "did you mean eam.deploy?" in desk.refused(1, "simulate", "control", "fault", "add", "point=eam.deplyo")
    assert "colour" in desk.refused(2, "simulate", "control", "fault", "add", "colour=red")
    assert "FIELD=VALUE" in desk.refused(2, "simulate", "control", "fault", "add", "colour")


def test_the_service(desk, control):
    before = control("clock")["now"]
    assert control("clock", "--advance", "3600")["now"] > before
    assert "rate" in desk.refused(2, "simulate", "control", "clock", "--rate", "0")
    assert control("stats")["defects"] == []
    assert control("sessions-expire") == {"expired": 0}
    assert "dropped" in control("drop-connections")
    snapshot = desk.do("simulate", "control", "snapshot").json
    assert "HostSystem" in {each["type"] for each in snapshot.values()}
    assert control("vrouters") == []


def test_nobody_answers(desk):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    line = desk.refused(1, "simulate", "control", "hosts", "--url", f"http://127.0.0.1:{port}")
    assert "no simulator answers" in line


@pytest.mark.parametrize("option", ["--listen", "--control-port"])
def test_a_port_in_use(desk, option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        value = f"127.0.0.1:{port}" if option == "--listen" else str(port)
        line = desk.refused(2, "simulate", "vcenter", "--pace", "instant", option, value)
    where = value if option == "--listen" else f"control port {value}"
    assert f"cannot start: {where}: address already in use (" in line.replace("Address", "address")


def started(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "contrail_vsphere.cli.main", "simulate", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.process
def test_vrouter_agents_alone(desk):
    with started("vrouter", "--agents", "2", "--controller", "127.0.0.1") as process:
        ready = json.loads(process.stdout.readline())
        assert set(ready) == {"agents", "control_url"}
        assert set(ready["agents"]) == {"esx-00", "esx-01"}
        page = ready["agents"]["esx-01"]["introspect_url"] + "/Snh_AgentXmppConnectionStatusReq"
        with urllib.request.urlopen(page, timeout=10) as answer:
            assert b"127.0.0.1" in answer.read()
        control = ("simulate", "control", "--json", "--url", ready["control_url"])
        do = lambda *verb: desk.do(*control[:2], *verb, *control[2:])  # noqa: E731
        assert do("vrouter", "esx-01", "xmpp-down").json["forwards"] is False
        assert do("vrouter", "esx-01", "xmpp-up").json["forwards"] is True
        assert do("vrouter", "esx-00", "kill").json["life"] == "stopped"
        with pytest.raises(OSError):
            urllib.request.urlopen(ready["agents"]["esx-00"]["introspect_url"], timeout=10)
        assert do("vrouter", "esx-00", "restart").json["life"] == "running"
        assert do("vrouter", "esx-09", "kill").code == 1
        assert "no such verb" in do("hosts").err
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        assert process.stderr.read() == ""


@pytest.mark.process
def test_a_vcenter_where_it_was_asked_to_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    where = ("--ca-dir", "ca", "--tunnel-port", str(port))
    with started("vcenter", "--hosts", "0", "--pace", "instant", *where) as process:
        ready = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0
    assert ready["tunnel"] == f"127.0.0.1:{port}"
    assert ready["ca_file"] == str(tmp_path / "ca" / "ca.crt")


@pytest.mark.process
def test_a_vcenter_that_others_can_reach_has_no_known_password():
    with started("vcenter", "--listen", "0.0.0.0:0", "--hosts", "0", "--pace", "instant") as process:
        ready = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0
        warning = process.stderr.read()
    assert len(ready["password"]) > 16
    assert ready["password"] not in warning
    assert warning.startswith("WARNING: 0.0.0.0:0 can be reached by other machines")
    assert ready["control_url"].startswith("http://127.0.0.1:")
