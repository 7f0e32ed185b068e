"""What nobody outside VMware knows for sure about vCenter's own services, as named switches.

Sizes of pages, what a filter may name, how soon events show and to whom, how many sessions there may be: documentation
is silent or has been contradicted in the field. A client must survive every position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """Put another value into the world with ``Switches(...).install(world)``; it counts from then on."""

    keyed_paths: bool = True
    """Whether a property path may name an element of an array (``config.hardware.device[4000]``); otherwise it is
    InvalidProperty."""

    pages_above_policy: bool = False
    """Whether ``maxObjects`` and ``maxObjectUpdates`` above the page size of the simulator (100) are honoured."""

    gzip: bool = False
    """Whether long answers are compressed for clients that accept it."""

    latest_event: Literal["prompt", "late", "never"] = "prompt"
    """When a filter on ``EventManager.latestEvent`` is told: with the event, as seldom as of a collector's
    ``latestPage``, or not at all."""

    restricted_event_pages: Literal["cut_first", "filtered_first"] = "cut_first"
    """A user does not see all objects: a page of events is cut, and then loses those about hidden objects (so that
    it may be empty although newer events exist), or only events that may be seen count."""

    alarm_updates: bool = False
    """Whether filters are told of changes of ``triggeredAlarmState`` and ``declaredAlarmState``; otherwise they show
    in a fresh read only."""

    most_sessions: int = 0
    """Sessions at a time; a further login is answered by HTTP 503. 0: no limit."""

    def install(self, world: World) -> None:
        """Make these the world's."""
        world.services[Switches] = self

    @classmethod
    def of(cls, world: World) -> Switches:
        """The world's, or the defaults."""
        found: Switches = world.services.get(cls) or _DEFAULT
        return found


_DEFAULT = Switches()
