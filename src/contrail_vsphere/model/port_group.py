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
NAME = "contrail.vn-name"
"""Key of the blob that holds the network's full name (``domain:project:name``), by which one that was deleted and made
anew gets its port group back."""
ADOPTING = "contrail.adopting"
"""Key of the blob of a port group that was somebody else's: ``yes`` as long as its ports may still depend on its own
VLAN and on being open, ``no`` afterwards."""


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """A port group as it should be. ``name`` as sent: escaped."""

    name: str
    network: UUID
    adopting: bool = False
    """Only take it over: its VLAN, and that its ports are open, stay as they are."""
    virtual_macs: bool = False
    """Guests may send and receive with MAC addresses that are not their card's (VRRP). With a VLAN for each port, a
    promiscuous port sees nothing that is not its own."""

    fq_name: str = ""
    """The network's full name; empty: it is not noted."""

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


def is_adopting(group: Network) -> bool:
    """Whether it was taken over and its defaults are still its former ones."""
    return group.blob(ADOPTING) == "yes"


def drift(
    group: Network, network: UUID, *, adopting: bool = False, virtual_macs: bool = False, fq_name: str = ""
) -> tuple[str, ...]:
    """What of a port group is not as it must be, in words; empty when all is.

    ``adopting``: its defaults do not count. Without ``virtual_macs`` its MAC settings are the operator's, without
    ``fq_name`` it does not matter whether it knows its network's name.
    """
    macs: tuple[tuple[str, object, object], ...] = (
        ("promiscuous mode", group.promiscuous, True),
        ("forged transmits", group.forged_transmits, True),
        ("MAC changes", group.mac_changes, True),
    )
    defaults: tuple[tuple[str, object, object], ...] = (
        ("VLAN", group.vlan, "none"),
        ("blocked by default", group.blocked, True),
        ("adoption", is_adopting(group), False),
    )
    wanted: tuple[tuple[str, object, object], ...] = (
        ("mark", marked_network(group), network),
        *(() if adopting else defaults),
        *(macs if virtual_macs and not adopting else ()),
        *((("name noted", group.blob(NAME), fq_name),) if fq_name and not adopting else ()),
        ("VLAN override", group.vlan_override, True),
        ("block override", group.block_override, True),
        ("reset at disconnect", group.reset_at_disconnect, True),
        ("auto-expand", group.auto_expand, True),
    )
    return tuple(f"{name} is {found}" for name, found, right in wanted if found != right)
