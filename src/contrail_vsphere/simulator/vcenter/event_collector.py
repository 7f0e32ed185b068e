"""Event history collectors: cursors that deliver every matching event exactly once, as long as the history has it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar

from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.entity import managed_property, operation
from contrail_vsphere.simulator.core.session import session_of
from contrail_vsphere.simulator.core.world import Committed
from contrail_vsphere.simulator.vcenter.event_manager import EventFilter, EventManager
from contrail_vsphere.simulator.vcenter.event_pages import Placed, page
from contrail_vsphere.simulator.vcenter.history_collector import HistoryCollector, check_room, page_of


@dataclass(slots=True, eq=False, kw_only=True)
class EventHistoryCollector(HistoryCollector):
    """``position`` is that of the next event to read; it keeps its meaning when the history drops old events."""

    wsdl: ClassVar[str] = "EventHistoryCollector"

    history: EventManager = field(repr=False)
    wanted: EventFilter = field(repr=False)
    position: int = 0

    @classmethod
    def create(cls, call: Call, history: EventManager, wanted: EventFilter) -> EventHistoryCollector:
        """A collector at its oldest event."""
        session = session_of(call)
        check_room(session)
        made = cls(
            world=call.world,
            moid=session.new_id(""),
            session=session,
            filter_spec=wanted.spec,
            history=history,
            wanted=wanted,
        )
        made.stop = call.world.observe(made._on_commit)
        return session.add(made)

    @managed_property("latestPage")
    def latest_page(self) -> list[Any]:
        """Newest first."""
        behind = self._matching(self.history.backwards(self.history.end))
        return page(behind, self.page_size, world=self.world, session=self.session)[0]

    @managed_property("initialized")
    def initialized(self) -> bool:
        return True

    @operation("ReadNextEvents")
    def read_next(self, call: Call, maxCount: int) -> list[Any]:
        """The next newer events, oldest first; nothing at the end."""
        ahead = self._matching(self.history.between(self.position, self.history.end))
        found, last = page(ahead, page_of(maxCount), world=self.world, session=self.session)
        if last is not None:
            self.position = last + 1
        return found

    @operation("ReadPreviousEvents")
    def read_previous(self, call: Call, maxCount: int) -> list[Any]:
        """The next older events, newest first; nothing at the beginning."""
        behind = self._matching(self.history.backwards(self.position))
        found, last = page(behind, page_of(maxCount), world=self.world, session=self.session)
        if last is not None:
            self.position = last
        return found

    def to_oldest(self) -> None:
        self.position = 0

    def to_latest_page(self) -> None:
        self.position = self.history.end
        behind = self._matching(self.history.backwards(self.history.end))
        for position, _ in islice(behind, self.page_size):
            self.position = position

    def _matching(self, events: Iterable[Placed]) -> Iterable[Placed]:
        return ((position, item) for position, item in events if self.wanted.matches(item))

    def _on_commit(self, done: Committed) -> None:
        if done.events:
            self.news()
