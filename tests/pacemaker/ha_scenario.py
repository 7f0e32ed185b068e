"""Workers under Pacemaker, told chapter by chapter: ``ha_scenario.py HOME NODES TOOL CHAPTER ...``.

A process of its own, because it enters the namespace that the nodes' cables end in; Neutron, its database and two
simulated vCenters run there. Prints one JSON object: what each chapter saw.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "real_parts")]
warnings.simplefilter("ignore")

import openstack  # noqa: E402
from cluster import SWITCH, Cluster  # noqa: E402
from real_mariadb import RealMariaDb  # noqa: E402
from real_neutron import RealNeutron  # noqa: E402

from contrail_vsphere import __version__  # noqa: E402
from contrail_vsphere.ml2.fuel import RUN_DIR, SETTINGS_DIR  # noqa: E402
from contrail_vsphere.ml2.pacemaker import PREFIX, Workers, crmsh, pcs  # noqa: E402
from contrail_vsphere.simulator.core.timing import Timing  # noqa: E402
from contrail_vsphere.simulator.simulator import VCenterSimulator  # noqa: E402
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualSwitch  # noqa: E402

VCENTERS = ("vC1", "vC2")
CLONE_NEWNET = 0x40000000
NEWER = "99.0"
MONITOR = 5
PATIENCE = 120.0


def enter(namespace: str) -> None:
    """Put this thread, and what it starts, into a network namespace."""
    with Path(f"/run/netns/{namespace}").open("rb") as handle:
        if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


class Scenario:
    def __init__(self, home: Path, cluster: Cluster, tool: str) -> None:
        self.home, self.cluster, self.tool = home, cluster, tool
        self.sites = {
            name: VCenterSimulator(hosts=1, vms=0, guests=False, timing=Timing.instant(), listen=f"{SWITCH}:0")
            for name in VCENTERS
        }
        self.networks: list[Any] = []
        self.seen: dict[str, Any] = {}
        self.database = RealMariaDb(home / "mariadb", host=SWITCH)
        maps = {f"vmware_dvs:{name}": {"host_map": f"compute-{name}:cluster-0", "switch_map": "physnet1:dvs0"}
                for name in VCENTERS}  # fmt: skip
        self.settings = {"vmware_dvs": {"vcenters": ",".join(VCENTERS), "cloud_id": "ha"}, **maps}

    async def run(self, chapters: list[str]) -> dict[str, Any]:
        (self.home / "mariadb").mkdir()
        neutron, gathering = None, asyncio.create_task(asyncio.to_thread(self.cluster.gather))
        try:
            for site in self.sites.values():
                await site.start()
            await asyncio.to_thread(self.database.start)
            neutron = RealNeutron(self.home / "neutron", self.database, settings=self.settings)
            await asyncio.to_thread(neutron.migrate, Path(os.environ["KEPT"]) if os.environ.get("KEPT") else None)
            await asyncio.to_thread(neutron.start)
            self.api = openstack.connection.Connection(
                auth_type="none", auth={"endpoint": neutron.url}, network_endpoint_override=neutron.url
            ).network
            await gathering
            await asyncio.to_thread(self._load, neutron.config)
            for chapter in ("start", *chapters):
                sys.stderr.write(f"chapter {chapter}\n")
                await getattr(self, f"chapter_{chapter}")()
            await self._exactly_once()
            return self.seen
        except BaseException:
            sys.stderr.write(await asyncio.to_thread(self._last_words))
            raise
        finally:
            if neutron is not None:
                neutron.stop()
            self.database.stop()
            for site in self.sites.values():
                await site.stop()

    def _load(self, config: Path) -> None:
        """Resources as ``neutron pacemaker`` prints them, through crmsh or pcs, with fencing."""
        for name, site in self.sites.items():
            ready = site.ready
            host, _, port = ready["url"].removeprefix("https://").removesuffix("/sdk").rpartition(":")
            (self.home / f"{name}.password").write_text(ready["password"] + "\n")
            (self.home / f"{name}.ini").write_text(
                f"[ml2_vmware]\nvcenter = {name}\nvsphere_hostname = {host}\nhost_port = {port}\n"
                f"vsphere_login = {ready['username']}\nvsphere_password_file = {self.home}/{name}.password\n"
                f"ca_file = {ready['ca_file']}\nlease_seconds = 6\n"
            )
        parameters = {
            "binary": str(self._installed()), "config": str(config),
            "settings": f"{self.home}/{{vcenter}}.ini", "user": "root", "log": f"{self.home}/worker-{{vcenter}}.log",
            "heartbeat_age": "20",
        }  # fmt: skip
        cluster = self.cluster
        names = [cluster.name(node) for node in cluster.nodes]
        workers = Workers(VCENTERS, names, parameters, monitor_seconds=MONITOR)
        first = cluster.nodes[0]
        delays = ";".join(f"{name}:{4 if number == 0 else 0}s" for number, name in enumerate(names))
        fencing = self.home / "fencing.crm"
        fencing.write_text(
            f'primitive fence_all stonith:fence_cable params pcmk_host_list="{" ".join(names)}" '
            f'pcmk_delay_base="{delays}" op monitor interval=60s\n'
            "property stonith-enabled=true no-quorum-policy=stop dc-deadtime=5s stonith-timeout=40s\n"
        )
        cluster.on(first, "crm", "configure", "load", "update", str(fencing))
        text = crmsh(workers) if self.tool == "crmsh" else pcs(workers)
        path = self.home / f"resources.{self.tool}"
        path.write_text(text)
        if self.tool == "crmsh":
            cluster.on(first, "crm", "configure", "load", "update", str(path), timeout=300)
        else:
            cluster.on(first, "sh", str(path), timeout=300)

    # -- chapters -----------------------------------------------------------------------------------------------

    async def chapter_start(self) -> None:
        await self._until(lambda: all(self._where(name) for name in VCENTERS), "both workers run")
        places = {name: self._where(name) for name in VCENTERS}
        self.seen["spread"] = len(set(places.values())) == 2
        await self._network("first")

    async def chapter_kill_worker(self) -> None:
        node, other = self._where("vC1"), self._identity("vC2")
        pid = self.cluster.worker_pid(node, "vC1")
        self.cluster.on(node, "kill", "-9", "--", f"-{pid}")
        await self._network("while-a-worker-is-dead")
        self.seen["kill_worker"] = {"new_pid": self.cluster.worker_pid(self._where("vC1"), "vC1") != pid,
                                    "other_undisturbed": self._identity("vC2") == other}  # fmt: skip

    async def chapter_kill_node(self) -> None:
        node, other = self._where("vC1"), self._identity("vC2")
        survivor = next(each for each in self.cluster.nodes if each != node)
        self.cluster.kill(node)
        await self._network("while-a-node-is-dead")
        moved = self._where("vC1", survivor)
        self.seen["kill_node"] = {"moved": moved not in ("", node), "fenced": node in self.cluster.fenced,
                                  "other_undisturbed": self._identity("vC2", survivor) == other}  # fmt: skip

    async def chapter_rejoin(self) -> None:
        """Fencing has switched the node on again."""
        cluster = self.cluster
        await self._until(lambda: cluster.online(next(iter(cluster._init))) == set(cluster.nodes), "the node is back")

    async def chapter_cut(self) -> None:
        """The last node's cable; with two nodes the first one, which waits longer, stays."""
        node, survivor = self.cluster.nodes[-1], self.cluster.nodes[0]
        before = len(self.cluster.fenced)
        self.cluster.cut(node)
        await self._until(lambda: self.cluster.fenced[before:] == [node], "the node that was cut off is fenced")
        await self._until(
            lambda: all(self._where(name, survivor) not in ("", node) for name in VCENTERS),
            "both workers run on nodes that are there",
        )
        await self._network("while-a-cable-is-cut")
        await asyncio.sleep(10)
        alone = [name for name in VCENTERS if self.cluster.worker_pid(node, name) and self._alive(node, name)]
        self.cluster.heal(node)
        await self._until(lambda: self.cluster.online(survivor) == set(self.cluster.nodes), "the node is back")
        self.seen["cut"] = {"fenced": self.cluster.fenced[before:], "started_alone": alone}

    async def chapter_quorum(self) -> None:
        """Two of three nodes die: the last one stops its workers until another is back."""
        last, *others = self.cluster.nodes
        requests = self.cluster._requests
        requests.rename(requests.with_suffix(".off"))  # the power switch is out of order, so that they stay dead
        requests.mkdir()
        for node in others:
            self.cluster.kill(node)
        await self._until(lambda: not any(self._alive(last, name) for name in VCENTERS), "workers stop without quorum")
        self.seen["quorum"] = {"stopped": True}
        for node in others:
            self.cluster.boot(node)
        await self._until(lambda: self.cluster.online(last) == set(self.cluster.nodes), "all nodes are back", 180)
        await self._until(lambda: all(self._where(name) for name in VCENTERS), "both workers run", 180)
        await self._network("after-quorum")

    async def chapter_upgrade(self) -> None:
        """A newer package on every controller; each restarts the workers it has, and once is enough."""
        before = {name: self._identity(name) for name in VCENTERS}
        (self.home / "version").write_text(NEWER)
        for _ in range(2):
            for node in self.cluster.nodes:
                await asyncio.to_thread(
                    self.cluster.on, node, str(self.home / "contrail-vsphere"), "neutron", "fuel", "restart", "--root",
                    str(self.home / "root"), timeout=180,
                )  # fmt: skip
            await self._until(lambda: {self._version(name) for name in VCENTERS} == {NEWER}, "both run the newer code")
            after = {name: self._identity(name) for name in VCENTERS}
            self.seen.setdefault("upgrade", []).append([name for name in VCENTERS if before[name] != after[name]])
            before = after
        await self._network("after-the-upgrade")

    async def chapter_vcenter_away(self) -> None:
        """A vCenter that answers nothing moves no resource."""
        before = {name: self._identity(name) for name in VCENTERS}
        fault = self.sites["vC1"].scenario.add_fault(drop=True)
        try:
            await self.sites["vC1"].scenario.drop_connections()
            await asyncio.sleep(4 * MONITOR + 10)
            after = {name: self._identity(name) for name in VCENTERS}
        finally:
            self.sites["vC1"].scenario.remove_fault(fault)
        self.seen["vcenter_away"] = {"undisturbed": before == after}
        await self._network("after-vcenter-was-away")

    # -- parts --------------------------------------------------------------------------------------------------

    def _installed(self) -> Path:
        """The command, as a package whose version the story can change; and a root with the files that Fuel leaves."""
        (self.home / "version").write_text(__version__)
        command = self.home / "contrail-vsphere"
        command.write_text(
            f"#!{sys.executable}\nfrom pathlib import Path\nimport contrail_vsphere\n"
            f"contrail_vsphere.__version__ = Path({str(self.home / 'version')!r}).read_text()\n"
            "from contrail_vsphere.cli.main import run\nrun()\n"
        )
        command.chmod(0o755)
        settings, running = (self.home / "root" / path.lstrip("/") for path in (SETTINGS_DIR, RUN_DIR))
        settings.mkdir(parents=True)
        for name in VCENTERS:
            (settings / f"{name}.ini").symlink_to(self.home / f"{name}.ini")
        running.parent.mkdir(parents=True)
        running.symlink_to(RUN_DIR)
        return command

    def _version(self, vcenter: str) -> str:
        """Of the code that a worker says it runs; empty while there is none, or it starts."""
        node = self._where(vcenter)
        said = self.cluster.on(node, "cat", f"{RUN_DIR}/{vcenter}.heartbeat", check=False) if node else ""
        return str(json.loads(said)["version"]) if said else ""

    async def _network(self, name: str) -> None:
        """Made through the API; both vCenters must have it in the end."""
        made = await asyncio.to_thread(self.api.create_network, name=name, project_id="ha")
        self.networks.append(made)
        await self._until(
            lambda: all(any(made.id in group for group in self._groups(site)) for site in VCENTERS),
            f"both vCenters have network {name}",
        )

    async def _exactly_once(self) -> None:
        """What both vCenters have is what Neutron says, and each port group was made by one task."""
        for name in VCENTERS:
            names = sorted(self._groups(name))
            assert names == sorted(f"os-{network.id}" for network in self.networks), names
            made = self.sites[name].scenario.stats()["calls"].get("AddDVPortgroup_Task", 0)
            assert made <= len(self.networks), f"{made} tasks for {len(self.networks)} networks"
        self.seen["networks"] = len(self.networks)

    def _groups(self, site: str) -> list[str]:
        world = self.sites[site].world
        dvs = next(each for each in world.objects.values() if isinstance(each, DistributedVirtualSwitch))
        return [group.name for group in dvs.portgroups if group.name.startswith("os-")]

    def _where(self, vcenter: str, node: str = "") -> str:
        asked = node or next(iter(self.cluster._init))
        return self.cluster.where(asked, PREFIX + vcenter)

    def _identity(self, vcenter: str, node: str = "") -> tuple[str, int]:
        where = self._where(vcenter, node)
        return where, self.cluster.worker_pid(where, vcenter) if where else 0

    def _alive(self, node: str, vcenter: str) -> bool:
        pid = self.cluster.worker_pid(node, vcenter)
        return bool(pid) and bool(self.cluster.on(node, "sh", "-c", f"kill -0 {pid} && echo yes", check=False))

    def _last_words(self) -> str:
        node = next(iter(self.cluster._init), "")
        words = self.cluster.on(node, "crm_mon", "-1Arf", check=False) if node else ""
        for path in sorted(self.home.glob("worker-*.log")):
            lines = [line for line in path.read_text(errors="replace").splitlines() if " INFO neutron." not in line]
            words += f"\n{path.name}:\n" + "\n".join(lines[-15:])
        return words

    @staticmethod
    async def _until(holds: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - another process is watched
                    await asyncio.sleep(0.5)
        except TimeoutError:
            raise AssertionError(f"not in {seconds:g} s: {what}") from None


def main() -> None:
    home, nodes, tool, *chapters = sys.argv[1:]
    with Cluster(Path(home), nodes) as cluster:
        enter(cluster.switch)
        seen = asyncio.run(Scenario(Path(home), cluster, tool).run(chapters))
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    main()
