"""The walked site: two clusters, a neighbour, the manager; what was asked of it, and how it is brought to rest."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from pathlib import Path
from typing import Any

from crash_rig import VERSIONS, Rig
from walk_neighbours import Depot, Neighbours
from walk_truth import RESERVED_MB, WalkTruth

from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
from contrail_vsphere.simulator.eam.switches import Switches as EamSwitches
from contrail_vsphere.simulator.vcenter.datastore import Datastore
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.switches import Switches as DvsSwitches
from contrail_vsphere.wire.soap.fault import SoapFault

DEPLOYMENT = """\
[deployment.{name}]
clusters = [{clusters}]
package = "{version}"
datastores = ["nfs-shared"]
reservation = {{ cpu_mhz = 200, memory_mb = {memory} }}
[deployment.{name}.networks]
management = "mgmt"
overlay = {{ switch = "dvs0" }}
[deployment.{name}.guest]
controllers = ["{controllers}"]
[deployment.{name}.rollout]
{rollout}
"""
CLUSTERS = ("C0", "C1")
BACK = ("rollback", "manager")
"""Kind and author of a rollout that nobody asked for."""
VISIT = 1800.0
"""Virtual seconds between two visits of the operator, who releases what is on hold."""
REST = 5400.0
"""Virtual seconds of quiet in which everything must be well: holds and growing pauses are over by then."""


class WalkSite:
    """``async with``: simulators and manager run, dc1 is deployed on both clusters.

    ``images``: clusters of a vCenter 9 that are managed by an image, where vLCM keeps the ContrailVMs; EAM the others'.
    """

    def __init__(
        self, directory: Path, prepared: Path, *, eam: EamSwitches, dvs: DvsSwitches, images: Collection[str] = ()
    ) -> None:
        profile = "vc90" if images else "vc80u3"
        self.images = images
        self.rig = Rig(directory, prepared, rest=bool(images), hosts=4, clusters=2, vms=4, profile=profile)
        self.vcenter = self.rig.vcenter
        self.wanted: dict[str, tuple[str, str]] = {}
        """Cluster -> deployment and version that the operator was told is in force."""
        self.neighbours = Neighbours(self.vcenter)
        self.truth = WalkTruth(self.vcenter, self.neighbours)
        self.rollout_table = "gate = 20"
        """Lines of the rollout table in every deployments file from now on."""
        self.told: list[str] = []
        """What was done, for a failure's reader."""
        self.full: set[Datastore] = set()
        """Datastores that somebody filled."""
        self.hung: set[str] = set()
        """VRouterAgents that somebody hung."""
        self.silent: set[str] = set()
        """VRouterAgents whose channel to the controllers somebody cut."""
        self.lossy: set[str] = set()
        """VRouterAgents whose vRouter drops frames."""
        self.controllers = "127.0.0.1"
        """What guests are told from now on, in every deployments file."""
        self._switches = (eam, dvs)
        self._stack = contextlib.AsyncExitStack()
        self._doing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> WalkSite:
        async with contextlib.AsyncExitStack() as stack:
            depot = await stack.enter_async_context(Depot())
            await stack.enter_async_context(self.rig)
            eam, dvs = self._switches
            self.vcenter.eam.switches = eam
            dvs.install(self.vcenter.world)
            for name in self.images:
                self.vcenter.scenario.set_image_managed(name)
            await self.neighbours.settle_in(depot.url, cluster="C1")
            self.truth.begin()
            await self.apply(dict.fromkeys(CLUSTERS, ("dc1", VERSIONS[0])))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._doing:
            task.cancel()
        await asyncio.gather(*self._doing, return_exceptions=True)
        await self._stack.aclose()

    # -- what is asked ------------------------------------------------------------------------------------------

    async def apply(self, wanted: Mapping[str, tuple[str, str]]) -> None:
        """Cluster -> deployment and version; what is refused, or not heard by a dying manager, is not wanted."""
        for name in ("dc1", "dc2"):
            clusters = {cluster: version for cluster, (owner, version) in wanted.items() if owner == name}
            if clusters:
                await self._apply(name, clusters)

    async def _apply(self, name: str, clusters: Mapping[str, str]) -> None:
        quoted = ", ".join(f'"{each}"' for each in clusters)
        version = next(iter(clusters.values()))
        text = DEPLOYMENT.format(
            name=name,
            clusters=quoted,
            version=version,
            memory=RESERVED_MB,
            controllers=self.controllers,
            rollout=self.rollout_table,
        )
        before = {cluster: known for cluster, known in self.wanted.items() if known[0] != name}
        if await self._say(lambda m: m.operator.apply_deployments(text, allow_removal=True)):
            self.wanted = {**before, **dict.fromkeys(clusters, (name, version))}

    async def ask(self, verb: Callable[[Any], Awaitable[Any]]) -> None:
        """A person's word that takes a while; what is in force afterwards is what the journal says."""
        if self.rig.process.died.is_set():
            return
        asked: list[asyncio.Task[Any]] = []

        def speak(manager: Any) -> None:
            async def guarded() -> None:
                try:
                    async with asyncio.timeout(60):
                        await verb(manager)
                except (ContrailVsphereError, TimeoutError) as refused:
                    self.told.append(f"  refused: {refused}")

            asked.append(asyncio.create_task(guarded()))

        await self.rig.do(speak)
        await asyncio.gather(*asked, return_exceptions=True)
        if not self.rig.process.died.is_set():
            self.heard()

    async def remove(self, name: str) -> None:
        if await self._say(lambda manager: manager.operator.remove(name)):
            self.wanted = {cluster: known for cluster, known in self.wanted.items() if known[0] != name}

    async def _say(self, verb: Any) -> bool:
        """True when the manager has it in its journal; a manager that died over it did or did not, so it is asked."""
        said = []

        def speak(manager: Any) -> None:
            try:
                verb(manager)
            except ContrailVsphereError as refused:
                self.told.append(f"  refused: {refused}")
            else:
                said.append(True)

        if self.rig.process.died.is_set():
            return False
        await self.rig.do(speak)
        return bool(said)

    def heard(self) -> None:
        """After a death: what of the wishes is in force is what the new life found in its journal."""
        desired = self.rig.manager.notebook.desired.values()
        self.wanted = {
            each.cluster_name: (each.key.deployment, each.package.version) for each in desired if not each.removed
        }

    # -- the manager's lives ------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        return not self.rig.process.died.is_set()

    async def bury(self) -> None:
        """Clear away a process that died at a point."""
        if self.rig.process.died.is_set():
            await self.rig.kill()

    async def revive(self) -> None:
        """Start it, unless it lives."""
        await self.bury()
        while self.rig.process.died.is_set():
            self.rig.points.begin()
            try:
                if await self.rig.start():
                    self.heard()
            except ContrailVsphereError as refused:
                # ``run`` ended with that error; a service manager starts it again after a pause.
                self.told.append(f"  not started: {refused}")
                self.rig.process.died.set()
                await asyncio.sleep(5.0)

    # -- what happens -------------------------------------------------------------------------------------------

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Somebody does something in vCenter; what vCenter refuses does not happen."""

        async def guarded() -> None:
            with contextlib.suppress(SoapFault, LookupError):
                await work

        task = asyncio.create_task(guarded())
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)

    # -- to rest ------------------------------------------------------------------------------------------------

    async def rest(self) -> list[str]:
        """Everything is mended that only a person can mend, nothing more happens; what is still wrong then."""
        self.vcenter.faults.clear()
        self.rig.points.begin()
        for store in self.full:
            with self.vcenter.world.commit("somebody") as tx:
                tx.set(store, free=store.capacity // 2)
        self.full.clear()
        await self.revive()
        for _ in range(3):
            await self._mend()
            await asyncio.sleep(120)
        loop = asyncio.get_running_loop()
        end, calm, visit = loop.time() + REST, 0, 0.0
        while loop.time() < end:
            if loop.time() >= visit:
                await self._mend()  # an evacuation begun long ago may have ended in standby since
                await self.rig.do(self._release)
                await self._insist()
                visit = loop.time() + VISIT
            await asyncio.sleep(15)
            self.neighbours.mend()
            calm = calm + 1 if not self._wrongs() else 0
            if calm == 3:
                return []
        return [*self._wrongs(), *self.describe()]

    def _release(self, manager: Any) -> None:
        """The operator looks after holds, and says that the deletions were meant."""
        if manager.notebook.desired:
            manager.operator.release()
        for name in manager.notebook.rollouts:
            with contextlib.suppress(ContrailVsphereError):
                manager.operator.upgrades.resume(name)
                manager.operator.upgrades.approve(name)
        if manager.brake.state.engaged:
            manager.operator.release_brake(manager.brake.name, by="operator", reason="meant")

    async def _insist(self) -> None:
        """An upgrade that faults made fail was rolled back by the manager; the operator asks for it again."""
        rolled_back: list[str] = []

        def look(manager: Any) -> None:
            mine = {key for key, rollout in manager.notebook.rollouts.items() if (rollout.kind, rollout.by) == BACK}
            rolled_back.extend(mine & {owner for owner, _ in self.wanted.values()})

        await self.rig.do(look)
        for name in rolled_back:
            wanted = {cluster: version for cluster, (owner, version) in self.wanted.items() if owner == name}
            self.told.append(f"  the operator asks {name} again for {wanted}")
            await self._apply(name, wanted)

    async def _mend(self) -> None:
        scenario = self.vcenter.scenario
        for host in list(self.vcenter.world.of_type(HostSystem)):
            if host.crashed:
                self.begin(scenario.boot_host(host))
            elif host.power_state == "standBy":
                self.begin(scenario.wake_host(host))
            elif host.connection_state != "connected":
                self.begin(scenario.reconnect_host(host))
            elif host.in_maintenance:
                self.begin(scenario.exit_maintenance(host))
        for vm in self.truth.contrailvms:
            if vm.template:
                self.begin(scenario.delete_vm(vm))
        for agent in list(self.vcenter.world.of_type(EsxAgent)):
            if agent.vm is not None and agent.vm.host is not agent.host and agent.vm.moid in self.truth.moved:
                self.begin(scenario.move_vm(agent.vm, agent.host))
        for act, names in (("unhang", self.hung), ("xmpp-up", self.silent), ("lossless", self.lossy)):
            for name in names & self.vcenter.vrouters.agents.keys():
                await scenario.vrouter(name, act)
            names.clear()

    def _wrongs(self) -> list[str]:
        found = self.truth.at_rest({cluster: version for cluster, (_, version) in self.wanted.items()})
        if not self.alive:
            return [*found, "the manager is dead"]
        if self.wanted and not self.rig.manager.converged():
            found.append(f"not converged; left to do: {self.rig.manager.plan_preview()}")
        return found

    def describe(self) -> list[str]:
        return ["what happened:", *self.told, self.rig.describe()]
