"""Port groups that stand for Contrail networks: what they must be like, and how one is recognised.

What a port group stands for is written into it twice: in ``vendorSpecificConfig``, which people do not see and programs
read, and in its description, which people read.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from contrail_vsphere.model.inventory import Network

MARK = "contrail.vn-uuid"
"""Key of the blob in ``vendorSpecificConfig`` whose data is the network's uuid."""


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """A port group as it should be. ``name`` as sent: escaped."""

    name: str
    network: UUID

    @property
    def description(self) -> str:
        """For people."""
        return f"contrail vn {self.network}"


def marked_network(group: Network) -> UUID | None:
    """The Contrail network that a port group stands for; None if it does not bear our mark."""
    try:
        return UUID(group.blob(MARK))
    except ValueError:
        return None


def drift(group: Network, network: UUID) -> tuple[str, ...]:
    """What of a port group is not as it must be, in words; empty when all is."""
    wanted: tuple[tuple[str, object, object], ...] = (
        ("mark", marked_network(group), network),
        ("VLAN", group.vlan, "none"),
        ("blocked by default", group.blocked, True),
        ("VLAN override", group.vlan_override, True),
        ("block override", group.block_override, True),
        ("reset at disconnect", group.reset_at_disconnect, True),
        ("auto-expand", group.auto_expand, True),
    )
    return tuple(f"{name} is {found}" for name, found, right in wanted if found != right)
