"""What the manager is given alive: caches that tell of changes, and the registration that is kept so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from contrail_vsphere.contrailvm.deeds import VmEvent
from contrail_vsphere.model.eam import Agency, EamFeatures
from contrail_vsphere.model.ids import AgencyId, HostId


class LiveAgencies(Protocol):
    """The cache of our agencies (``vsphere.eam.cache.EamCache``)."""

    error: str
    """Why EAM did not answer the last time; empty when it did."""
    whole_reads: int
    """How often all agencies were read, every EsxAgent of them."""

    @property
    def agencies(self) -> Mapping[AgencyId, Agency]:
        """As last read."""
        ...

    @property
    def features(self) -> EamFeatures:
        """What this EAM can do."""
        ...

    @property
    def healthy(self) -> bool:
        """All agencies were read, and EAM answered the last time."""
        ...

    def subscribe(self, subscriber: Callable[[AgencyId, Agency | None, Agency | None], None]) -> Callable[[], None]:
        """Be told of every read of an agency, changed or not, before and after; returns the way to stop."""
        ...

    def nudge(self, agency: AgencyId | None = None) -> None:
        """Read an agency (None: all) very soon."""
        ...

    def hint(self, host: HostId | None = None) -> None:
        """Read very soon what a happening on a host (None: somewhere) may have changed."""
        ...

    def fold(self, agency: Agency) -> None:
        """Take in an agency that an action read on its way; subscribers are told."""
        ...


class TellsEvents(Protocol):
    """``vsphere.events.EventTail``; events only say "look again", none may be relied on."""

    def subscribe(self, subscriber: Callable[[VmEvent], None]) -> Callable[[], None]:
        """Be told of every event; returns the way to stop."""
        ...


class KeepsAlive(Protocol):
    """``contrailvm.registration.Registration``."""

    async def heartbeat(self) -> None:
        """Tell vCenter that we are alive; NotFound when our extension is gone."""
        ...
