"""What goes on while the manager dies: everyday stories, each begun from the same state so that one rig tells many."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from crash_points import Point
from crash_rig import DEPLOYMENT, VERSIONS, Rig

from contrail_vsphere.contrailvm.desired import Desired

DOWNTIMES = (0.0, 3.0, 45.0)
"""Virtual seconds between a death and the next life: at once, a service manager's pause, somebody has to come."""


@dataclass(slots=True)
class Story:
    """``prepare`` brings the rig to where the story begins; ``happen`` is what happens; ``insist`` is the operator,
    who says again what a dead manager may not have heard."""

    name: ClassVar[str]
    deployed: ClassVar[bool] = True
    tellings: ClassVar[int] = 30
    """How often it may be told with one vCenter before a fresh one is set up."""
    version: str = VERSIONS[0]

    async def prepare(self, rig: Rig) -> None:
        self.version = await deploy(rig)

    async def happen(self, rig: Rig) -> None:
        raise NotImplementedError

    async def insist(self, rig: Rig) -> None:
        return

    def wrongs(self, rig: Rig) -> list[str]:
        return rig.truth.now(deployed=self.deployed, version=self.version)


class Deploys(Story):
    """To a vCenter that has neither trunk nor pool."""

    name = "deploy"
    tellings = 1

    async def prepare(self, rig: Rig) -> None:
        assert not _desired(rig)

    async def happen(self, rig: Rig) -> None:
        await self.insist(rig)

    async def insist(self, rig: Rig) -> None:
        await say_deploy(rig, self.version)


class PowersOff(Story):
    name = "power-off"

    async def happen(self, rig: Rig) -> None:
        await rig.vcenter.scenario.power_off(rig.truth.contrailvm("esx-00"))


class Deletes(Story):
    name = "delete"

    async def happen(self, rig: Rig) -> None:
        await rig.vcenter.scenario.delete_vm(rig.truth.contrailvm("esx-00"))


class Joins(Story):
    name = "join"

    async def prepare(self, rig: Rig) -> None:
        self.version = await deploy(rig)
        if "esx-new" in rig.vcenter.inventory:
            await rig.vcenter.scenario.enter_maintenance("esx-new")
            await rig.vcenter.scenario.remove_host("esx-new")
            await settle(rig, self)

    async def happen(self, rig: Rig) -> None:
        await rig.vcenter.scenario.add_host("esx-new")


class Silences(Story):
    """The vRouter of a ContrailVM ends; nobody touches the VM."""

    name = "vrouter-down"

    async def happen(self, rig: Rig) -> None:
        await rig.vcenter.vrouters.kill(rig.truth.contrailvm("esx-00").moid)


class Maintains(Story):
    name = "maintenance"

    async def happen(self, rig: Rig) -> None:
        await rig.vcenter.scenario.enter_maintenance("esx-01")
        await rig.vcenter.scenario.exit_maintenance("esx-01")


class RestartsEam(Story):
    """EAM goes down and comes back while a ContrailVM is to be deployed again."""

    name = "eam-restart"

    async def happen(self, rig: Rig) -> None:
        await rig.vcenter.scenario.delete_vm(rig.truth.contrailvm("esx-00"))
        await rig.vcenter.restart_eam()
        await asyncio.sleep(60.0)
        await rig.vcenter.restart_eam()


class Updates(Story):
    name = "update"

    async def prepare(self, rig: Rig) -> None:
        self.version = VERSIONS[1 - VERSIONS.index(await deploy(rig))]

    async def happen(self, rig: Rig) -> None:
        await self.insist(rig)

    async def insist(self, rig: Rig) -> None:
        await say_deploy(rig, self.version)


class Removes(Story):
    name = "remove"
    deployed = False

    async def happen(self, rig: Rig) -> None:
        await self.insist(rig)

    async def insist(self, rig: Rig) -> None:
        if not all(desired.removed for desired in _desired(rig)):
            await rig.do(lambda manager: manager.operator.remove("dc1"))


STORIES: tuple[type[Story], ...] = (
    Deploys,
    PowersOff,
    Deletes,
    Joins,
    Silences,
    Maintains,
    RestartsEam,
    Updates,
    Removes,
)


# -- telling ----------------------------------------------------------------------------------------------------


async def tell(rig: Rig, story: Story, *, victims: Sequence[Point | int] = (), downtime: float = 0.0) -> list[Point]:
    """Tell a story in which the manager dies at each of ``victims`` in turn; returns the points its first life passed.

    AssertionError when not all is well in the end; a victim is a point since the story or that life began.
    """
    await story.prepare(rig)
    todo = list(victims)
    rig.points.begin(todo.pop(0) if todo else None)
    happening = asyncio.create_task(story.happen(rig))
    try:
        passed: list[Point] = []
        while not await settle(rig, story, happening):
            passed = passed or list(rig.points.seen)
            await rig.kill()
            await asyncio.sleep(downtime)
            rig.points.begin(todo.pop(0) if todo else None)
            if await rig.start():
                await story.insist(rig)
        passed = passed or list(rig.points.seen)
        rig.points.begin()
        await asyncio.wait_for(happening, 300)
    finally:
        happening.cancel()
    again = rig.reusable()
    assert not again, again
    return passed


async def settle(rig: Rig, story: Story, happening: asyncio.Task[None] | None = None) -> bool:
    """Wait until all is well and nothing is left to do; False when the manager died."""

    def well() -> bool:
        done = happening is None or happening.done()
        return done and _said(rig, story) and not story.wrongs(rig)

    try:
        while await rig.until(well):
            await asyncio.sleep(3.0)
            if not rig.process.died.is_set() and well():
                return True
        return False
    except AssertionError as late:
        raise AssertionError(f"{late}\nwrong: {story.wrongs(rig)}") from None


def _said(rig: Rig, story: Story) -> bool:
    if not story.deployed:
        return not _desired(rig)
    return bool(_desired(rig)) and rig.manager.converged()


def _desired(rig: Rig) -> list[Desired]:
    return list(rig.manager.notebook.desired.values())


async def deploy(rig: Rig) -> str:
    """All hosts served, nobody on hold, no repair counted; returns the package's version."""
    story = Deploys(version=_desired(rig)[0].package.version if _desired(rig) else VERSIONS[0])
    await say_deploy(rig, story.version)
    await rig.do(lambda manager: manager.operator.release())
    assert await settle(rig, story)
    return story.version


async def say_deploy(rig: Rig, version: str) -> None:
    """What the operator says unless it is known."""
    wanted = [(False, version)] * len(rig.truth.clusters)
    if [(each.removed, each.package.version) for each in _desired(rig)] != wanted:
        clusters = ", ".join(f'"{each}"' for each in rig.truth.clusters)
        text = DEPLOYMENT.format(version=version, clusters=clusters)
        await rig.do(lambda manager: manager.operator.apply_deployments(text))
