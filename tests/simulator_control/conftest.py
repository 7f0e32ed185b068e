"""A simulator without guests and sockets of its own clock, and the ways tests call it."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from contrail_vsphere.simulator.core.clock import Clock
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.wire.soap.fault import SoapFault

START = datetime(2030, 1, 1, tzinfo=UTC)


def simulator(**options):
    """One whose times are the same in every run."""
    defaults = {"hosts": 3, "vms": 4, "guests": False, "timing": Timing.instant(), "clock": Clock(START)}
    return VCenterSimulator(**{**defaults, **options})


@pytest.fixture
async def lab():
    """A started simulator that takes no time for anything."""
    async with simulator() as running:
        yield running
    assert not running.world.defects


@pytest.fixture
def make_simulator():
    return simulator


@pytest.fixture
def run():
    """Calls an operation as a client would; tasks are awaited."""

    async def call(entity, method, **arguments):
        context = SimpleNamespace(user="tester", world=entity.world)
        result = type(entity).operations[method].function(entity, context, **arguments)
        if hasattr(result, "__await__"):
            result = await result
        return await result.done() if getattr(result, "wsdl", "") == "Task" else result

    return call


@pytest.fixture
def refused():
    async def check(awaitable, kind):
        with pytest.raises(SoapFault) as caught:
            await awaitable
        assert caught.value.kind == kind, caught.value
        return caught.value.fault

    return check


@pytest.fixture
def events():
    """Names of the events since a position, without those of tasks."""

    def since(vcenter, position=0):
        found = (type(item.event).__name__ for _, item in vcenter.events.between(position, vcenter.events.end))
        return [name.removeprefix("vim.event.") for name in found if not name.startswith("vim.event.Task")]

    return since
