"""What a control node tells a VRouterAgent of the ports it has: nothing forwards before that.

The agent subscribes to the VM of a port; interface, VM, network and subnet then come down from the API server's
database, some time after both sides know. Whoever simulates the API server gives the agents a ``ControlNode``; alone,
agents take everything as delivered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SubnetFacts:
    """What the agent answers DHCP with."""

    prefix_length: int
    gateway: str
    dns_server: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PortFacts:
    """What the control node knows of an interface, once it knows all that the agent needs."""

    vm: str
    """UUID of the VM that the interface is linked to."""
    network: str
    network_name: str = ""
    since: float = 0.0
    """Simulated time at which the last of it was written."""
    v4: SubnetFacts | None = None
    v6: SubnetFacts | None = None


class ControlNode(Protocol):
    """Where agents get their configuration from."""

    delay: float
    """Seconds from the write, or from the agent's subscription, until the agent knows."""

    def facts(self, vmi: str) -> PortFacts | None:
        """What there is to tell of an interface; None while it, its VM, its network or a subnet of that is missing."""
