"""A bare server gets its container engine with its first provision: Debian's own packages, installed by apt.

The lab has no way to a mirror: what apt is to install is fetched before and lies on the server, as on a site's own
mirror. The lab's servers have no systemd either, so that the engine's units are only looked at; the lab's keeper starts
the service as soon as there is a podman.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from lab_rig import Rig, what_is_missing

pytestmark = [pytest.mark.process, pytest.mark.soak, pytest.mark.xdist_group("server-lab")]

ENGINE = ("podman", "runc", "conmon")
SOURCES = """\
set -e
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d /var/lib/apt/lists
mkdir -p /etc/apt/sources.list.d /var/lib/apt/lists /var/log/apt
touch -d '1 day ago' /var/lib/apt/lists
rm -f /var/lib/apt/periodic/update-success-stamp
echo 'deb [trusted=yes] file:/srv/mirror ./' > /etc/apt/sources.list
echo 'APT::Sandbox::User "root";' > /etc/apt/apt.conf.d/99lab
"""
BARE = """\
set -e
DEBIAN_FRONTEND=noninteractive apt-get purge -y -q podman runc conmon
test ! -e /usr/bin/podman
pkill -x podman
rm -f /run/podman/podman.sock
"""


@pytest.fixture
def packages(tmp_path):
    """The engine's packages, from this machine's own package sources."""
    if shutil.which("apt-get") is None:
        pytest.skip("no apt-get: the role sets up Debian's packages")
    done = subprocess.run(
        ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *ENGINE], cwd=tmp_path, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    if done.returncode:
        missing = f"the engine's packages cannot be fetched: {done.stderr.strip()[-200:]}"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return sorted(tmp_path.glob("*.deb"))


@pytest.fixture
def bare(packages):
    """A lab of one server without an engine, that knows no other packages than those."""
    missing = what_is_missing()
    if missing:
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    rig = Rig()
    try:
        rig.start(["bare"])
        mirror(Path(f"/proc/{rig.lab['hosts']['bare']['pid']}/root/srv/mirror"), packages)
        rig.on("bare", "sh", "-c", SOURCES + BARE, seconds=120)
        rig.add_image("contrail-container", ["lb"])
        rig.add_cluster("c1", "contrail-container", {})
        rig.add_server("bare", "c1", ["lb"])
        yield rig
    finally:
        rig.stop()


def mirror(place, packages):
    """A flat repository of them."""
    place.mkdir(parents=True)
    index = ""
    for package in packages:
        shutil.copy(package, place)
        fields = subprocess.run(["dpkg-deb", "-f", package], capture_output=True, text=True, check=True, timeout=20)
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        index += f"{fields.stdout}Filename: ./{package.name}\nSize: {package.stat().st_size}\nSHA256: {digest}\n\n"
    (place / "Packages").write_text(index)


def test_a_bare_server_gets_its_engine_and_its_services_in_one_provision(bare):
    run = bare.run(bare.provision(servers=["bare"]))
    assert run["state"] == "failed"
    assert "install podman and start podman.socket" in run["hosts"]["bare"]["message"]
    bare.cli("provision", "--server-id", "bare", "--engine", "podman", "--yes", "--wait")
    assert bare.on("bare", "dpkg-query", "-W", "-f", "${Status}", "podman") == "install ok installed"
    assert {name: state for name, (_, state) in bare.containers("bare").items()} == {"lb": "running"}
    shown = bare.on("bare", "cat", "/etc/systemd/system/podman-restart.service.d/contrail.conf")
    assert "--filter restart-policy=unless-stopped" in shown
    bare.on("bare", "systemd-analyze", "verify", "podman-restart.service", "podman.socket")
    again = bare.provisioned(servers=["bare"], engine="podman")
    assert again["hosts"]["bare"]["changed"] == 0
