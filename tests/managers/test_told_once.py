"""What was told in vCenter is not told again by the next process, and what ended meanwhile is told to be over."""

from contextlib import asynccontextmanager

import pytest
from scene import Scene

pytestmark = pytest.mark.looptime


@asynccontextmanager
async def with_an_alarm(directory):
    """A host whose ContrailVM cannot be powered on; the fault that does it."""
    async with Scene(directory, hosts=2) as lab:
        fault = lab.fault(
            point="eam.power_on", where={"host": "esx-01"}, fault="GenericVmConfigFault", fields={"reason": "no device"}
        )
        await lab.scenario.power_off(lab.on("esx-01"))
        await lab.until(lambda: told(lab, "degraded"), seconds=120)
        yield lab, fault


def told(lab, kind):
    """Events about the alarm in vCenter's own history."""
    return [event for event in lab.told_in_vcenter(kind) if "no device" in event.message]


async def test_an_alarm_that_stands_is_told_once_through_three_restarts(tmp_path):
    async with with_an_alarm(tmp_path) as (lab, _fault):
        for _ in range(3):
            await lab.suspend_resume_manager(5)
            await lab.until(lambda: "no device" in lab.alarms("esx-01"), seconds=120)
            await lab.pass_time(60)
        assert len(told(lab, "degraded")) == 1 and not told(lab, "healthy")


async def test_an_alarm_that_ended_after_a_restart_is_over_once(tmp_path):
    async with with_an_alarm(tmp_path) as (lab, fault):
        await lab.crash()
        lab.vcenter.faults.remove(fault)
        await lab.scenario.power_on(lab.on("esx-01"))
        await lab.resume()
        await lab.heals(seconds=1300)
        await lab.until(lambda: told(lab, "healthy"), seconds=300)
        await lab.suspend_resume_manager(5)
        await lab.pass_time(200)
        assert len(told(lab, "healthy")) == 1 and len(told(lab, "degraded")) == 1
