"""The alarms by which vCenter shows that Contrail networking needs somebody: on hosts, VMs and switches.

Each is raised by our event of trouble on an object and calmed by that of its end there, so that an administrator sees
what is wrong now, and not what has passed by.
"""

from __future__ import annotations

from contrail_vsphere.vsphere.alarms import AlarmDefinition, Target

DEGRADED, HEALTHY = "pluginDegraded", "pluginHealthy"
"""Last parts of the events' types; the first is our extension's key."""
_ON: tuple[tuple[Target, str], ...] = (("host", "host"), ("vm", "virtual machine"), ("switch", "distributed switch"))


def definitions(key: str) -> tuple[AlarmDefinition, ...]:
    """One for each type of object; ``key`` is our extension's."""
    return tuple(
        AlarmDefinition(
            name=f"Contrail networking: {words} needs attention",
            description=f"Raised and calmed by the Contrail vCenter plugin; its last event on the {words} says why.",
            target=target,
            red=(f"{key}.{DEGRADED}",),
            green=(f"{key}.{HEALTHY}",),
        )
        for target, words in _ON
    )
