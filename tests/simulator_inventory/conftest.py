"""A small world without a server: entities are driven directly, as the server would."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.core.world import World
from contrail_vsphere.simulator.vcenter.build import Inventory, build_inventory
from contrail_vsphere.simulator.vcenter.task import TaskManager


class Lab:
    """A world, what was built in it, and all events that were posted."""

    def __init__(self, *, timing: Timing, **size):
        self.world = World(seed=7)
        self.world.services[Timing] = timing
        manager = TaskManager(world=self.world, moid="TaskManager")
        self.world.services[TaskManager] = manager
        with self.world.commit() as tx:
            tx.add(manager)
        self.built: Inventory = build_inventory(self.world, **size)
        self.commits = []
        self.world.observe(self.commits.append)

    @property
    def call(self):
        return SimpleNamespace(user="tester", world=self.world)

    async def run(self, entity, method, **arguments):
        """Call an operation; a task is awaited and its result given."""
        result = type(entity).operations[method].function(entity, self.call, **arguments)
        if hasattr(result, "__await__"):
            result = await result
        return await result.done() if getattr(result, "wsdl", "") == "Task" else result

    @property
    def events(self):
        return [
            event for done in self.commits for event in done.events if type(event).__name__ != "vim.event.TaskEvent"
        ]

    @property
    def event_names(self):
        return [type(event).__name__.removeprefix("vim.event.") for event in self.events]


@pytest.fixture
async def lab():
    return Lab(timing=Timing.instant(), hosts=3, clusters=1, vms=6)


@pytest.fixture
async def slow_lab():
    """Realistic durations, for tests in virtual time."""
    return Lab(timing=Timing.real(), hosts=3, clusters=1, vms=6)
