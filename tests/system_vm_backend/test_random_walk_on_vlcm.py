"""Random days of a cluster whose ContrailVMs vLCM keeps: mischief, upgrades, dead managers; left alone, all is well.

The scene itself watches every commit: never two ContrailVMs running on a host, no maintenance by us, nothing foreign
touched. At the end of a day every host in service has one healthy ContrailVM of the version that is in force. Days on
vCenter 9.0 and 9.1; the walk across the simulator's switches, with faults of the REST API, a foreign solution as
neighbour, hosts in every trouble and deaths of the manager at any act, also between an apply and its answer, is that of
``tests/walk``, on clusters of both keepers.
"""

from contextlib import suppress
from random import Random

import pytest

from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.simulator.core.faults import FaultRule
from contrail_vsphere.simulator.vcenter import vm_snapshots

pytestmark = pytest.mark.looptime
STEPS = 8


class Day:
    """One step at a time; ``wanted`` is the version that is in force."""

    def __init__(self, lab, chance):
        self.lab, self.chance = lab, chance
        self.away: set[str] = set()
        self.added = 0

    def machine(self):
        return self.chance.choice(self.lab.contrailvms() or [None])

    async def step(self) -> str:
        verb = self.chance.choice(
            ("power_off", "delete", "snapshot", "lose", "join", "upgrade", "rollback", "settings", "deaf", "crash")
        )
        await getattr(self, verb)()
        await self.lab.pass_time(self.chance.choice((1, 10, 60, 400)))
        return verb

    async def power_off(self):
        vm = self.machine()
        if vm is not None and vm.power_state == "poweredOn" and vm.host.connection_state == "connected":
            await self.lab.scenario.power_off(vm)

    async def delete(self):
        vm = self.machine()
        if vm is not None and vm.host.connection_state == "connected":
            await self.lab.scenario.delete_vm(vm)

    async def snapshot(self):
        vm = self.machine()
        if vm is not None and vm.host.connection_state == "connected" and not vm.snapshots:
            await vm_snapshots.create(vm, name="s", description="", memory=False, quiesce=False, user="ann", chain=0)

    async def lose(self):
        name = self.chance.choice([host.name for host in self.lab.in_service()] or [""])
        if name and not self.away:
            await self.lab.scenario.disconnect_host(name)
            self.away.add(name)

    async def join(self):
        if self.added < 2:
            self.added += 1
            await self.lab.scenario.add_host(f"esx-new-{self.added}")

    async def upgrade(self):
        with suppress(ContrailVsphereError):
            await self.lab.upgrade(self.chance.choice(("1.0.0", "1.1.0")), force=True)

    async def rollback(self):
        with suppress(ContrailVsphereError):
            self.lab.manager.operator.upgrades.rollback("dc1", by="tester")

    async def settings(self):
        version = next(iter(self.lab.manager.notebook.desired.values())).package.version
        address = self.chance.choice(("127.0.0.1", "127.0.0.9"))
        text = self.lab.text.replace('controllers = ["127.0.0.1"]', f'controllers = ["{address}"]')
        with suppress(ContrailVsphereError):
            self.lab.apply(text, version=version)

    async def deaf(self):
        """The next ContrailVM that boots has no controller."""
        self.lab.vcenter.faults.add(FaultRule(point="vrouter.connect", drop=True, times=1))

    async def crash(self):
        await self.lab.suspend_resume_manager(self.chance.choice((1, 30, 900)))

    async def evening(self) -> None:
        """Hosts are back, faults are over, the operator lets go of what is on hold and goes on with what is stopped."""
        for name in self.away:
            await self.lab.scenario.reconnect_host(name)
        self.lab.vcenter.faults.clear()
        for _ in range(8):
            self.lab.manager.operator.release()
            self.lab.manager.operator.upgrades.resume("dc1")
            await self.lab.pass_time(1800)
            if self.well():
                return
        raise AssertionError(self.lab.describe())

    def well(self) -> bool:
        lab = self.lab
        (desired,) = lab.manager.notebook.desired.values()
        rollout = lab.rollout()
        over = rollout is None or not rollout.active
        return over and lab.healed() and lab.converged() and set(lab.versions().values()) == {desired.package.version}


async def day(scene, seed) -> None:
    chance = Random(seed)
    async with scene(hosts=3, profile=chance.choice(("vc90", "vc91"))) as lab:
        today = Day(lab, chance)
        done = [await today.step() for _ in range(STEPS)]
        try:
            await today.evening()
        except AssertionError as late:
            raise AssertionError(f"seed {seed}: {done}\n{late}") from None
        assert set(lab.kept_by().values()) == {"vLCM"}


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_happens_to_vlcm_all_becomes_well(scene, seed):
    await day(scene, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 150))
async def test_many_days_on_vlcm(scene, seed):
    await day(scene, seed)
