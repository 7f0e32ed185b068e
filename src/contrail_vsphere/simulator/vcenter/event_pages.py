"""Pages of events as one user sees them: events about objects that are hidden from the user are left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.vcenter import sight
from contrail_vsphere.simulator.vcenter.service_switches import Switches
from contrail_vsphere.wire.soap.shapes import ManagedObject

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.entity import Entity
    from contrail_vsphere.simulator.core.session import Session
    from contrail_vsphere.simulator.core.world import World
    from contrail_vsphere.simulator.vcenter.event_manager import Recorded

SUBJECTS = ("vm", "net", "dvs", "ds", "host", "entity", "computeResource", "datacenter")
"""Arguments of events, what is most particular first."""

Placed = tuple[int, "Recorded"]
"""An event and its position in the history."""


def page(items: Iterable[Placed], most: int, *, world: World, session: Session | None) -> tuple[list[Any], int | None]:
    """Events of the next page in their order, and the position of the last one that was looked at (None: none was).

    Whether a page is cut before or after hidden events are taken out of it is a switch.
    """
    sees = _sight(world, session)
    if Switches.of(world).restricted_event_pages == "filtered_first":
        items = (item for item in items if sees(item[1]))
    taken = list(islice(items, most))
    return [item.event for _, item in taken if sees(item)], taken[-1][0] if taken else None


def _sight(world: World, session: Session | None) -> Callable[[Recorded], bool]:
    """An event is about the first object that it names and that still exists; who sees that sees the event."""
    if not sight.restricted(world, session):
        return lambda item: True
    sees = sight.sight(world, session)

    def seen(item: Recorded) -> bool:
        arguments = (getattr(item.event, name, None) for name in SUBJECTS)
        subject = next((found for each in arguments if (found := _named(world, each)) is not None), None)
        return subject is None or sees(subject)

    return seen


def _named(world: World, argument: Any) -> Entity | None:
    """The object of an event argument, while it is there."""
    values = argument.__dict__.values() if argument is not None else ()
    reference = next((value for value in values if isinstance(value, ManagedObject)), None)
    return world.get(reference._moId) if reference is not None else None
