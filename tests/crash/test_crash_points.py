"""The manager dies wherever it acts on the world (facts F9, F16), is started again, and all becomes well.

Each story is told once undisturbed to learn its points, then again for each chosen point. What is asserted is the
simulated vCenter's state, at every moment and in the end; the manager's records only say when it has calmed down.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from crash_points import Point
from crash_rig import Rig
from crash_stories import DOWNTIMES, STORIES, Deletes, Deploys, Joins, PowersOff, Removes, Story, Updates, tell

from contrail_vsphere.contrailvm.plan.agency import NOT_TAKEN_RETRY

pytestmark = pytest.mark.looptime

SINGLE = {
    "deploy": 20, "power-off": 10, "delete": 14, "join": 12, "vrouter-down": 8, "maintenance": 8, "eam-restart": 10,
    "update": 10, "remove": 10,
}  # fmt: skip
"""How many points of each story ``make test`` tries; the long form tries all. There are, with two hosts, so many where
something changes, of all: deploy 72 of 350, power-off 8 of 200, delete 36 of 390, join 28 of 280, maintenance 4 of 180,
update 106 of 670, remove 12 of 130."""
LEAST = {
    "deploy": 60, "power-off": 8, "delete": 30, "join": 24, "vrouter-down": 6, "maintenance": 4, "eam-restart": 30,
    "update": 80, "remove": 10,
}  # fmt: skip
"""A story passes at least so many points where something changes: else they are no longer seen."""
ROW = 5
"""Deaths in a row: the first at a point of the story, each next at one of the first points of the new life."""


class Theatre:
    """Tells one story again and again, and gathers what went wrong and how often a manager died."""

    def __init__(self, directory: Path, prepared: Path, story: type[Story], **options: Any) -> None:
        self._directory = directory
        self._prepared = prepared
        self._story = story
        self._options = options
        self._stack = AsyncExitStack()
        self._rig: Rig | None = None
        self._tellings = 0
        self.deaths = 0
        self.failures: list[str] = []

    async def __aenter__(self) -> Theatre:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def tell(self, *victims: Point | int) -> list[Point]:
        """Tell it with deaths; what is not well in the end is a failure, and a fresh vCenter is taken for the next."""
        rig = self._rig or await self._fresh()
        self._tellings += 1
        before = len(rig.points.deaths)
        try:
            return await tell(rig, self._story(), victims=victims, downtime=DOWNTIMES[self._tellings % len(DOWNTIMES)])
        except AssertionError as wrong:
            self.failures.append(f"{self._story.name} with {[str(each) for each in victims]}: {wrong}")
            self._rig = None
            return []
        finally:
            self.deaths += len(rig.points.deaths) - before
            if self._tellings % self._story.tellings == 0:
                self._rig = None

    async def _fresh(self) -> Rig:
        await self._stack.aclose()
        directory = self._directory / str(self._tellings)
        directory.mkdir()
        self._rig = await self._stack.enter_async_context(Rig(directory, self._prepared, **self._options))
        return self._rig


def spread(points: Sequence[Point], number: int) -> list[Point]:
    """Evenly chosen: first those where something changes, the rest of the number among those that only look."""
    acting = [each for each in points if each.acts]
    looking = [each for each in points if not each.acts]
    return _every(acting, number) + _every(looking, number - min(number, len(acting)))


def _every(points: Sequence[Point], number: int) -> list[Point]:
    number = min(number, len(points))
    return [points[index * len(points) // number] for index in range(number)]


async def one_death(theatre: Theatre, story: type[Story], number: int | None) -> None:
    points = await theatre.tell()
    assert not theatre.failures, theatre.failures[0]
    assert sum(point.acts for point in points) >= LEAST[story.name], [str(point) for point in points if point.acts]
    chosen = points if number is None else spread(points, number)
    for point in chosen:
        await theatre.tell(point)
    assert not theatre.failures, "\n\n".join(theatre.failures)
    # Where real sockets decide the order, a point may be passed once less; that must stay the exception.
    assert theatre.deaths >= 0.9 * len(chosen)


async def deaths_in_a_row(theatre: Theatre, story: type[Story], *, rows: int, seed: int) -> None:
    chance = random.Random(f"{seed} {story.name}")
    points = await theatre.tell()
    assert not theatre.failures, theatre.failures[0]
    for _ in range(rows):
        first = chance.choice([point for point in points if point.acts])
        await theatre.tell(first, *(chance.randint(1, 10) for _ in range(ROW - 1)))
    assert not theatre.failures, "\n\n".join(theatre.failures)
    assert theatre.deaths >= 2 * rows


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
async def test_a_death_at_any_point_leaves_nothing_doubled_or_orphaned(story, tmp_path, prepared):
    async with Theatre(tmp_path, prepared, story) as theatre:
        await one_death(theatre, story, SINGLE[story.name])


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
async def test_deaths_in_a_row_leave_nothing_doubled_or_orphaned(story, tmp_path, prepared):
    async with Theatre(tmp_path, prepared, story) as theatre:
        await deaths_in_a_row(theatre, story, rows=4, seed=1)


@pytest.mark.parametrize("story", [Deploys, Deletes, Removes], ids=lambda story: story.name)
async def test_deaths_with_two_clusters(story, tmp_path, prepared):
    """Two keys work at the same time, on one trunk and with one brake."""
    async with Theatre(tmp_path, prepared, story, clusters=2) as theatre:
        await one_death(theatre, story, 3)


async def test_a_host_is_not_put_on_hold_because_the_manager_died_preparing_it(tmp_path, prepared):
    async with Theatre(tmp_path, prepared, Joins) as theatre:
        await theatre.tell(*[Point("after ReconfigVM_Task", 1)] * 4)
        assert not theatre.failures, theatre.failures[0]
        assert theatre.deaths == 4


async def test_a_host_is_not_put_on_hold_because_the_manager_died_repairing_it(tmp_path, prepared):
    async with Theatre(tmp_path, prepared, PowersOff) as theatre:
        await theatre.tell(*[Point("before Resolve", 1)] * 4)
        assert not theatre.failures, theatre.failures[0]
        assert theatre.deaths == 4


async def test_an_update_that_died_on_its_way_is_not_waited_for(tmp_path, prepared):
    """Found by the thousand kills: for ten minutes EAM was believed to have it, and not to support it."""
    async with Theatre(tmp_path, prepared, Updates) as theatre:
        begun = asyncio.get_running_loop().time()
        await theatre.tell(Point("before Update", 1))
        assert not theatre.failures, theatre.failures[0]
        assert theatre.deaths == 1
        assert asyncio.get_running_loop().time() - begun < NOT_TAKEN_RETRY


@pytest.mark.soak
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
async def test_a_death_at_every_single_point(story, tmp_path, prepared):
    async with Theatre(tmp_path, prepared, story) as theatre:
        await one_death(theatre, story, None)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
async def test_many_deaths_in_a_row(story, seed, tmp_path, prepared):
    async with Theatre(tmp_path, prepared, story) as theatre:
        await deaths_in_a_row(theatre, story, rows=20, seed=seed)
