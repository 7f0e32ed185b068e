"""The alarms that our extension has in vCenter, and the events that raise and calm each.

Every alarm has two events of its own, so that one trouble that is over calms no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from contrail_vsphere.vsphere.alarms import AlarmDefinition, Target


@dataclass(frozen=True, slots=True)
class Kind:
    """One alarm: its name in vCenter, and the last parts of the events that raise and calm it."""

    name: str
    description: str
    target: Target
    raises: str
    calms: str

    def definition(self, solution_id: str) -> AlarmDefinition:
        """For vCenter."""
        red, green = (f"{solution_id}.{each}" for each in (self.raises, self.calms))
        return AlarmDefinition(self.name, self.description, self.target, red=(red,), green=(green,))


FORWARDING: Final = Kind(
    "ContrailVM: vRouter does not forward", "Tenants on the host are without network, or will be",
    "host", "vrouterDown", "vrouterUp",
)  # fmt: skip
HOLD: Final = Kind(
    "ContrailVM: on hold", "Repairs did not help; nothing more is done before a person says so",
    "host", "holdBegan", "holdEnded",
)  # fmt: skip
ATTENTION: Final = Kind(
    "ContrailVM: needs attention", "Something stands in the way that the manager does not mend alone",
    "host", "attentionNeeded", "attentionOver",
)  # fmt: skip
CLUSTER: Final = Kind(
    "ContrailVM: deployment needs attention", "The deployment on the cluster waits for a person",
    "cluster", "deploymentNeedsAttention", "deploymentWell",
)  # fmt: skip
ROLLOUT: Final = Kind(
    "ContrailVM: rollout stopped", "An upgrade stopped; hosts that were not in turn kept what they had",
    "cluster", "rolloutHalted", "rolloutCleared",
)  # fmt: skip
CERTIFICATE: Final = Kind(
    "ContrailVM: certificate expires", "A certificate expires within 30 days and is not renewed by itself",
    "vcenter", "certificateExpiring", "certificateRenewed",
)  # fmt: skip
BRAKE: Final = Kind(
    "ContrailVM: deletions stopped", "The brake on mass deletion is on; a person has to look",
    "vcenter", "brakeEngaged", "brakeReleased",
)  # fmt: skip
KINDS: Final = (FORWARDING, HOLD, ATTENTION, CLUSTER, ROLLOUT, CERTIFICATE, BRAKE)
