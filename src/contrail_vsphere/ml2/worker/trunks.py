"""The trunk of a parent port: which VLANs its DVPort carries, and what does not fit; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from contrail_vsphere.model.traffic_filter import PortRange


@dataclass(frozen=True, slots=True)
class Subport:
    """As Neutron has it."""

    port_id: str
    tag: int
    """``segmentation_id``: what the guest tags with."""
    vlan: int | None
    """Of the segment that the subport is bound to; None while it is not bound."""


def trunk_of(own_vlan: int, subports: Iterable[Subport]) -> tuple[tuple[PortRange, ...], dict[str, str]]:
    """Ranges for the DVPort, and subport -> why it is left out.

    A trunk DVPort carries tags as they are. Therefore the guest tags the parent's own traffic too, with the VLAN of its
    network (0, which is untagged, where that is flat), and a subport's tag must be its network's VLAN.
    """
    vlans = {own_vlan}
    problems: dict[str, str] = {}
    for each in subports:
        if each.vlan is None:
            problems[each.port_id] = "it is not bound yet"
        elif each.vlan != each.tag:
            problems[each.port_id] = (
                f"the guest tags with {each.tag} and the network is VLAN {each.vlan}: a switch cannot translate"
            )
        else:
            vlans.add(each.vlan)
    return _ranges(sorted(vlans)), problems


def _ranges(vlans: list[int]) -> tuple[PortRange, ...]:
    found: list[PortRange] = []
    for vlan in vlans:
        if found and found[-1][1] == vlan - 1:
            found[-1] = (found[-1][0], vlan)
        else:
            found.append((vlan, vlan))
    return tuple(found)
