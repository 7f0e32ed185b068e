"""Plays scenario files: each step at its time on the simulator's clock, the next one when it is done.

In real time the simulator's clock decides (``simulate control clock`` may run it faster). On a virtual-time loop, or
with ``virtual=True``, waiting costs nothing: ``virtual`` jumps the clock from one sleeper to the next whenever the loop
has nothing to do, so it is for scenarios without outside clients, who live in real time and would be left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.simulator import story as stories
from contrail_vsphere.simulator.core.clock import Clock
from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.simulator.scenario import plain
from contrail_vsphere.simulator.story import Condition, Step, Story
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity
from contrail_vsphere.wire.soap.fault import SoapFault

if TYPE_CHECKING:
    from contrail_vsphere.simulator.simulator import VCenterSimulator

log = logging.getLogger(__name__)

SETTLE = 50
"""Rounds of the loop without a change of the world after which virtual time goes on."""


class ScenarioFailed(ContrailVsphereError):  # noqa: N818 - the field's word
    """A step did not end as the file says."""

    def __init__(self, number: int, step: Step, message: str) -> None:
        super().__init__(f"step {number}, {step}: {message}")
        self.number = number


@dataclass(frozen=True, slots=True)
class Played:
    """What became of a scenario."""

    steps: int
    seconds: float
    """Simulated."""


async def play(simulator: VCenterSimulator, story: Story | Path | str, *, virtual: bool = False) -> Played:
    """Play a scenario (or the file at a path) to its end. Raises ScenarioError before, ScenarioFailed on the way."""
    if not isinstance(story, Story):
        story = stories.load(Path(story))
    player = _Player(simulator, story)
    with _fast_forward(simulator) if virtual else contextlib.nullcontext():
        return await player.run()


class _Player:
    def __init__(self, simulator: VCenterSimulator, story: Story) -> None:
        self._simulator = simulator
        self._story = story
        self._behind: list[asyncio.Task[None]] = []

    @property
    def _clock(self) -> Clock:
        return self._simulator.world.clock

    async def run(self) -> Played:
        begin = self._clock.time()
        try:
            for number, step in enumerate(self._story.steps, 1):
                if step.at is not None:
                    await self._clock.sleep(max(0.0, begin + step.at - self._clock.time()))
                log.info("scenario step %d: %s", number, step)
                if step.background:
                    self._behind.append(asyncio.create_task(self._take(number, step), name=f"scenario step {number}"))
                    await asyncio.sleep(0)
                else:
                    await self._take(number, step)
            await asyncio.gather(*self._behind)
        finally:
            for task in self._behind:
                task.cancel()
            await asyncio.gather(*self._behind, return_exceptions=True)
        return Played(len(self._story.steps), self._clock.time() - begin)

    async def _take(self, number: int, step: Step) -> None:
        if step.wait is not None:
            await self._wait(number, step, step.wait)
            return
        try:
            if step.fault is not None:
                self._simulator.scenario.add_fault(step.fault)
                return
            result = getattr(self._simulator.scenario, step.do)(**step.arguments)
            if hasattr(result, "__await__"):
                await result
        except LookupError as error:
            raise ScenarioFailed(number, step, str(error.args[0] if error.args else error)) from error
        except SoapFault as error:
            if error.kind != step.fails:
                wanted = f", not with {step.fails}" if step.fails else ""
                raise ScenarioFailed(number, step, f"ended with {error.kind}{wanted}: {error.message}") from error
            return
        if step.fails:
            raise ScenarioFailed(number, step, f"succeeded, where {step.fails} was expected")

    async def _wait(self, number: int, step: Step, wanted: Condition) -> None:
        """State is looked at after every commit; the deadline is on the simulator's clock."""
        limit = asyncio.ensure_future(self._clock.sleep(step.within))
        try:
            while missing := self._missing(wanted):
                world = self._simulator.world
                change = asyncio.ensure_future(world.changed_after(world.seq))
                try:
                    await asyncio.wait((change, limit), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    change.cancel()
                if limit.done() and (missing := self._missing(wanted)):
                    raise ScenarioFailed(number, step, f"not so after {step.within:g} s: {missing}")
        finally:
            limit.cancel()
            await asyncio.gather(limit, return_exceptions=True)

    def _missing(self, wanted: Condition) -> str:
        """Why the condition does not hold; empty when it does."""
        entity = self._find(wanted)
        if wanted.gone:
            return f"{entity.wsdl} {entity.moid} is there" if entity is not None else ""
        if entity is None:
            return f"there is no {wanted.type or 'object'} {wanted.object}"
        for name, value in wanted.state.items():
            if not hasattr(entity, name):
                return f"a {entity.wsdl} has no {name}"
            found = getattr(entity, name)
            if plain(found) != value and not (isinstance(found, Entity) and getattr(found, "name", None) == value):
                return f"{name} is {plain(found)!r}"
        return ""

    def _find(self, wanted: Condition) -> Any:
        world = self._simulator.world
        direct = world.get(wanted.object)
        if direct is not None and wanted.type in ("", direct.wsdl):
            return direct
        named = (
            entity
            for entity in world.of_type(ManagedEntity)
            if entity.name == wanted.object and wanted.type in ("", entity.wsdl)
        )
        return next(named, None)


@contextlib.contextmanager
def _fast_forward(simulator: VCenterSimulator) -> Iterator[None]:
    """Jump from sleeper to sleeper while the block runs."""

    async def run() -> None:
        while True:
            seen, quiet = simulator.world.seq, 0
            while quiet < SETTLE:
                await asyncio.sleep(0)
                quiet = quiet + 1 if simulator.world.seq == seen else 0
                seen = simulator.world.seq
            clock = simulator.world.clock
            due = clock.next_due()
            if due is None:
                await asyncio.sleep(0.001)  # only sockets or threads can bring anything now
            else:
                clock.advance(due - clock.time())

    pump = asyncio.get_running_loop().create_task(run(), name="virtual time")
    try:
        yield
    finally:
        pump.cancel()
