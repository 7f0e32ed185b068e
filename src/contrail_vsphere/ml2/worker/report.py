"""What a pass found and did."""

from __future__ import annotations

from dataclasses import dataclass, field

from contrail_vsphere.ml2.worker.apply import Outcome
from contrail_vsphere.ml2.worker.plan import GroupAction, PortAction


@dataclass(slots=True)
class PassReport:
    """Filled in as the pass goes on."""

    group_actions: tuple[GroupAction, ...] = ()
    port_actions: tuple[PortAction, ...] = ()
    outcome: Outcome = field(default_factory=Outcome)
    orphans: tuple[str, ...] = ()
    """Port groups of ours whose networks Neutron does not know, and that are kept for now."""
    warnings: tuple[str, ...] = ()
