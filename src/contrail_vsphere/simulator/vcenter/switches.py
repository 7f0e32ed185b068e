"""What nobody outside VMware knows for sure about distributed switches, as named switches.

Documentation, drivers in the field and their bug reports leave these questions open or contradict each other. A product
that depends on one answer breaks where the other holds, so tests run across both. Every default is the unkinder answer
that somebody has seen, or the documented one where nobody has seen anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """Put another value into the world with ``Switches(...).install(world)``; it counts from then on."""

    write_while_off: Literal["persists", "lost"] = "persists"
    """A port is reconfigured while its VM is off or its card is not connected: the setting is kept and comes into force
    with the power, or the task succeeds, the version counts up, and nothing else happens."""

    reset_at: Literal["disconnect", "power_off"] = "disconnect"
    """When ``portConfigResetAtDisconnect`` acts on a group with early binding: when the card leaves the port, or
    already when the VM is powered off although the card keeps the port."""

    blocked_in_vmotion: bool = True
    """Whether ``blocked`` is enforced while a VM moves with vMotion and the port's proxy host is not the VM's host;
    asked by the packet oracle."""

    most_ports_per_call: int = 0
    """Ports in one ReconfigureDVPort_Task beyond which it is InvalidArgument; 0: no limit (500 are known good)."""

    bulk_fault_keeps: Literal["all", "live_hosts", "nothing"] = "all"
    """A port of a host that is away is among those reconfigured. The task fails with DvsOperationBulkFault; what
    vCenter keeps is every port's new setting (the host is out of sync), that of ports on live hosts, or nothing."""

    proxy_host_flips: Literal["before", "with", "after"] = "with"
    """When a port's ``proxyHost`` becomes the destination of a vMotion: once the move begins, in the commit that sets
    ``runtime.host``, or ``proxy_host_lag`` later."""

    proxy_host_lag: float = 1.0
    """Seconds."""

    proxy_host_when_off: bool = True
    """Whether the port of a VM that is off (early binding) names the VM's host as ``proxyHost``."""

    connected_false: Literal["unconnected", "ignored"] = "unconnected"
    """What the criterion ``connected=False`` selects; the documentation only says what ``True`` does."""

    active_false: Literal["inactive", "ignored"] = "inactive"
    """The same for ``active``."""

    override_fault: Literal["ConflictingConfiguration", "InvalidArgument"] = "ConflictingConfiguration"
    """Fault for a port setting that the group's policy does not allow to differ."""

    auto_shrink: bool = True
    """Whether a group that may grow also gives back ports that it made, eight at a time, once sixteen are free."""

    rectify_on_reconnect: bool = False
    """Whether a host that comes back is brought in line by vCenter itself; otherwise by RectifyDvs(On)Host_Task."""

    state_is_live: bool = True
    """Whether FetchDVPorts answers the runtime state of now; otherwise that of the last RefreshDVPortState or of the
    port's connection."""

    port_events: Literal["merged", "single"] = "merged"
    """One DvsPortReconfiguredEvent for all ports of a ReconfigureDVPort_Task, or one for each port."""

    def install(self, world: World) -> None:
        """Make these the world's."""
        world.services[Switches] = self

    @classmethod
    def of(cls, world: World) -> Switches:
        """The world's, or the defaults."""
        found: Switches = world.services.get(cls) or _DEFAULT
        return found


_DEFAULT = Switches()
