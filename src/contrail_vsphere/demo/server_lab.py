"""Servers to provision, made of one Linux machine: ``python -m contrail_vsphere.demo.server_lab``, as root.

Every host has namespaces of its own (network, mounts, processes, name), the machine's own root under an overlay in
memory, an sshd and a Podman socket. They meet on a bridge in an outer network namespace that has no route out: nothing
that is provisioned here can reach the world. Prints one JSON line when all hosts answer, and ends on SIGTERM;
nothing is left.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

NETWORK: Final = "10.77.0"
GATEWAY: Final = f"{NETWORK}.1"
"""The outer namespace's own address: registry, Ansible server and Server Manager live there."""
READY_TIMEOUT: Final = 30.0
NEEDED: Final = {
    "ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux", "/usr/sbin/sshd": "openssh-server",
    "ssh-keygen": "openssh-client", "podman": "podman", "runc": "runc", "conmon": "conmon",
}  # fmt: skip
_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWNET: Final = 0x40000000
_PR_SET_PDEATHSIG: Final = 1

# Podman's defaults ask for more than a machine without CAP_SYS_RESOURCE may have, and crun refuses hybrid cgroups.
CONTAINERS_CONF: Final = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
SSHD_CONFIG: Final = """\
Port 22
HostKey /root/host_key
AuthorizedKeysFile /root/.ssh/authorized_keys
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
"""
# $1 an empty directory, $2 the host's name, $3 its address, $4 the directory with keys and settings.
HOST: Final = """\
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 lab "$1"
mkdir "$1/up" "$1/work" "$1/root" "$1/containers"
mount -t overlay lab -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$1/root"
R="$1/root"
mount -t proc proc "$R/proc"
mount --rbind /sys "$R/sys"
mount --rbind /dev "$R/dev"
mkdir -p "$R/var/lib/containers"
mount --bind "$1/containers" "$R/var/lib/containers"
for each in run tmp var/log var/lib/contrail; do mkdir -p "$R/$each"; mount -t tmpfs -o mode=755 lab "$R/$each"; done
mount -t tmpfs -o mode=700 lab "$R/root"
mkdir -p "$R/run/sshd" "$R/run/podman" "$R/run/lock" "$R/root/.ssh"
cp "$4/authorized_keys" "$R/root/.ssh/authorized_keys"
cp "$4/$2.key" "$R/root/host_key"
chmod 600 "$R/root/host_key" "$R/root/.ssh/authorized_keys"
cp "$4/sshd_config" "$R/root/sshd_config"
cp "$4/containers.conf" "$R/root/containers.conf"
rm -rf "$R/etc/contrail" "$R/etc/containers/certs.d"
hostname "$2"
echo "$2" > "$R/etc/hostname"
printf '127.0.0.1 localhost\\n%s %s\\n' "$3" "$2" > "$R/etc/hosts"
: > "$R/etc/resolv.conf" || true
cd "$R"
mkdir -p .outside
pivot_root . .outside
umount -l /.outside
# The directory that TMPDIR names for whoever started the lab is outside.
unset TMPDIR
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root CONTAINERS_CONF=/root/containers.conf
ip link set lo up
while ! ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done
ip addr add "$3/24" dev eth0
ip link set eth0 up
# From here on both are kept up, as a server's own init does, however they end.
(while :; do podman system service --time=0 unix:///run/podman/podman.sock || :; sleep 0.5; done) &
while :; do /usr/sbin/sshd -D -e -f /root/sshd_config || :; sleep 0.5; done
"""


def obstacles() -> list[str]:
    """What keeps a lab from being set up here, each with what to do."""
    if not sys.platform.startswith("linux"):
        return ["the hosts are Linux namespaces: a Linux machine is needed"]
    found = [] if os.geteuid() == 0 else ["namespaces and Podman need root: run it as root"]
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    packages = sorted({package for name, package in NEEDED.items() if shutil.which(name, path=path) is None})
    if packages:
        found.append(f"not installed: {' '.join(packages)}; as root: apt-get install {' '.join(packages)}")
    return found


class Lab:
    """The outer namespace and its hosts; this process is in it after ``start``."""

    def __init__(self, directory: Path, names: list[str]) -> None:
        self._directory = directory
        self.addresses = {name: f"{NETWORK}.{10 + number}" for number, name in enumerate(names, 1)}
        self._hosts: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> dict[str, Any]:
        """Everything up; returns what the ready line says."""
        _unshare(_CLONE_NEWNET | _CLONE_NEWNS)
        _run("mount", "--make-rprivate", "/")
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", "lab0", "type", "bridge")
        _run("ip", "addr", "add", f"{GATEWAY}/24", "dev", "lab0")
        _run("ip", "link", "set", "lab0", "up")
        keys = self._keys()
        for name in self.addresses:
            self._start(name)
        for name, address in self.addresses.items():
            self._wait(name, address)
        hosts = {name: {"address": address, "pid": self._init(name)} for name, address in self.addresses.items()}
        return {"pid": os.getpid(), "gateway": GATEWAY, "hosts": hosts, "private_key_file": str(keys)}

    def stop(self) -> None:
        """End all hosts and what runs in them."""
        for name, host in self._hosts.items():
            with suppress(OSError, ValueError, IndexError, subprocess.SubprocessError):
                _run("nsenter", "-t", str(self._init(name)), "-a", "sh", "-c",
                     "CONTAINERS_CONF=/root/containers.conf podman rm -fa -t 0", timeout=30)  # fmt: skip
            # unshare ignores polite signals; --kill-child takes everything inside with it.
            host.kill()
            host.wait(10)

    def _keys(self) -> Path:
        user = self._directory / "id_ed25519"
        for path in (user, *(self._directory / f"{name}.key" for name in self.addresses)):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(path))
        shutil.copy(user.with_suffix(".pub"), self._directory / "authorized_keys")
        (self._directory / "sshd_config").write_text(SSHD_CONFIG)
        (self._directory / "containers.conf").write_text(CONTAINERS_CONF)
        return user

    def _start(self, name: str) -> None:
        place = self._directory / f"host-{name}"
        place.mkdir()
        with (self._directory / f"{name}.log").open("ab") as log:
            host = subprocess.Popen(
                ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "sh", "-c", HOST, "host",
                 str(place), name, self.addresses[name], str(self._directory)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - there is one thread
            )  # fmt: skip
        self._hosts[name] = host
        ours = Path("/proc/self/ns/net").readlink()
        deadline = time.monotonic() + READY_TIMEOUT
        while Path(f"/proc/{host.pid}/ns/net").readlink() == ours:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} gets no network namespace")
            time.sleep(0.01)
        link = f"lab-{len(self._hosts)}"
        _run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(host.pid))
        _run("ip", "link", "set", link, "master", "lab0")
        _run("ip", "link", "set", link, "up")

    def _wait(self, name: str, address: str) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while True:
            with suppress(OSError), socket.create_connection((address, 22), 1):
                if Path(f"/proc/{self._init(name)}/root/run/podman/podman.sock").exists():
                    return
            if time.monotonic() > deadline or self._hosts[name].poll() is not None:
                said = (self._directory / f"{name}.log").read_text(errors="replace")[-500:]
                raise TimeoutError(f"host {name} does not come up: {said}")
            time.sleep(0.05)

    def _init(self, name: str) -> int:
        pid = self._hosts[name].pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _run(*command: str, timeout: float = 20) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise OSError(f"{' '.join(command[:4])}: {done.stderr.strip()}")


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(*_: object) -> None:
    raise SystemExit(0)


def main(arguments: list[str] | None = None) -> None:
    """Set up, print the ready line, wait for SIGTERM, take everything down."""
    parser = argparse.ArgumentParser(prog="server_lab", description=__doc__)
    parser.add_argument("names", nargs="+", help="names of the hosts")
    given = parser.parse_args(arguments)
    wrong = obstacles()
    if wrong:
        sys.exit("error: " + "; ".join(wrong))
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    directory = Path(tempfile.mkdtemp(prefix="server-lab-"))
    lab = Lab(directory, given.names)
    try:
        try:
            ready = lab.start()
        except (OSError, TimeoutError) as error:
            sys.exit(f"error: the lab does not come up: {error}")
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        while True:
            signal.pause()
    finally:
        lab.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
