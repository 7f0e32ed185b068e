"""What a second ContrailVM Manager must have in common with the first, and how the journal moves to where both read it.

Two managers are one to the outside: EAM fetches packages at one address, ContrailVMs enrol at one address with one CA.
Whoever reigns notes what it presents; one that presents something else does not take over, since that would deploy
every ContrailVM anew. A manager that stands by reads the journal now and then, to say beforehand what it would lack.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass

from contrail_vsphere.app.data_dir import MOVED, DataDirectory
from contrail_vsphere.app.standby_reader import StandbyReader
from contrail_vsphere.contrailvm.notebook import Notebook
from contrail_vsphere.engine.journal import Journal, RecordStore
from contrail_vsphere.model.errors import ContrailVsphereError, InvalidState, SettingsError

KIND = "contrailvm-face"
PERIOD = 60.0
"""Seconds between two looks at the journal of the one that leads."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Face:
    """What the outside sees of a manager; ``by`` is the candidate's name, digests are SHA-256."""

    by: str
    publish_url: str
    bootstrap_url: str
    authority: str
    """Of the CA's certificate."""
    extension: str
    """Of the certificate that logs in to vCenter."""
    publish: str = ""
    """Of the certificate that EAM pins; empty on plain HTTP."""

    def differs(self, other: Face) -> tuple[str, ...]:
        """In what a take-over by the other would be felt outside, in words."""
        found = []
        if self.publish_url != other.publish_url:
            found.append(f"packages are published at {self.publish_url}, not {other.publish_url}")
        if self.bootstrap_url != other.bootstrap_url:
            found.append(f"ContrailVMs enrol at {self.bootstrap_url}, not {other.bootstrap_url}")
        if self.authority != other.authority:
            found.append("its certificate authority is another one")
        return tuple(found)


def take_over(journal: RecordStore, mine: Face) -> None:
    """Note what we present; InvalidState if another candidate presented something else before."""
    before = _noted(journal)
    differs = before.differs(mine) if before is not None and before.by != mine.by else ()
    if before is not None and differs:
        raise InvalidState(
            f"{mine.by} is not made like {before.by}: {'; '.join(differs)}",
            hint="give both the same advertise in [publish] and [bootstrap], and the same ca directory in data_dir",
        )
    if before != mine:
        journal.put(KIND, "manager", asdict(mine))


def lacks(journal: RecordStore, mine: Face, packages: Collection[str]) -> tuple[str, ...]:
    """What would go wrong if we took over now, in words; ``packages`` are the digests published here."""
    before = _noted(journal)
    found = list(before.differs(mine)) if before is not None else []
    if before is not None and before.extension != mine.extension:
        found.append("the extension's certificate is another one: copy identities from the manager that leads")
    if before is not None and before.publish != mine.publish:
        found.append("EAM pins another publishing certificate: copy identities from the manager that leads")
    wanted = {each.package for each in Notebook(journal).desired.values() if not each.removed}
    found += [f"package {each.version} is not published here" for each in wanted if each.digest not in packages]
    return tuple(sorted(found))


async def hand_over(data: DataDirectory, journal: RecordStore, *, face: Face, path: str) -> None:
    """Begin a reign over the shared journal at ``path``: what this manager's own file holds goes there if it is empty.

    InvalidState if another candidate presented something else before.
    """
    with data.journal() as own:
        count = _move(own, journal)
        take_over(journal, face)
        await journal.durable()
        own.put(MOVED, "journal", {"path": path})
    if count:
        _LOG.info("%d records of this manager's own journal were moved to ZooKeeper at %s", count, path)


def _move(own: Journal, journal: RecordStore) -> int:
    """Once, and only where the shared one is empty: what is left behind is never taken for the present one again."""
    if own.get(MOVED, "journal") is not None or _noted(journal) is not None:
        return 0
    records = own.everything()
    with journal.transaction():
        for each in records:
            journal.put(each.kind, each.key, each.value)
    return len(records)


def own_journal(data: DataDirectory, stack: AsyncExitStack) -> Journal:
    """For a manager that acts alone; SettingsError if its journal lies in ZooKeeper since."""
    journal = stack.enter_context(data.journal())
    left = journal.get(MOVED, "journal")
    if left is not None:
        raise SettingsError(
            f"this manager's journal was moved to ZooKeeper ({left.value['path']}); what is left here is old",
            hint="set manager_path in [zookeeper], or move journal.sqlite away and begin with an empty one",
        )
    return journal


class StandbyWatch:
    """Looks while another process leads. ``problems`` is what was found last, ``leader`` who led last but us.

    ``reader`` is given each journal that is read, and has an end when we lead ourselves.
    """

    def __init__(
        self,
        *,
        journal: Callable[[], Awaitable[RecordStore]],
        face: Callable[[], Face],
        packages: Callable[[], Collection[str]],
        leads: Callable[[], bool],
        reader: StandbyReader,
    ) -> None:
        self.reader = reader
        self.leader = ""
        self._journal = journal
        self._face = face
        self._packages = packages
        self._leads = leads
        self._task: asyncio.Task[None] | None = None
        self.problems: tuple[str, ...] = ()

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="standby")

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self.reader.stop()

    async def look(self) -> None:
        """Look now."""
        before = self.problems
        if self._leads():
            self.problems = ()
            await self.reader.stop()
            return
        journal = await self._journal()
        last = _noted(journal)
        self.leader = last.by if last is not None else ""
        self.problems = lacks(journal, self._face(), self._packages())
        await self.reader.take(journal)
        for each in sorted(set(self.problems) - set(before)):
            _LOG.warning("this manager could not take over: %s", each)

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except ContrailVsphereError as error:
                self.problems = (f"the journal cannot be read: {error}",)
            await asyncio.sleep(PERIOD)


def _noted(journal: RecordStore) -> Face | None:
    record = journal.get(KIND, "manager")
    return Face(**record.value) if record is not None else None
