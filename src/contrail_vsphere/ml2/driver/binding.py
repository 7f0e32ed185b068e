"""Where a port is bound and what nova is told about it; pure.

nova's vmwareapi takes ``dvs_id`` and ``pg_id`` as they are and then asks vCenter nothing; without both it looks for a
port group whose name contains ``dvs_port_group_name``. A port that is bound before its port group exists gets the
name alone, and the worker completes the binding later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from contrail_vsphere.ml2.placement import Placement, Site, Switch
from contrail_vsphere.ml2.tables.groups import KnownGroup

VIF_TYPE_DVS = "dvs"
"""nova's word; neutron-lib has none."""
NETWORK_TYPES = ("vlan", "flat")


@dataclass(frozen=True, slots=True)
class Choice:
    """A segment and the switch that carries it."""

    segment_id: str
    switch: Switch


def choose(placement: Placement, site: Site, segments: Iterable[Mapping[str, Any]]) -> Choice | None:
    """The first segment that the host's cluster has a switch for; None: this port is not for us."""
    for segment in segments:
        if segment["network_type"] not in NETWORK_TYPES:
            continue
        switch = placement.switch(site, segment["physical_network"] or "")
        if switch is not None:
            return Choice(segment["id"], switch)
    return None


def vif_details(group: KnownGroup | None, *, fallback: str, port_key: str | None, port_filter: bool) -> dict[str, Any]:
    """``binding:vif_details``; ``fallback`` is the name that a port group to come will have."""
    details: dict[str, Any] = {
        "connectivity": "l2",
        "port_filter": port_filter,
        "dvs_port_group_name": group.group_name if group is not None else fallback,
    }
    if group is not None:
        details |= {"dvs_id": group.dvs_uuid, "pg_id": group.group_key}
    if port_key is not None:
        details["dvs_port_key"] = port_key
    return details
