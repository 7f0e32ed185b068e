"""What EAM last said, kept fresh without a stream: EAM has none, so it is asked.

Every ``interval`` seconds one cheap call per agency (``AgencyQueryRuntime``); it is read whole only while it is not
steadily green, and now and then, so that a quiet estate costs one call per agency and cycle. Whoever learns earlier
that something happened tells: ``hint`` has the EsxAgents of a host read again, ``nudge`` a whole agency.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from contrail_vsphere.model.eam import Agency, EamFeatures, Issue
from contrail_vsphere.model.errors import ContrailVsphereError, NotFound, TransientError
from contrail_vsphere.model.ids import AgencyId, HostId

_LOG = logging.getLogger(__name__)

INTERVAL = 30.0
"""Seconds between two polls."""
WHOLE_INTERVAL = 300.0
"""Seconds after which a green agency is read whole all the same: its colour does not tell of every change."""
BUSY_INTERVAL = 5.0
"""Seconds between two reads of an agency that EAM is working on: hooks show nowhere else."""
SLACK = 0.01
"""Seconds by which a timer may fire early: a poll due within them is due, or the loop would spin."""
GATHER = 0.2
"""Seconds a nudge waits for more of its kind; a reconfiguration is several property updates."""

Subscriber = Callable[[AgencyId, Agency | None, Agency | None], None]
"""Called with before and after on each read of an agency, changed or not (repetition is evidence); None: it is gone."""


class ReadsAgencies(Protocol):
    """``EamClient``, or what gives something else as agencies (``vsphere.system_vm``)."""

    @property
    def features(self) -> EamFeatures:
        """What the service can do."""
        ...

    async def agency_ids(self) -> tuple[AgencyId, ...]:
        """All there are."""
        ...

    async def read_agency(self, agency: AgencyId) -> Agency:
        """One of them whole; ``NotFound`` once it is gone."""
        ...

    async def refresh_agency(self, before: Agency, *, hosts: Collection[HostId], unsettled: bool) -> Agency:
        """One of them with what may have changed read again."""
        ...

    async def agency_status(self, agency: AgencyId) -> tuple[str, str, tuple[Issue, ...]]:
        """Status, goal state and all issues: cheap."""
        ...


def _works(agency: Agency) -> bool:
    """EAM is at work on it. One that is merely red waits for somebody else, for hours perhaps."""
    return agency.status == "yellow" or any(agent.status == "yellow" for agent in agency.agents)


class EamCache:
    """The agencies of one solution as last read; ``name`` is what the log calls the service."""

    def __init__(
        self, client: ReadsAgencies, *, solution_id: str, interval: float = INTERVAL, name: str = "EAM"
    ) -> None:
        self._client = client
        self._name = name
        self._solution_id = solution_id
        self._interval = interval
        self._agencies: dict[AgencyId, Agency] = {}
        self._reads: dict[AgencyId, int] = {}
        self._foreign: set[AgencyId] = set()
        """Agencies of other solutions: a solution never changes, so they are read once."""
        self._nudged: set[AgencyId | None] = set()
        self._hinted: set[HostId | None] = set()
        self._whole_at: dict[AgencyId, float] = {}
        self._unsettled_at = float("-inf")
        """When the EsxAgents that EAM is working on were last read, all of them."""
        self._wake = asyncio.Event()
        self._subscribers: list[Subscriber] = []
        self._task: asyncio.Task[None] | None = None
        self._whole = asyncio.Event()
        self.error = ""
        """Why the last poll failed; empty while EAM answers."""
        self.polls = 0
        self.whole_reads = 0
        """How often all agencies were read, every EsxAgent of them."""

    @property
    def agencies(self) -> Mapping[AgencyId, Agency]:
        """By id."""
        return self._agencies

    @property
    def features(self) -> EamFeatures:
        """What this EAM can do."""
        return self._client.features

    @property
    def healthy(self) -> bool:
        """All agencies have been read at least once, and the last poll succeeded."""
        return self._whole.is_set() and not self.error

    def reads(self, agency: AgencyId) -> int:
        """How many reads in a row showed the agency as it is now: one read alone is not believed where acting hurts."""
        return self._reads.get(agency, 0)

    async def ready(self) -> None:
        """Return once all agencies have been read."""
        await self._whole.wait()

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Be told of every read; returns the way to stop."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def nudge(self, agency: AgencyId | None = None) -> None:
        """Read one agency, or with None all, very soon; any number of nudges until then cost one read."""
        self._nudged.add(agency)
        self._wake.set()

    def hint(self, host: HostId | None = None) -> None:
        """Something happened on a host (None: somewhere): read again, very soon, what it may have changed."""
        self._hinted.add(host)
        self._wake.set()

    def fold(self, agency: Agency) -> None:
        """Take in an agency that somebody else just read."""
        before = self._agencies.get(agency.id)
        self._agencies[agency.id] = agency
        self._reads[agency.id] = self._reads.get(agency.id, 0) + 1 if before == agency else 1
        self._tell(agency.id, before, agency)

    def start(self, solution_id: str = "") -> None:
        """Begin to poll, at once; the agencies of that solution (empty: as constructed, and then of everybody)."""
        self._solution_id = solution_id or self._solution_id
        self._nudged.add(None)
        self._wake.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="eam-cache")

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    # -- inside -------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        polled = float("-inf")
        while True:
            busy = any(map(_works, self._agencies.values())) or bool(self.error)
            due = polled + self._interval
            pause = due - loop.time()
            if busy:
                pause = min(pause, max(self._unsettled_at, polled) + BUSY_INTERVAL - loop.time())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, pause)):
                    await self._wake.wait()
                    await asyncio.sleep(GATHER if self._whole.is_set() else 0)
            nudged, self._nudged = self._nudged, set()
            hinted, self._hinted = self._hinted, set()
            self._wake.clear()
            everything = None in nudged or loop.time() >= due - SLACK or bool(self.error)
            try:
                if everything:
                    polled = loop.time()
                    await self._poll(whole=None in nudged)
                else:
                    await self._read_again({each for each in nudged if each is not None}, hinted)
                self.error = ""
            except ContrailVsphereError as error:
                # Whatever it is, EAM is asked for the same again; how long it has been so shows in the health.
                self._nudged |= nudged
                self._hinted |= hinted
                if not self.error:
                    _LOG.log(
                        logging.INFO if isinstance(error, TransientError) else logging.WARNING,
                        "%s: %s",
                        self._name,
                        error,
                    )
                self.error = str(error)

    async def _poll(self, *, whole: bool) -> None:
        """Which agencies there are, and each of them: cheaply where it is steadily green."""
        self.polls += 1
        existing = [each for each in await self._client.agency_ids() if each not in self._foreign]
        for gone in [each for each in self._agencies if each not in existing]:
            self._drop(gone)
        results = await asyncio.gather(*(self._refresh(each, whole=whole) for each in existing), return_exceptions=True)
        self._raise_first(results)
        self._whole.set()
        self.whole_reads += whole

    async def _read_again(self, nudged: set[AgencyId], hinted: set[HostId | None]) -> None:
        """Whole the agencies that were nudged; of the hinted and those EAM is working on what may have changed."""
        now = asyncio.get_running_loop().time()
        known = {agent.host for each in self._agencies.values() for agent in each.agents}
        anywhere = not hinted <= known - {None}
        unsettled = anywhere or now >= self._unsettled_at + BUSY_INTERVAL - SLACK
        if unsettled:
            self._unsettled_at = now
        hosts = {each for each in hinted if each is not None}
        partly = [
            each
            for each in self._agencies.values()
            if each.id not in nudged
            and (
                (unsettled and _works(each))
                or (hinted and (anywhere or any(agent.host in hosts for agent in each.agents)))
            )
        ]
        results = await asyncio.gather(
            *(self._refresh(each, whole=True) for each in sorted(nudged)),
            *(self._refresh_partly(each, hosts, unsettled=unsettled) for each in partly),
            return_exceptions=True,
        )
        self._raise_first(results)

    async def _refresh_partly(self, before: Agency, hosts: Collection[HostId], *, unsettled: bool) -> None:
        try:
            agency = await self._client.refresh_agency(before, hosts=hosts, unsettled=unsettled)
        except NotFound:
            self._drop(before.id)
            return
        self.fold(agency)

    async def _refresh(self, identity: AgencyId, *, whole: bool) -> None:
        before, now = self._agencies.get(identity), asyncio.get_running_loop().time()
        due = now >= self._whole_at.get(identity, float("-inf")) + WHOLE_INTERVAL - SLACK
        try:
            if before is not None and not whole and not due:
                if before.status != "green":
                    self.fold(await self._client.refresh_agency(before, hosts=(), unsettled=True))
                    return
                status, goal, issues = await self._client.agency_status(identity)
                if (status, goal, issues) == (before.status, before.goal, before.issues):
                    self.fold(before)
                    return
            agency = await self._client.read_agency(identity)
            self._whole_at[identity] = now
        except NotFound:
            self._drop(identity)
            return
        if self._solution_id and agency.solution_id != self._solution_id:
            self._foreign.add(identity)
            return
        self.fold(agency)

    def _drop(self, identity: AgencyId) -> None:
        before = self._agencies.pop(identity, None)
        self._reads.pop(identity, None)
        self._whole_at.pop(identity, None)
        if before is not None:
            self._tell(identity, before, None)

    def _tell(self, identity: AgencyId, before: Agency | None, after: Agency | None) -> None:
        for subscriber in list(self._subscribers):
            subscriber(identity, before, after)

    @staticmethod
    def _raise_first(results: list[BaseException | None]) -> None:
        """One agency that cannot be read must not hide the others: all were read, then the first failure is told."""
        for result in results:
            if isinstance(result, BaseException):
                raise result
