"""What an operator has to act on, from all that the plugin knows: few lines, each where in vCenter it belongs. Pure.

A host whose vRouter is away makes every VM on it wait; that is one trouble, the host's, and not one for each VM.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from contrail_vsphere.engine.brake import BrakeState
from contrail_vsphere.engine.health import KeyHealth
from contrail_vsphere.model.ids import HostId, VnId
from contrail_vsphere.vcenter_plugin.books.port_states import PortState
from contrail_vsphere.vcenter_plugin.plan.sights import HostSight
from contrail_vsphere.vcenter_plugin.vlans import Capacity

OF_HOST = ("WAIT_HOST", "OWED", "MOVING")
"""States whose cause is a host."""
FINE = ("ACTIVE", "ACTIVE_OFF")
SCARCE = 64
"""VLANs that a host should have left."""
STUBBORN = 5
"""Failures in a row after which trying alone will hardly help."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One; ``key`` stays the same while it lasts, whatever its words become."""

    key: str
    text: str
    host: HostId | None = None
    vm: UUID | None = None
    """Instance UUID."""


def troubles(
    *,
    ports: Iterable[PortState],
    hosts: Iterable[HostSight],
    capacity: Mapping[HostId, Capacity],
    pending: Mapping[VnId, str],
    brake: BrakeState,
    bad: Iterable[KeyHealth],
) -> tuple[Trouble, ...]:
    """All of them."""
    found: dict[str, Trouble] = {}
    waiting: dict[HostId, list[PortState]] = {}
    for port in ports:
        if port.state in OF_HOST and port.host is not None:
            waiting.setdefault(port.host, []).append(port)
        elif port.state not in FINE:
            key = f"port {port.id}"
            found[key] = Trouble(key, f"{port.vm}, card {port.id.nic}: {port.reason or port.state}", vm=port.id.vm)
    for host in hosts:
        waits = waiting.get(host.id, [])
        if waits:
            reason = host.reason or waits[0].reason
            text = f"{len(waits)} ports on {host.name} wait: {reason}"
            found[f"host {host.id}"] = Trouble(f"host {host.id}", text, host=host.id)
        left = capacity.get(host.id)
        if left is not None and left.used and left.free < SCARCE:
            key = f"vlans {host.id}"
            found[key] = Trouble(key, f"{host.name} has {left.free} of {left.usable} VLANs left", host=host.id)
    for network, reason in pending.items():
        found[f"network {network}"] = Trouble(f"network {network}", reason)
    if brake.engaged:
        text = f"{len(brake.refused)} deletions wait for approval: {brake.reason}"
        found["brake"] = Trouble("brake", text)
    for entry in bad:
        if entry.source == "network" and (entry.state != "failing" or entry.attempts >= STUBBORN):
            key = f"network {entry.key}"
            found[key] = Trouble(key, f"network {entry.key}: {entry.reason}")
    return tuple(found.values())
