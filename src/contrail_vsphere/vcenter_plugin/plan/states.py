"""What status calls a port, from what is planned for it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from contrail_vsphere.model.ids import HostId
from contrail_vsphere.vcenter_plugin.plan.actions import Action, Claim, PlugPort, Release, SetLink, Unplug, Wait
from contrail_vsphere.vcenter_plugin.plan.sights import PortSight

ACTIVE: Final = "ACTIVE"
PROVISIONING: Final = "PROVISIONING"
DRAINING: Final = "DRAINING"


def state_of(port: PortSight, actions: Sequence[Action]) -> tuple[str, str, HostId | None]:
    """State, reason, and the host that it is about; a port with nothing to do and nothing to wait for is active.

    What it waits for says most, then what is to be done, then what is merely to be said of an active one.
    """
    waits = [action for action in actions if isinstance(action, Wait) and action.port == port.id]
    wait = next((each for each in waits if each.state != ACTIVE), next(iter(waits), None))
    blamed = wait.host if wait is not None else None
    host = port.wanted.host if port.wanted is not None else blamed
    if wait is not None and wait.state != ACTIVE:
        return wait.state, wait.reason, host
    if any(_is_for(action, port) for action in actions):
        return (PROVISIONING if port.wanted is not None else DRAINING), "", host
    return ACTIVE, wait.reason if wait is not None else "", host


def _is_for(action: Action, port: PortSight) -> bool:
    """Whether a port is not done until that is; what is done at a host that its card is not on does not count."""
    if isinstance(action, Wait) or getattr(action, "port", None) not in (None, port.id):
        return False
    here = port.wanted.host if port.wanted is not None else None
    return here is None or not isinstance(action, Claim | PlugPort | SetLink | Release | Unplug) or action.host == here
