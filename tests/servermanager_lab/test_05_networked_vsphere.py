"""From a bare server to a networked vSphere: what Server Manager writes there is all that the vSphere services need."""

import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("server-lab")]

SCRIPT = Path(__file__).with_name("networked_vsphere.py")


def test_the_files_of_a_provisioned_server_make_a_networked_vsphere(lab):
    lab.lend("server3", sys.base_prefix, Path(__file__).parents[2])
    vcenter = lab.simulate("server3", "vcenter", "--pace", "instant", "--hosts", "2", "--vms", "2")
    contrail = lab.simulate("server3", "contrail")
    url = urlsplit(vcenter["url"])
    tunnel_host, _, tunnel_port = vcenter["tunnel"].rpartition(":")
    door = {"host": url.hostname, "port": url.port, "username": vcenter["username"],
            "password": vcenter["password"], "thumbprint": vcenter["thumbprint"]}  # fmt: skip
    lab.add_image("vsphere", ["contrailvm-manager", "vcenter-plugin"])
    lab.add_cluster("vsphere", "vsphere", {
        "contrailvm-manager": {"vcenter.main": {**door, "tunnel_host": tunnel_host, "tunnel_port": tunnel_port}},
        "vcenter-plugin": {"vcenter.main": door, "contrail": {"servers": contrail["url"], "poll": 1}},
    })  # fmt: skip
    roles = ["contrailvm-manager", "vcenter-plugin"]
    lab.ask("PUT", "/v1/servers/server3", {"id": "server3", "cluster_id": "vsphere", "roles": roles})
    lab.provisioned(cluster="vsphere")
    assert sorted(lab.containers("server3")) == ["contrailvm-manager", "vcplugin"], "what it bore before is gone"
    for name in ("contrailvm-manager.conf", "vcenter-plugin.toml"):
        assert vcenter["password"] not in lab.on("server3", "cat", f"/etc/contrail/{name}")
    # The containers hold stand-ins; the real services take their places, with the commands that the roles have.
    lab.on("server3", "podman", "rm", "-fa", "-t", "0")
    worlds = json.dumps({"vcenter": vcenter["control_url"], "contrail": contrail["control_url"]})
    seen = json.loads(lab.on("server3", sys.executable, str(SCRIPT), worlds, seconds=700))
    assert seen == {"groups": ["web"], "ports": 2, "conflicts": 0, "hosts": 2, "agents": 2, "plugged": 2}, seen
