"""The walked site: vRouters on every host, a neighbour that is none of the plugin's business, and the way to rest."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from plugin_stand import PluginStand
from plugin_truth import PluginTruth

from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.simulator.contrail.answers import RefusedError
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.wire.soap.fault import SoapFault

REST = 2400.0
"""Virtual seconds of quiet in which everything must be well: every resync has come round by then."""
SCARCE = frozenset(range(13, 4095))


class PluginSite(PluginStand):
    """``async with``: three hosts, two networks and one whose guests bring their addresses; the plugin runs."""

    def __init__(self, directory: Path, *, switches: Mapping[str, Any], events: bool, scarce: bool) -> None:
        reserved = SCARCE if scarce else frozenset[int]()
        super().__init__(
            directory, hosts=3, switches=dict(switches), events=events, reserved_vlans=reserved, quarantine=20.0,
            brake_absolute=1000,
        )  # fmt: skip
        self.alive = False
        self.scarce = scarce
        self._doing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> PluginSite:
        await super().__aenter__()
        self.alive = True
        self.truth = PluginTruth(self, scarce=self.scarce)
        await self.carry()
        for name, prefix in (("blue", "10.1.0.0/24"), ("red", "10.2.0.0/24")):
            self.network(name, prefix)
        self.network("lab", "10.9.0.0/24,fd00:9::/64", external_ipam=True)
        network = self.contrail.scenario.find("virtual-network", "red")
        self.contrail.scenario.create_port(network, mac="02:00:00:00:00:01", creator="somebody")
        await self.until(lambda: len(self.groups()) == 3)
        self.truth.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._doing:
            task.cancel()
        await asyncio.gather(*self._doing, return_exceptions=True)
        await super().__aexit__()

    async def crash(self) -> None:
        if self.alive:
            self.alive = False
            await super().crash()

    async def revive(self) -> None:
        """Start the plugin, as a service manager does until it stays."""
        while not self.alive:
            try:
                await self.resume()
                self.alive = True
            except ContrailVsphereError as refused:
                self.told.append(f"  not started: {refused}")
                await self.abandon()
                await asyncio.sleep(5.0)

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Somebody does something; what is refused does not happen."""

        async def guarded() -> None:
            with contextlib.suppress(SoapFault, LookupError, RefusedError, ContrailVsphereError):
                await work

        task = asyncio.create_task(guarded())
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)

    # -- to rest ----------------------------------------------------------------------------------------------------

    async def rest(self, *, away: str = "") -> list[str]:
        """Mend what only people can mend, and wait; what is still wrong then. ``away``: its VRouterAgent stays dead."""
        self.truth.away = away
        self.vcenter.faults.clear()
        self.contrail.faults.clear()
        scenario = self.contrail.scenario
        scenario.lose_messages(0)
        scenario.delay_messages(0.0005)
        scenario.lose_zookeeper(lost=False)
        with contextlib.suppress(RuntimeError):
            scenario.start_broker()
        if not self.contrail.doors[0].up:
            await scenario.start_api()
        await self._mend()
        await self.revive()
        loop = asyncio.get_running_loop()
        end, calm = loop.time() + REST, 0
        while loop.time() < end:
            await asyncio.sleep(5)
            calm = calm + 1 if not self.truth.at_rest() else 0
            if calm == 3:
                return list(self.truth.broken)
        return [*self.truth.broken, *self.truth.at_rest(), "what happened:", *self.told, self.describe()]

    async def _mend(self) -> None:
        scenario, fleet = self.vcenter.scenario, self.vcenter.vrouters
        for _ in range(3):
            for host in list(self.vcenter.world.of_type(HostSystem)):
                if host.crashed:
                    self.begin(scenario.boot_host(host))
                elif host.connection_state != "connected":
                    self.begin(scenario.reconnect_host(host))
                elif host.in_maintenance:
                    self.begin(scenario.exit_maintenance(host))
            await asyncio.sleep(30)
        for name, agent in list(fleet.agents.items()):
            fleet.hang(name, hung=name == self.truth.away)
            if not agent.forwards and name != self.truth.away:
                await fleet.restart(name)
        for vm in list(self.carrier_vms):
            if vm.power_state != "poweredOn":
                self.begin(scenario.power_on(vm))
        await asyncio.sleep(5)
