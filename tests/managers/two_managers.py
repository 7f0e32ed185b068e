"""Two managers on one simulated vCenter, each with caches and an election of its own, over one in-process ZooKeeper."""

from __future__ import annotations

import random
from datetime import timedelta
from types import SimpleNamespace

import aiohttp
from scene import Scene
from stand import KEY
from zookeeper_in_process import Tree, TreeSession

from contrail_vsphere.app.contrailvm import FOLLOWED_EVENTS
from contrail_vsphere.app.contrailvm_control import ContrailVmControl
from contrail_vsphere.app.election import NEVER
from contrail_vsphere.app.reign import Reigns
from contrail_vsphere.app.standby import Face, StandbyWatch, take_over
from contrail_vsphere.app.standby_reader import StandbyReader
from contrail_vsphere.contrail.introspect import Introspect
from contrail_vsphere.contrailvm.manager import ContrailVmManager
from contrail_vsphere.contrailvm.publish.shelf import Shelf
from contrail_vsphere.engine.health import HealthBook
from contrail_vsphere.engine.journal_zookeeper import ZooKeeperJournal
from contrail_vsphere.engine.leader_zookeeper import ZooKeeperLeader
from contrail_vsphere.pki.tokens import TokenStore
from contrail_vsphere.vsphere.vcenter import ExtensionLogin, VCenter

WRITES = frozenset(
    {
        "CreateAgency", "Update", "Uninstall", "DestroyAgency", "Resolve", "ResolveAll", "MarkAsAvailable",
        "ReconfigVM_Task", "PowerOnVM_Task", "PowerOffVM_Task", "ResetVM_Task", "CreateDVPortgroup_Task",
        "ReconfigureDVPortgroup_Task", "Destroy_Task", "CreateResourcePool", "UpdateConfig",
        "EsxAgentHostManagerUpdateConfig", "PostEvent", "UpdateExtension",
    }
)  # fmt: skip
"""What changes vCenter or EAM."""
PATH = "/contrailvm-manager"


class Member:
    """One process: its sessions, its caches, its reigns."""

    def __init__(self, scene: TwoManagers, name: str) -> None:
        self.scene, self.name = scene, name
        self.zookeeper = TreeSession(scene.tree)
        self.journal: ZooKeeperJournal
        self.wrote: list[str] = []

    async def start(self) -> Member:
        scene = self.scene
        self.http = aiohttp.ClientSession()
        self.client = VCenter(
            scene._endpoint, ExtensionLogin(KEY, scene.extension), now=scene.now, random=random.Random(self.name)
        )
        await self.client.__aenter__()
        self.client.events.start(FOLLOWED_EVENTS)
        self.client.inventory.start()
        self.client.eam.cache.start()
        await self.client.inventory.ready()
        self.reigns = Reigns(
            stand=lambda: ZooKeeperLeader(self.zookeeper, path=PATH, name=self.name, random=random.Random(1)),
            make=self._make, ended=lambda: None, random=random.Random(2), what="manager",
        )  # fmt: skip
        self.reigns.start()
        return self

    async def stands_by(self) -> tuple[StandbyWatch, ContrailVmControl]:
        """What this process tells readers while another leads."""

        async def journal() -> ZooKeeperJournal:
            opened = ZooKeeperJournal(self.zookeeper, path=f"{PATH}.journal/vc", now=self.scene.now)
            opened.fence(f"{PATH}.epoch", NEVER)
            await opened.open()
            return opened

        face = Face(by=self.name, publish_url="", bootstrap_url="", authority="", extension="")
        watch = StandbyWatch(
            journal=journal, face=lambda: face, packages=self.scene.publisher.store.packages.keys,
            leads=lambda: self.reigns.leads, reader=StandbyReader(self.manager_over),
        )  # fmt: skip
        certificates = SimpleNamespace(warnings=tuple)
        control = ContrailVmControl(
            self.reigns, vcenter="lab", now=self.scene.now, standby=lambda: watch, certificates=certificates,
            reload_packages=lambda: None, renew_extension=None,
        )  # fmt: skip
        return watch, control

    async def stop(self) -> None:
        await self.reigns.stop()
        await self.client.close()
        await self.http.close()

    @property
    def calls(self) -> dict[str, int]:
        """Writes that left this process."""
        return {name: count for name, count in self.client.calls.items() if name in WRITES}

    async def _make(self, leader, epoch) -> ContrailVmManager:
        scene = self.scene
        self.journal = ZooKeeperJournal(self.zookeeper, path=f"{PATH}.journal/vc", now=scene.now)
        await self.journal.open()
        self.journal.fence(f"{PATH}.epoch", epoch)
        take_over(self.journal, Face(by=self.name, publish_url="", bootstrap_url="", authority="", extension=""))
        return self.manager_over(leader, self.journal)

    def manager_over(self, leader, journal) -> ContrailVmManager:
        scene = self.scene
        return ContrailVmManager(
            solution_id=KEY,
            vcenter=self.client,
            inventory=self.client.inventory,
            eam=self.client.eam,
            agencies=self.client.eam.cache,
            journal=journal,
            shelf=Shelf(
                scene.publisher, solution_id=KEY, manager_url=lambda: "https://{}:{}".format(*scene.bootstrap.address),
                ca_pem=lambda: scene.authority.cert_pem,
            ),
            tokens=TokenStore(journal, now=scene.now, ttl=timedelta(hours=1)),
            authority=scene.authority,
            introspect=Introspect(self.http),
            health=HealthBook(scene.now),
            now=scene.now,
            random=random.Random(3),
            events=self.client.events,
            registration=scene.registration(self.client),
            leader=leader,
        )  # fmt: skip


class TwoManagers(Scene):
    """``a`` leads at first, ``b`` stands by; guests and health ask whoever leads."""

    async def resume(self) -> None:
        self.tree = Tree()
        self.a = await Member(self, "a").start()
        await self.until(lambda: self.a.reigns.leads, seconds=60)
        self.b = await Member(self, "b").start()

    async def crash(self) -> None:
        await self.a.stop()
        await self.b.stop()

    @property
    def manager(self) -> ContrailVmManager:
        """Of the one that leads; guests are asked to come again while nobody does."""
        leaders = [each for each in (self.a, self.b) if each.reigns.leads]
        return max(leaders or [self.a], key=lambda each: each.reigns.epoch).reigns.acting

    def describe(self) -> str:
        members = [
            f"{m.name}: leads={m.reigns.leads} {m.reigns.not_ready()} {m.calls}"
            for m in vars(self).values()
            if isinstance(m, Member)
        ]
        return "\n".join([*members, *self.vcenter_lines()])
