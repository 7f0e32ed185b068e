"""What is left to do about the VIBs of one EsxAgent: pure, a part of ``machine``."""

from __future__ import annotations

from contrail_vsphere.simulator.eam.outcomes import WAIT, Do, Outcome, Raise
from contrail_vsphere.simulator.eam.situation import Situation


def vib_step(s: Situation) -> Outcome | None:
    """What is left to do about VIBs; they come before the virtual machine and go after it."""
    if s.vib in {"due", "surplus"}:
        if s.agency_blocked:
            return Raise(("personality.agent.BlockedByAgencyOperation",), s.phase)
        if s.host == "standby" and s.subject != "none":
            return Raise(("HostInStandbyMode",), s.phase)
        if s.host == "standby" or s.entering_maintenance:
            return WAIT
        return Do("install-vib" if s.vib == "due" else "remove-vib", s.phase, s.phase)
    if s.vib == "staged":
        return Raise(("VibRequiresHostReboot",), s.phase)
    if s.vib == "awaiting":
        return Raise(("personality.agent.AwaitingPMRemediation",), s.phase)
    if s.entered_by_eam and s.host == "maintenance" and not s.entering_maintenance:
        return Do("leave-maintenance", s.phase, s.phase)
    return None
