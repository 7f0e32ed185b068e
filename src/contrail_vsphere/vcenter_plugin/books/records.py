"""What the plugin must remember of a port beyond what vCenter and Contrail hold: where it has a VLAN and is plugged.

Written before it is acted on, so that after kill -9 no VLAN is given out twice and no VRouterAgent keeps a port of a VM
that is gone.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from contrail_vsphere.model.ids import DvsId, HostId, VmiId
from contrail_vsphere.vcenter_plugin.identity import PortId

LINK_DOWN = "link down"
"""A ``Plug.digest`` where the agent has confirmed that the link is down, and nothing is known of its other values."""


@dataclass(frozen=True, slots=True)
class Plug:
    """A port's place on one host: the VLAN it holds there, and what the VRouterAgent was told."""

    host: HostId
    vlan: int
    digest: str = ""
    """Of what the agent confirmed; empty: nothing, or not known."""
    up: bool = False
    """Link state that the agent confirmed."""
    attempted: bool = False
    """The agent may know the port although ``digest`` does not say so."""


@dataclass(frozen=True, slots=True)
class PortRecord:
    """One port, as the ledger keeps it."""

    id: PortId
    vmi: VmiId
    dvs: DvsId
    key: str
    plugs: tuple[Plug, ...] = ()

    def plug(self, host: HostId | None) -> Plug | None:
        """Its place on a host."""
        return next((plug for plug in self.plugs if plug.host == host), None)

    def with_plug(self, plug: Plug) -> PortRecord:
        """With that place, replacing an older one on the same host."""
        return replace(self, plugs=(*(each for each in self.plugs if each.host != plug.host), plug))

    def without(self, host: HostId) -> PortRecord:
        """Without its place on that host."""
        return replace(self, plugs=tuple(each for each in self.plugs if each.host != host))


def encode(record: PortRecord) -> dict[str, Any]:
    """For the journal."""
    plugs = [{"host": plug.host, "vlan": plug.vlan, "digest": plug.digest, "up": plug.up} for plug in record.plugs]
    return {"vmi": str(record.vmi), "dvs": record.dvs, "key": record.key, "plugs": plugs}


def decode(key: str, value: Mapping[str, Any]) -> PortRecord:
    """From the journal; KeyError or ValueError for what ``encode`` did not write.

    What was claimed but not confirmed may have reached the agent before the crash.
    """
    plugs = tuple(
        Plug(HostId(sys.intern(each["host"])), int(each["vlan"]), each["digest"], bool(each["up"]), attempted=True)
        for each in value["plugs"]
    )
    return PortRecord(
        PortId.parse(key), VmiId(UUID(value["vmi"])), DvsId(sys.intern(value["dvs"])), sys.intern(value["key"]), plugs
    )
