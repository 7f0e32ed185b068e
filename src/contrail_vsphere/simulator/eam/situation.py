"""What is known about one EsxAgent at one moment: the whole input of the decision what happens next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

HostCondition = Literal["ready", "maintenance", "partial", "standby", "unreachable", "gone"]
VmCondition = Literal["none", "off", "on", "suspended", "inaccessible"]
Goal = Literal["enabled", "disabled", "uninstalled"]
VibCondition = Literal["none", "current", "due", "staged", "awaiting", "surplus"]
"""Of the VIBs: none are wanted or there; as wanted; to be installed; there from the next boot on; waiting for the
cluster's remediation; to be removed."""
HookState = Literal["open", "timed-out", "failed"]


class Phase(StrEnum):
    """Where an EsxAgent is on its way. A failed step leaves the phase in which to try again, and an issue."""

    PRECHECK = "precheck"
    DEPLOYING = "deploying"
    HOOK_PROVISIONED = "hook-provisioned"
    POWERING_ON = "powering-on"
    HOOK_POWERED_ON = "hook-powered-on"
    WAIT_HEARTBEAT = "wait-heartbeat"
    STEADY = "steady"
    MAINTENANCE = "maintenance"
    POWERING_OFF = "powering-off"
    OFF = "off"
    UPGRADE_PRECHECK = "upgrade-precheck"
    UPGRADE_DEPLOY = "upgrade-deploy"
    UPGRADE_PROVISIONED = "upgrade-provisioned"
    NEW_POWERING_ON = "new-powering-on"
    NEW_HOOK_POWERED_ON = "new-hook-powered-on"
    NEW_WAIT_HEARTBEAT = "new-wait-heartbeat"
    DROP_NEW = "drop-new"
    OLD_OFF = "old-off"
    OLD_DELETE = "old-delete"
    HOOK_PRE_POWER_ON = "hook-pre-power-on"
    DISCARD = "discard"
    REMOVE_OFF = "remove-off"
    DELETING = "deleting"
    GONE = "gone"


RUNNING: Final = frozenset({Phase.HOOK_POWERED_ON, Phase.WAIT_HEARTBEAT, Phase.STEADY})
"""The virtual machine has been powered on and should be."""
NEW: Final = frozenset({Phase.NEW_POWERING_ON, Phase.NEW_HOOK_POWERED_ON, Phase.NEW_WAIT_HEARTBEAT})
"""The new virtual machine is made ready while the old one runs: issues are about the new one."""
HOOKS: Final = {
    Phase.HOOK_PROVISIONED: "provisioned",
    Phase.UPGRADE_PROVISIONED: "provisioned",
    Phase.HOOK_PRE_POWER_ON: "prePowerOn",
    Phase.HOOK_POWERED_ON: "poweredOn",
    Phase.NEW_HOOK_POWERED_ON: "poweredOn",
}
"""Phase in which EAM waits for MarkAsAvailable -> ``VmHook.vmState``."""
SETTLED_ON_NEW: Final = frozenset(
    {Phase.WAIT_HEARTBEAT, Phase.STEADY, Phase.OFF, Phase.POWERING_OFF, Phase.UPGRADE_PRECHECK, Phase.UPGRADE_DEPLOY}
)
"""Once there, the upgraded virtual machine is *the* one (``runtime.vm``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Facts, and how the switches stand where they matter."""

    phase: Phase = Phase.PRECHECK
    goal: Goal = "enabled"
    leaving: bool = False
    """Out of scope, uninstalled, or its agency is being destroyed."""
    disabled: bool = False
    """The host's compute resource is disabled for EAM."""
    host: HostCondition = "ready"
    has_package: bool = True
    problems: tuple[str, ...] = ()
    """Issue types that stand in the way of a deployment: no matching configuration, no datastore, no network."""

    vm: VmCondition = "none"
    new_vm: VmCondition = "none"
    """The one beside it, during an upgrade."""
    heartbeat: bool = False
    new_heartbeat: bool = False
    vm_changed: bool = False
    """Reconfigured since the last failed power-on."""
    restarting: bool = False
    """Went down with its host, which starts it again."""
    as_template: bool = False
    """The release minds, and the virtual machine is a template."""
    vm_current: bool = True
    """Deployed from what the configuration names now."""
    new_vm_current: bool = True
    properties_current: bool = True
    marked: bool = False
    """MarkAsAvailable was called since the last power-on, or need not be."""

    held: bool = False
    """Nothing was ever asked of it: a System VM before its first apply."""
    manual: bool = False
    """The solution provisions the virtual machine itself and registers it."""
    unmonitored: bool = False
    """... and looks after it, too."""
    vib: VibCondition = "none"
    reboot_required: bool = False
    """A change of the host's software waits for a boot."""
    entered_by_eam: bool = False
    """EAM put the host into maintenance mode for a VIB."""
    entering_maintenance: bool = False
    """On its way into maintenance mode: software waits until it is there."""
    agency_blocked: bool = False
    """An operation of the agency as a whole has failed and waits for Resolve."""
    misplaced: tuple[str, ...] = ()
    """Issue types of a virtual machine that was moved to another folder or pool, where the release minds."""
    hook_state: HookState = "open"

    hook_after_provisioning: bool = False
    hook_after_power_on: bool = False
    pre_power_on_hook: bool = True
    blue_green: bool = False
    """An upgrade has the new virtual machine ready before the old one goes."""
    maintenance_is_issue: bool = False
    removal_waits_for_maintenance: bool = False
    minds_heartbeat: bool = True
    issues: frozenset[str] = frozenset()

    @property
    def subject(self) -> VmCondition:
        """The virtual machine that is to run: the new one once the old is gone."""
        return self.new_vm if self.vm == "none" else self.vm

    @property
    def subject_current(self) -> bool:
        """Whether that one is up to date."""
        return self.new_vm_current if self.vm == "none" and self.new_vm != "none" else self.vm_current
