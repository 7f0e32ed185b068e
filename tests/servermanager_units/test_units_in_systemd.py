"""The units of ``deploy/server-manager`` under a systemd of their own, set up by the guide's own commands.

Systemd runs in namespaces over a copy of this machine that is thrown away, without a network but for loopback. Its
Python is Debian's: the units close home directories, where a developer's often is.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from contrail_vsphere.demo.service_images import BUSYBOX, archive
from contrail_vsphere.servermanager.catalogue import catalogue

ROOT = Path(__file__).parents[2]
UNITS = ("contrail-server-manager", "contrail-server-manager-ansible")
GUIDE = (ROOT / "docs" / "server-manager.md").read_text()
# The last one enables and starts: that is what the tests do.
BY_HAND = [line for line in re.findall(r"^# (.+)$", GUIDE, re.MULTILINE) if "contrail-server-manager" in line][:-1]
# What pip writes for an installed command.
PROGRAM = """\
#!/opt/contrail-vsphere/bin/python
import sys
from {module} import {function}
sys.exit({function}())
"""
PROGRAMS = {
    "server-manager": ("contrail_vsphere.cli.server_manager.main", "run"),
    "ansible-playbook": ("ansible.cli.playbook", "main"),
}
MANAGER = ("/opt/contrail-vsphere/bin/server-manager", "--config", "/etc/contrail-server-manager/contrail-vsphere.toml")
SETTINGS = """\
[server_manager]
data_dir = "/var/lib/contrail-server-manager"
ansible_data_dir = "/var/lib/contrail-server-manager-ansible"
listen = "127.0.0.1:9001"
registry_listen = "127.0.0.1:5100"
"""
# Arguments: where to mount, site-packages, sources, what is to be laid over.
BOOT = """\
set -e
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
: > "$1/root/etc/machine-id"
cp -a "$4/." "$1/root/"
mkdir "$1/root/opt/contrail-vsphere/packages" "$1/root/opt/contrail-vsphere/src"
mount --bind "$2" "$1/root/opt/contrail-vsphere/packages"
mount --bind "$3" "$1/root/opt/contrail-vsphere/src"
exec systemd-nspawn --quiet --register=no --keep-unit --private-network --console=pipe -D "$1/root" \
  --boot systemd.unit=basic.target
"""


def what_is_missing():
    if os.geteuid() != 0:
        return "systemd in a namespace needs root"
    for program in ("systemd-nspawn", "docker-registry"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if not BUSYBOX.exists():
        return f"{BUSYBOX} is missing (busybox-static)"
    done = subprocess.run(["/usr/bin/python3", "-V"], capture_output=True, text=True, timeout=20, check=False)
    if f"Python {sys.version_info[0]}.{sys.version_info[1]}." not in done.stdout:
        return "the system's Python is not of the version of this one"
    return ""


class Machine:
    """A booted systemd."""

    def __init__(self, keeper, log):
        self._keeper = keeper
        self._log = log
        self._leader = ""

    def booted(self):
        deadline = time.monotonic() + 120
        while True:
            assert self._keeper.poll() is None and time.monotonic() < deadline, self._log.read_text()[-2000:]
            children = Path(f"/proc/{self._keeper.pid}/task/{self._keeper.pid}/children").read_text().split()
            if children:
                self._leader = children[0]
                done = self.tried("systemctl", "is-system-running")
                if done.stdout.strip() in ("running", "degraded"):
                    return
            time.sleep(0.3)

    def tried(self, *command, text=None):
        return subprocess.run(["nsenter", "-t", self._leader, "-a", *command], capture_output=True, text=True,
                              timeout=120, input=text, check=False)  # fmt: skip

    def on(self, *command, **more):
        done = self.tried(*command, **more)
        assert done.returncode == 0, (command, done.stdout, done.stderr, self.journal())
        return done.stdout

    def manager(self, *arguments):
        return self.on(*MANAGER, *arguments)

    def journal(self):
        return self.tried("journalctl", "--no-pager", "-n", "40").stdout

    def shown(self, unit, field):
        return self.on("systemctl", "show", "-P", field, unit).strip()

    def answers(self):
        """Both do, within their deadline."""
        deadline = time.monotonic() + 120
        while (done := self.tried(*MANAGER, "display", "server", "--json")).returncode:
            assert time.monotonic() < deadline, (done.stderr, self.journal())
            time.sleep(0.5)
        return json.loads(done.stdout)["items"]


def installed(place):
    """The product in a virtual environment of the system's Python; its packages and sources are mounted beside."""
    command = ["/usr/bin/python3", "-m", "venv", "--without-pip", str(place)]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    (packages,) = place.glob("lib/python3*/site-packages")
    (packages / "all.pth").write_text("/opt/contrail-vsphere/src\n/opt/contrail-vsphere/packages\n")
    for name, (module, function) in PROGRAMS.items():
        program = place / "bin" / name
        program.write_text(PROGRAM.format(module=module, function=function))
        program.chmod(0o755)


@pytest.fixture
def machine(tmp_path):
    place, over = tmp_path / "place", tmp_path / "over"
    place.mkdir()
    units = over / "etc" / "systemd" / "system"
    units.mkdir(parents=True)
    for unit in UNITS:
        shutil.copy(ROOT / "deploy" / "server-manager" / f"{unit}.service", units)
    installed(over / "opt" / "contrail-vsphere")
    settings = over / "etc" / "contrail-server-manager" / "contrail-vsphere.toml"
    settings.parent.mkdir()
    settings.write_text(SETTINGS)
    (over / "srv").mkdir()
    (over / "srv" / "lb.tar").write_bytes(archive(catalogue().role("lb"), version="1"))
    boot = tmp_path / "boot"
    boot.write_text(BOOT)
    log = tmp_path / "log"
    packages = sysconfig.get_paths()["purelib"]
    with log.open("wb") as file:
        keeper = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", str(boot), str(place), packages,
             str(ROOT / "src"), str(over)], stdin=subprocess.DEVNULL, stdout=file, stderr=file)  # fmt: skip
    made = Machine(keeper, log)
    try:
        made.booted()
        yield made
    finally:
        keeper.terminate()
        try:
            keeper.wait(30)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait(20)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_units_are_closed():
    units = [ROOT / "deploy" / "server-manager" / f"{unit}.service" for unit in UNITS]
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=40", "--no-pager", *units]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr


@pytest.mark.process
@pytest.mark.soak
@pytest.mark.skipif(bool(what_is_missing()), reason=what_is_missing())
def test_the_units_start_come_back_and_can_provision(machine):
    for line in BY_HAND:
        machine.on("bash", "-c", line)
    machine.on("systemctl", "enable", "--now", UNITS[0])
    assert machine.answers() == []
    for unit in UNITS:
        assert machine.shown(unit, "ActiveState") == "active"
        state = f"/var/lib/{unit}"
        assert machine.on("stat", "-c", "%U %a", state).split() == [unit, "700"]
    assert machine.tried("setpriv", f"--reuid={UNITS[1]}", "--clear-groups", "ls", f"/var/lib/{UNITS[0]}").returncode
    image = {"id": "img", "category": "container", "type": "contrail-container", "version": "1",
             "parameters": {"containers": [{"role": "lb", "container_path": "/srv/lb.tar"}]}}  # fmt: skip
    server = {"id": "s1", "cluster_id": "c1", "ip_address": "127.0.0.1", "ssh_port": 1, "roles": ["lb"],
              "password": "canary-of-the-units"}  # fmt: skip
    document = {"image": [image], "cluster": [{"id": "c1", "package_image_id": "img"}], "server": [server]}
    machine.on("sh", "-c", "cat > /srv/site.json; chmod 644 /srv/*", text=json.dumps(document))
    machine.manager("add", "config", "-f", "/srv/site.json", "--wait")
    before = {unit: machine.shown(unit, "MainPID") for unit in UNITS}
    for unit in UNITS:
        machine.on("systemctl", "kill", "--signal=KILL", "--kill-whom=main", unit)
    deadline = time.monotonic() + 120
    while any(machine.shown(unit, "MainPID") in ("0", before[unit]) for unit in UNITS):
        assert time.monotonic() < deadline, machine.journal()
        time.sleep(0.5)
    assert [each["id"] for each in machine.answers()] == ["s1"]
    # As far as a machine without sshd goes: registry, plan, worker, Ansible and ssh all run below the units.
    run = machine.tried(*MANAGER, "provision", "--cluster-id", "c1", "--yes", "--wait")
    assert run.returncode == 1
    (server,) = machine.answers()
    assert (server["state"], "SSH" in server["reason"] or "refused" in server["reason"]) == ("unreachable", True), (
        server
    )
    assert [machine.shown(unit, "ActiveState") for unit in UNITS] == ["active", "active"]
    assert "canary-of-the-units" not in machine.journal()
