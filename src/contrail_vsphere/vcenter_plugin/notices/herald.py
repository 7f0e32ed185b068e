"""Tells vCenter what an operator has to act on: events of our extension on the object concerned, and alarms by them.

A trouble is told once it has lasted, and once more when it is over. An alarm stays up as long as anything is wrong with
its object; one that another run of ours has left up is calmed when nothing is wrong there any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.model.inventory import Dvs, Host, VirtualMachine
from contrail_vsphere.vcenter_plugin.doors import AlarmDoor
from contrail_vsphere.vcenter_plugin.notices.alarm_kinds import DEGRADED, HEALTHY, definitions
from contrail_vsphere.vcenter_plugin.notices.troubles import Trouble
from contrail_vsphere.vcenter_plugin.observed import Observed
from contrail_vsphere.vsphere.own_events import EventPoster, own_event

PERIOD = 15.0
"""Seconds between two looks."""
LASTING = 60.0
"""Seconds that a trouble must last before it is told."""
AT_ONCE = 20
"""Told at one look; of more only the number is, so that an outage does not bury vCenter's history."""
AGAIN = 600.0
"""Seconds until the alarms are tried again that could not be defined (a missing privilege, vCenter away)."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in vCenter something is told; the switch is for what is neither a host's nor a VM's."""

    host: Host | None = None
    vm: VirtualMachine | None = None
    switch: Dvs | None = None

    @property
    def id(self) -> str:
        """Its object's, empty for none."""
        found = self.vm or self.host or self.switch
        return found.id if found is not None else ""


class Herald:
    """``look`` gives the present troubles; ``key`` is the extension's, ``now`` aware UTC times."""

    def __init__(
        self,
        poster: EventPoster,
        alarms: AlarmDoor,
        *,
        key: str,
        look: Callable[[], Iterable[Trouble]],
        observed: Observed,
        now: Callable[[], datetime],
    ) -> None:
        self._poster = poster
        self._alarms = alarms
        self._key = key
        self._look = look
        self._observed = observed
        self._now = now
        self._since: dict[str, float] = {}
        self._told: dict[str, tuple[Trouble, str]] = {}
        """By key, with the object it was told on."""
        self._inherited: set[str] = set()
        """Objects on which our alarms were up when we began."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="herald")

    async def stop(self) -> None:
        """Tell no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._poster.stop()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        begun, due = loop.time(), loop.time()
        while True:
            if loop.time() >= due:
                due = float("inf") if await self._define() else loop.time() + AGAIN
            await asyncio.sleep(PERIOD)
            self.tell(loop.time())
            if loop.time() - begun > LASTING + PERIOD:
                self._calm()

    async def _define(self) -> bool:
        """Have the alarms, and see which are up; whether that went well."""
        wanted = definitions(self._key)
        try:
            done = await self._alarms.ensure(wanted)
            up = await self._alarms.raised(wanted)
        except ContrailVsphereError as error:
            _LOG.warning("the alarms in vCenter are not as they should be: %s", error)
            return False
        for name in done.foreign:
            _LOG.warning("an alarm that is not ours is called %r: ours is not defined", name)
        self._inherited = {entity for entities in up.values() for entity in entities}
        return True

    def tell(self, at: float) -> None:
        """Look, and tell what has lasted and what is over; ``at``: seconds of any one clock."""
        present = {trouble.key: trouble for trouble in self._look()}
        for key in self._since.keys() - present.keys():
            del self._since[key]
            over = self._told.pop(key, None)
            if over is not None:
                self._tell_end(*over)
        fresh = []
        for key, trouble in present.items():
            if at - self._since.setdefault(key, at) >= LASTING and key not in self._told:
                fresh.append(trouble)
        for trouble in fresh[:AT_ONCE]:
            place = self._place_of(trouble)
            self._told[trouble.key] = trouble, place.id
            self._inherited.discard(place.id)
            self._post(DEGRADED, place, trouble.key, trouble.text)
        if len(fresh) > AT_ONCE:
            text = f"and {len(fresh) - AT_ONCE} more: contrail-vsphere plugin status"
            self._post(DEGRADED, _Place(), "more", text)

    def _tell_end(self, over: Trouble, place: str) -> None:
        """Of one trouble; while its object has others, its alarm must stay up."""
        still = next((trouble for trouble, where in self._told.values() if where == place and place), None)
        text = f"no longer so: {over.text}"
        if still is None:
            self._post(HEALTHY, self._find(place), over.key, text)
        else:
            self._post(DEGRADED, self._find(place), over.key, f"{text}; but {still.text}")

    def _calm(self) -> None:
        """What a run before us has raised, and is over."""
        busy = {place for _, place in self._told.values()}
        for entity in self._inherited - busy:
            place = self._find(entity)
            if place.id:
                self._post(HEALTHY, place, "start", "what was told here before the plugin was started again is over")
        self._inherited = set()

    def _post(self, kind: str, place: _Place, what: str, text: str) -> None:
        event = own_event(
            f"{self._key}.{kind}",
            f"Contrail: {text}",
            severity="warning" if kind == DEGRADED else "info",
            at=self._now(),
            arguments={"what": what, "reason": text},
            host=place.host,
            vm=place.vm,
            switch=place.switch,
        )
        self._poster.post(event)

    def _place_of(self, trouble: Trouble) -> _Place:
        view = self._observed.vsphere
        vms = self._observed.index.vms_of(trouble.vm) if trouble.vm is not None else ()
        if vms:
            return _Place(vm=view.vms.get(min(vms)))
        if trouble.host is not None:
            return _Place(host=view.hosts.get(trouble.host))
        switches = sorted(self._observed.switches().values(), key=lambda dvs: dvs.id)
        return _Place(switch=switches[0] if switches else None)

    def _find(self, entity: str) -> _Place:
        """The object as it is now; none if it is gone, and its alarms with it."""
        view = self._observed.vsphere
        return _Place(
            host=next((host for host in view.hosts.values() if host.id == entity), None),
            vm=next((vm for vm in view.vms.values() if vm.id == entity), None),
            switch=next((dvs for dvs in view.dvss.values() if dvs.id == entity), None),
        )
