"""Tells vCenter what an operator has to act on, as events of our extension on the host or VM concerned.

A trouble is told once it has lasted, and once more when it is over; an alarm in vCenter can be bound to the two types.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime

from contrail_vsphere.model.ids import VmId
from contrail_vsphere.vcenter_plugin.doors import VSphereView
from contrail_vsphere.vcenter_plugin.observed import Observed
from contrail_vsphere.vcenter_plugin.troubles import Trouble
from contrail_vsphere.vsphere.own_events import EventPoster, own_event

DEGRADED, HEALTHY = "pluginDegraded", "pluginHealthy"
"""Last parts of the events' types; the first is our extension's key."""
PERIOD = 15.0
"""Seconds between two looks."""
LASTING = 60.0
"""Seconds that a trouble must last before it is told."""
AT_ONCE = 20
"""Told at one look; of more only the number is, so that an outage does not bury vCenter's history."""


class Herald:
    """``look`` gives the present troubles; ``key`` is the extension's, ``now`` aware UTC times."""

    def __init__(
        self,
        poster: EventPoster,
        *,
        key: str,
        look: Callable[[], Iterable[Trouble]],
        observed: Observed,
        now: Callable[[], datetime],
    ) -> None:
        self._poster = poster
        self._key = key
        self._look = look
        self._observed = observed
        self._now = now
        self._since: dict[str, float] = {}
        self._told: dict[str, Trouble] = {}
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
        while True:
            await asyncio.sleep(PERIOD)
            self.tell(asyncio.get_running_loop().time())

    def tell(self, at: float) -> None:
        """Look, and tell what has lasted and what is over; ``at``: seconds of any one clock."""
        present = {trouble.key: trouble for trouble in self._look()}
        for key in self._since.keys() - present.keys():
            del self._since[key]
            over = self._told.pop(key, None)
            if over is not None:
                self._post(HEALTHY, over, f"no longer so: {over.text}")
        fresh = []
        for key, trouble in present.items():
            if at - self._since.setdefault(key, at) >= LASTING and key not in self._told:
                fresh.append(trouble)
        for trouble in fresh[:AT_ONCE]:
            self._told[trouble.key] = trouble
            self._post(DEGRADED, trouble, trouble.text)
        if len(fresh) > AT_ONCE:
            more = Trouble("more", f"and {len(fresh) - AT_ONCE} more: contrail-vsphere plugin status")
            self._post(DEGRADED, more, more.text)

    def _post(self, kind: str, trouble: Trouble, text: str) -> None:
        view: VSphereView = self._observed.vsphere
        vm = self._vm_of(trouble)
        host = view.hosts.get(trouble.host) if trouble.host is not None else None
        event = own_event(
            f"{self._key}.{kind}",
            f"Contrail: {text}",
            severity="warning" if kind == DEGRADED else "info",
            at=self._now(),
            arguments={"what": trouble.key, "reason": text},
            host=host,
            vm=view.vms.get(vm) if vm is not None else None,
        )
        self._poster.post(event)

    def _vm_of(self, trouble: Trouble) -> VmId | None:
        found = self._observed.index.vms_of.get(trouble.vm, ()) if trouble.vm is not None else ()
        return min(found, default=None)
