"""The guide's samples, both dialects, provisioned: only names and addresses of the site are the lab's."""

import json
from pathlib import Path

import pytest

from contrail_vsphere.demo.service_images import archive
from contrail_vsphere.servermanager.catalogue import catalogue

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("server-lab")]

SAMPLES = Path(__file__).parents[2] / "docs" / "samples" / "server-manager"
ROLES = ["controller", "analytics", "analyticsdb"]


def sample(name, **names):
    """A sample's one object, with the lab's names in place of the sample's."""
    text = (SAMPLES / name).read_text()
    for old, new in names.items():
        assert old in text
        text = text.replace(old, new)
    ((document,),) = json.loads(text).values()
    return document


def add_image(lab):
    """Its three kinds of parts: an archive, a foreign reference, and one that is expected in the registry."""
    registry = f"{lab.lab['gateway']}:5100"
    lab.add_image("elsewhere", ["analytics", "analyticsdb"])
    account = f"server-manager:{(lab.directory / 'manager' / 'registry' / 'password').read_text().strip()}"
    there = f"{registry}/elsewhere-analyticsdb:4.1.1.0-1"
    lab.on("server1", "podman", "pull", "-q", "--creds", account, there)
    lab.on("server1", "podman", "push", "-q", "--creds", account, there, f"{registry}/samples-analyticsdb:4.0.0.0-3016")
    path = lab.directory / "controller.tar"
    path.write_bytes(archive(catalogue().role("controller"), version="samples"))
    names = {
        '"contrail-container"': '"samples"',
        "/srv/images/contrail-controller-u16.04-4.0.0.0-3016.tar.gz": str(path),
        "10.1.1.9:5000/contrail-analytics:4.0.0.0-3016": f"{registry}/elsewhere-analytics:4.1.1.0-1",
    }
    lab.ask("POST", "/v1/images", sample("image.json", **names))
    found = lab.image("samples")
    assert found["state"] == "ready", found


def test_the_samples_lead_to_running_services(lab):
    add_image(lab)
    lab.ask("PUT", "/v1/secrets/rabbit", {"value": "canary-of-the-samples"})
    first = sample("cluster.json", **{'"c1"': '"samples"', '"contrail-container"': '"samples"'})
    second = {**sample("cluster-contrail-4.json", c4="samples-4"), "package_image_id": "samples"}
    key = Path(lab.lab["private_key_file"]).read_text()
    runs = []
    for number, cluster in ((1, first), (2, second)):
        lab.ask("PUT", f"/v1/clusters/{cluster['id']}", cluster)
        lab.ask("DELETE", f"/v1/servers/server{number}?force=true")
        names = {'"s1"': f'"s{number}"', '"c1"': f'"{cluster["id"]}"', "10.1.1.11": f"10.77.0.1{number}",
                 "00:50:56:00:00:01": f"00:50:56:00:00:0{number}"}  # fmt: skip
        server = sample("server.json", **names)
        lab.ask("PUT", f"/v1/servers/s{number}", {**server, "ssh_private_key": key})
        lab.ask("POST", f"/v1/servers/s{number}/check")
        runs.append(lab.provision(cluster=cluster["id"]))
    for run_id in runs:
        run = lab.run(run_id)
        assert run["state"] == "succeeded", (run["reason"], run["hosts"])
    for name in ("server1", "server2"):
        assert {each: state for each, (_, state) in lab.containers(name).items()} == dict.fromkeys(ROLES, "running")
    text = lab.on("server1", "cat", "/etc/contrail/controller.conf")
    assert "bgp_asn = 64513\n" in text
    assert "password = canary-of-the-samples\n" in text
    assert "dvs = dvs1\n" in lab.on("server2", "cat", "/etc/contrail/controller.conf")
