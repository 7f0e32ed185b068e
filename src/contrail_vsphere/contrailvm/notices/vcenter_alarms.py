"""Alarms of vCenter under our extension: red on the host, cluster or vCenter they are about, green when all is well.

What is red in vCenter is compared with
what stands, as everything else is: after a restart, a lost event, or a hand that cleared one, they agree again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from contrail_vsphere.contrailvm.account import Account
from contrail_vsphere.contrailvm.notices.alarm_kinds import (
    ATTENTION,
    BRAKE,
    CERTIFICATE,
    CLUSTER,
    FORWARDING,
    HOLD,
    KINDS,
    ROLLOUT,
)
from contrail_vsphere.contrailvm.notices.certificate_alarms import CERTIFICATES
from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.vsphere.alarms import TARGETS, AlarmDefinition, Ensured
from contrail_vsphere.vsphere.own_events import EventPoster, own_event

PERIOD: Final = 15.0
"""Seconds between two comparisons with what we know to be red."""
REREAD: Final = 3600.0
"""Seconds after which vCenter is asked what is red there."""
DEADLINE: Final = 60.0
ROOT: Final = "group-d1"
"""The root folder of every vCenter."""

_LOG = logging.getLogger(__name__)


Standing = Mapping[tuple[str, str], str]
"""Why, by the alarm's name and the id of the object it is red on."""


class AlarmBoard(Protocol):
    """``vsphere.alarms.Alarms``."""

    async def ensure(self, definitions: Sequence[AlarmDefinition]) -> Ensured:
        """Have them all in vCenter."""
        ...

    async def raised(self, definitions: Sequence[AlarmDefinition]) -> Mapping[str, frozenset[str]]:
        """On which objects each is red now."""
        ...


def standing(account: Account) -> Standing:
    """What is to be red now. From what was told, so that an alarm lasts through a restart as its events do."""
    found: dict[tuple[str, str], str] = {}
    for key, alarms in account.notebook.told_alarms.items():
        for each in alarms:
            if key == CERTIFICATES:
                found.setdefault((CERTIFICATE.name, ROOT), each.reason)
            elif each.host is None:
                kind = ROLLOUT if each.cause == "rollout.stopped" else CLUSTER
                found.setdefault((kind.name, key.cluster), each.reason)
            else:
                kind = FORWARDING if each.cause.startswith("vrouter.") else ATTENTION
                found.setdefault((kind.name, each.host), each.reason)
    for key in account.notebook.desired:
        for host, record in account.notebook.memory(key).hosts.items():
            if record.hold is not None:
                found[HOLD.name, host] = record.hold.reason
    if account.brake.state.engaged:
        found[BRAKE.name, ROOT] = account.brake.state.reason
    return found


class VCenterAlarms:
    """``look`` gives what is to be red; ``leave`` raises where another process leads. ``now`` gives aware UTC times."""

    def __init__(
        self,
        board: AlarmBoard,
        *,
        solution_id: str,
        look: Callable[[], Standing],
        poster: EventPoster,
        leave: Callable[[], Awaitable[None]],
        now: Callable[[], datetime],
    ) -> None:
        self._board = board
        self._definitions = {each.name: each.definition(solution_id) for each in KINDS}
        self._look = look
        self._poster = poster
        self._leave = leave
        self._now = now
        self._shown: set[tuple[str, str]] = set()
        self._read_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to compare."""
        self._task = asyncio.create_task(self._run(), name="contrailvm:vcenter-alarms")

    async def stop(self) -> None:
        """Compare no more; what is red stays so."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def compare(self) -> None:
        """Post what raises, and what calms, the difference."""
        at = asyncio.get_running_loop().time()
        if at >= self._read_at + REREAD:
            await self._read()
            self._read_at = at
        wanted = self._look()
        for mark in sorted(wanted.keys() - self._shown):
            self._post(mark, self._definitions[mark[0]].red, wanted[mark])
        for mark in sorted(self._shown - wanted.keys()):
            self._post(mark, self._definitions[mark[0]].green, "no longer so")
        self._shown = set(wanted)

    async def _read(self) -> None:
        definitions = tuple(self._definitions.values())
        await self._leave()
        async with asyncio.timeout(DEADLINE):
            written = await self._board.ensure(definitions)
            raised = await self._board.raised(definitions)
        for name in written.foreign:
            _LOG.warning("alarm %r in vCenter is not ours: it is left alone, and ours is not shown", name)
        self._shown = {(name, entity) for name, entities in raised.items() for entity in entities}

    def _post(self, mark: tuple[str, str], events: Iterable[str], reason: str) -> None:
        name, entity = mark
        target: Any = TARGETS[self._definitions[name].target]
        for event in events:
            raises = event in self._definitions[name].red
            self._poster.post(
                own_event(
                    event,
                    f"{name}: {reason}",
                    severity="warning" if raises else "info",
                    at=self._now(),
                    arguments={"reason": reason},
                    about=target(entity),
                )
            )

    async def _run(self) -> None:
        while True:
            try:
                await self.compare()
            except (ContrailVsphereError, TimeoutError) as error:
                _LOG.info("vCenter's alarms are not compared: %s", error or "the deadline passed")
            await asyncio.sleep(PERIOD)
