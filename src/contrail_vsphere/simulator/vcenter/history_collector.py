"""What event and task collectors share: a cursor over a history, and a latest page that is shown now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.entity import managed_property, operation
from contrail_vsphere.simulator.core.session import Session, SessionObject, session_of
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter.update_stream import UpdateStreams
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vim, vmodl

MAX_PAGE = 1000
MAX_COLLECTORS = 32


@dataclass(slots=True, eq=False, kw_only=True)
class HistoryCollector(SessionObject):
    """Base. ``latestPage`` is coalesced as on vCenter: a burst shows only what is newest when it is over."""

    wsdl: ClassVar[str] = "HistoryCollector"
    volatile: ClassVar[frozenset[str]] = frozenset({"latestPage"})

    filter_spec: Any = field(repr=False)
    page_size: int = 10
    stop: Callable[[], None] | None = field(default=None, repr=False)
    _timer: asyncio.TimerHandle | None = field(default=None, repr=False)
    _shown_at: float = float("-inf")

    @managed_property("filter")
    def filter(self) -> Any:
        return self.filter_spec

    @operation("SetCollectorPageSize")
    def set_page_size(self, call: Call, maxCount: int) -> None:
        """Of the latest page: 10 without it, 1000 at most."""
        if maxCount <= 0:
            raise SoapFault(vmodl.fault.InvalidArgument(invalidProperty="maxCount"), "Must be positive.")
        self.page_size = min(maxCount, MAX_PAGE)
        self._show()

    @operation("RewindCollector")
    def rewind(self, call: Call) -> None:
        """To the oldest item."""
        self.to_oldest()

    @operation("ResetCollector")
    def reset(self, call: Call) -> None:
        """To just before the latest page."""
        self.to_latest_page()

    @operation("DestroyCollector")
    def destroy_collector(self, call: Call) -> None:
        session_of(call).drop(self)

    def to_oldest(self) -> None:
        raise NotImplementedError

    def to_latest_page(self) -> None:
        raise NotImplementedError

    def news(self) -> None:
        """Something was added: show it, at once after a quiet time, else when the interval is over."""
        if self._timer is not None or not self._watched():
            return
        loop = asyncio.get_running_loop()
        due = self._shown_at + self.world.service(Timing).latest_page
        self._timer = loop.call_later(max(0.0, due - loop.time()), self._show)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.stop is not None:
            self.stop()
            self.stop = None

    def _watched(self) -> bool:
        streams = self.session.part(UpdateStreams).by_collector.values()
        return any(self.moid in item.members for stream in streams for item in stream.filters.values())

    def _show(self) -> None:
        self._timer = None
        self._shown_at = asyncio.get_running_loop().time()
        with self.world.commit() as tx:
            tx.touch(self, "latestPage")


def check_room(session: Session) -> None:
    """A session has at most 32 collectors."""
    if sum(isinstance(item, HistoryCollector) for item in session.objects.values()) >= MAX_COLLECTORS:
        raise SoapFault(vim.fault.InvalidState(), "The maximum number of history collectors has been reached.")


def page_of(maximum: int) -> int:
    """A caller's maxCount, checked."""
    if maximum <= 0:
        raise SoapFault(vmodl.fault.InvalidArgument(invalidProperty="maxCount"), "Must be positive.")
    return min(maximum, MAX_PAGE)
