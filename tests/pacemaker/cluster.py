"""Pacemaker nodes on one machine: each with its own network, mounts, host name and processes; no way out of any.

A namespace "switch" holds the bridge that the nodes' cables end at, and the clients' side of the tests: Neutron, its
database and the simulated vCenters run there. Nothing is installed into the machine and nothing listens outside.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PROGRAMS = ("corosync", "pacemakerd", "crm_mon", "crm", "pcs", "ip", "unshare", "nsenter")
NETWORK = "10.250.78"
SWITCH = f"{NETWORK}.254"
TOKEN_MS = 3000
ELECTION_SECONDS = 3


class Cluster:
    """``with`` it. Nodes are named by letters."""

    def __init__(self, home: Path, nodes: str) -> None:
        self.home, self.nodes = home, nodes
        self.prefix = f"cv{secrets.token_hex(2)}"
        self._init: dict[str, int] = {}
        self._shells: list[subprocess.Popen[bytes]] = []
        self._stop = threading.Event()
        self.fenced: list[str] = []
        self._requests = home / "fence"
        self._power = threading.Thread(target=self._power_switch, daemon=True)

    def name(self, node: str) -> str:
        return f"{self.prefix}-{node}"

    def namespace(self, node: str) -> str:
        return self.name(node)

    @property
    def switch(self) -> str:
        """Namespace of the bridge and of everything outside the cluster."""
        return f"{self.prefix}-sw"

    def __enter__(self) -> Cluster:
        self._requests.mkdir(parents=True)
        self._cables()
        self._agents()
        conf = self._corosync_conf()
        key = os.urandom(256)
        for node in self.nodes:
            self._prepare(node, conf, key)
            self.boot(node)
        self._power.start()
        return self

    def gather(self) -> None:
        """Wait until all nodes see each other; they take a while, in which others can start, too."""
        self.until(lambda: self.online(self.nodes[0]) == set(self.nodes), "all nodes are online", 90)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._power.is_alive():
            self._power.join(20)  # before nodes are switched off: it might just be switching one on
        for node in self.nodes:
            self.kill(node)
        for shell in self._shells:
            shell.wait(20)
        for space in (*(self.namespace(node) for node in self.nodes), self.switch):
            _run("ip", "netns", "del", space, check=False)

    # -- what happens to nodes ----------------------------------------------------------------------------------

    def boot(self, node: str) -> None:
        """Power on."""
        state = self.home / node
        with (state / "console.log").open("ab") as console:
            shell = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.namespace(node)}", "unshare", "--mount", "--uts", "--ipc", "--pid",
                 "--fork", "--kill-child", "--mount-proc", "sh", str(HERE / "node_init.sh"), self.name(node),
                 str(state), str(self.home / "agents")],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
            )  # fmt: skip
        self._shells.append(shell)
        children = Path(f"/proc/{shell.pid}/task/{shell.pid}/children")
        self.until(lambda: children.read_text().split(), f"{node} has a PID 1", 10)
        self._init[node] = int(children.read_text().split()[0])

    def kill(self, node: str) -> None:
        """Power off: all processes of the node are gone."""
        pid = self._init.pop(node, None)
        if pid is not None:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return

    def cut(self, node: str) -> None:
        """Pull the cable."""
        _run("ip", "-n", self.switch, "link", "set", f"v{node}", "down")

    def heal(self, node: str) -> None:
        """Plug it in again."""
        _run("ip", "-n", self.switch, "link", "set", f"v{node}", "up")

    def on(self, node: str, *command: str, check: bool = True, timeout: float = 60) -> str:
        """Run a command on a node."""
        pid = self._init[node]
        return _run(
            "nsenter", "-t", str(pid), "-m", "-u", "-i", "-p", "-n", "--", *command, check=check, timeout=timeout
        )

    # -- what the cluster says ----------------------------------------------------------------------------------

    def online(self, node: str) -> set[str]:
        """Nodes that this one sees online, when there is a coordinator."""
        said = self.on(node, "crm_mon", "-1", check=False)
        found = re.search(r"Online: \[ (.*?) \]", said)
        if found is None or "Current DC: NONE" in said:
            return set()
        return {name.removeprefix(f"{self.prefix}-") for name in found.group(1).split()}

    def where(self, node: str, resource: str) -> str:
        """The node that runs a resource, as this node sees it; empty: none."""
        said = self.on(node, "crm_resource", "-r", resource, "--locate", "-Q", check=False).strip().splitlines()
        return said[-1].removeprefix(f"{self.prefix}-") if said and said[-1].startswith(self.prefix) else ""

    def worker_pid(self, node: str, vcenter: str) -> int:
        """As its ResourceAgent has it; 0 when there is none."""
        said = self.on(node, "cat", f"/run/vmware-dvs/{vcenter}.pid", check=False).strip()
        return int(said) if said.isdigit() else 0

    @staticmethod
    def until(holds: Callable[[], object], what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"not in {seconds:g} s: {what}")
            time.sleep(0.3)

    # -- parts --------------------------------------------------------------------------------------------------

    def _cables(self) -> None:
        _run("ip", "netns", "add", self.switch)
        for command in (
            "link set lo up",
            "link add br0 type bridge",
            f"addr add {SWITCH}/24 dev br0",
            "link set br0 up",
        ):
            _run("ip", "-n", self.switch, *command.split())
        for number, node in enumerate(self.nodes, start=1):
            space = self.namespace(node)
            _run("ip", "netns", "add", space)
            _run("ip", "-n", space, "link", "set", "lo", "up")
            _run(
                "ip",
                "-n",
                self.switch,
                "link",
                "add",
                f"v{node}",
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                space,
            )
            _run("ip", "-n", self.switch, "link", "set", f"v{node}", "master", "br0", "up")
            _run("ip", "-n", space, "addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
            _run("ip", "-n", space, "link", "set", "eth0", "up")

    def _agents(self) -> None:
        ocf, sbin = self.home / "agents/ocf/contrail-vsphere", self.home / "agents/sbin"
        ocf.mkdir(parents=True)
        sbin.mkdir()
        shutil.copy2(ROOT / "deploy/pacemaker/neutron-worker", ocf)
        fence = sbin / "fence_cable"
        fence.write_text((HERE / "fence_cable").read_text().replace("@REQUESTS@", str(self._requests)))
        fence.chmod(0o755)

    def _prepare(self, node: str, conf: str, key: bytes) -> None:
        state = self.home / node
        for name in ("run", "shm", "lib-corosync", "lib-pacemaker", "etc-corosync", "log-corosync", "log-pacemaker"):
            (state / name).mkdir(parents=True)
        (state / "etc-corosync/corosync.conf").write_text(conf)
        (state / "etc-corosync/authkey").write_bytes(key)
        (state / "etc-corosync/authkey").chmod(0o400)
        (state / "shm").chmod(0o1777)
        for name in ("cib", "cores", "blackbox", "pengine"):
            (state / "lib-pacemaker" / name).mkdir()
        cib = state / "lib-pacemaker/cib/cib.xml"
        cib.write_text(self._cib())
        cib.chmod(0o600)
        for name in ("lib-pacemaker", "log-pacemaker"):
            _run("chown", "-R", "hacluster:haclient", str(state / name))
            (state / name).chmod(0o750)
        for parent in (state, *state.parents):
            if parent == Path("/"):
                break
            parent.chmod(parent.stat().st_mode | 0o011)  # hacluster walks through

    def _cib(self) -> str:
        """An empty configuration whose first election does not wait twenty seconds for nodes that might be there."""
        option = f'<nvpair id="cib-bootstrap-options-dc-deadtime" name="dc-deadtime" value="{ELECTION_SECONDS}s"/>'
        options = f'<cluster_property_set id="cib-bootstrap-options">{option}</cluster_property_set>'
        empty = _run("cibadmin", "--empty")
        assert "<crm_config/>" in empty
        return empty.replace("<crm_config/>", f"<crm_config>{options}</crm_config>")

    def _corosync_conf(self) -> str:
        nodes = "".join(
            f"    node {{\n        name: {self.name(node)}\n        nodeid: {number}\n"
            f"        ring0_addr: {NETWORK}.{number}\n    }}\n"
            for number, node in enumerate(self.nodes, start=1)
        )
        two = "    two_node: 1\n" if len(self.nodes) == 2 else ""
        return (
            "totem {\n    version: 2\n    cluster_name: dvs-test\n    transport: knet\n    crypto_cipher: aes256\n"
            f"    crypto_hash: sha256\n    token: {TOKEN_MS}\n}}\n"
            "system {\n    sched_rr: no\n    move_to_root_cgroup: no\n}\n"
            "logging {\n    to_syslog: no\n    to_stderr: no\n    to_logfile: yes\n"
            "    logfile: /var/log/corosync/corosync.log\n    timestamp: on\n}\n"
            f"quorum {{\n    provider: corosync_votequorum\n{two}}}\nnodelist {{\n{nodes}}}\n"
        )

    def _power_switch(self) -> None:
        """Fence requests become power cycles."""
        while not self._stop.wait(0.2):
            for request in sorted(self._requests.iterdir()):
                done = request.with_suffix(request.suffix + ".done")
                if request.suffix == ".done" or done.exists():
                    continue
                node = request.name.split(".")[0].removeprefix(f"{self.prefix}-")
                self.kill(node)
                self.fenced.append(node)
                done.touch()
                time.sleep(1)
                if not self._stop.is_set():
                    self.boot(node)


def _run(*command: str, check: bool = True, timeout: float = 60) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
    return done.stdout
