"""Reading the world into the situation of one EsxAgent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from contrail_vsphere.simulator.eam import config as rules
from contrail_vsphere.simulator.eam.config import Package, Selection
from contrail_vsphere.simulator.eam.host_image import HostImage
from contrail_vsphere.simulator.eam.issues import AGENCY_ISSUES, Draft
from contrail_vsphere.simulator.eam.situation import HostCondition, Phase, Situation, VibCondition, VmCondition
from contrail_vsphere.simulator.vcenter.datacenter import Datacenter

if TYPE_CHECKING:
    from contrail_vsphere.simulator.eam.config import Deployed
    from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

REMOVAL: Final = "(removal)"
"""Stands for a URL where a removal of VIBs was handed to the cluster's image."""
POWER: dict[str, VmCondition] = {"poweredOn": "on", "poweredOff": "off", "suspended": "suspended"}


def exists(agent: EsxAgent, vm: VirtualMachine | None) -> bool:
    """Whether that virtual machine is still in the inventory."""
    return vm is not None and agent.world.get(vm.moid) is vm


def host_condition(agent: EsxAgent) -> HostCondition:
    """What EAM can do on the host now."""
    host = agent.host
    if agent.world.get(host.moid) is not host:
        return "gone"
    if host.power_state == "standBy":
        return "standby"
    if host.connection_state != "connected" or host.power_state == "poweredOff":
        return "unreachable"
    # While tenants are still being moved away the EsxAgent runs; EAM switched it off last, so it waits from then on.
    if agent.agency.is_set and agent.subject is not None and host.compute_resource.drs:
        return "ready"  # DRS powers it on elsewhere
    if host.in_maintenance or (host.entering_maintenance and agent.phase is Phase.MAINTENANCE):
        return "maintenance"
    return "partial" if host.partial_maintenance else "ready"


def vm_condition(agent: EsxAgent, vm: VirtualMachine | None) -> VmCondition:
    """``none`` also for one that is gone."""
    if vm is None or not exists(agent, vm):
        return "none"
    if vm.connection_state in {"inaccessible", "invalid", "orphaned"}:
        return "inaccessible"
    return POWER[vm.power_state]


def selection(agent: EsxAgent) -> Selection:
    """Datastore and network, or what is missing."""
    if agent.entry is None:
        return Selection(problems=(Draft("IncompatibleHostVersion"),))
    return agent.agency.select(agent)


def situation(agent: EsxAgent) -> Situation:
    """Everything that ``machine.decide`` looks at."""
    service, agency, entry, config = agent.service, agent.agency, agent.entry, agent.config
    image = HostImage.of(agent.world, agent.host)
    switches, profile = service.switches, service.profile
    target = Package.of(entry)
    subject = agent.subject
    host = host_condition(agent)
    return Situation(
        phase=agent.phase,
        goal=agency.goal,
        leaving=agent.leaving,
        disabled=bool(getattr(agent.host.parent, "disabled", False)),
        host=host,
        has_package=target is not None or entry is None,
        problems=() if host == "gone" or agent.held else tuple(draft.type for draft in selection(agent).problems),
        vm=vm_condition(agent, agent.vm),
        new_vm=vm_condition(agent, agent.new_vm),
        heartbeat=subject is not None and subject.heartbeat in {"green", "yellow"},
        new_heartbeat=agent.new_vm is not None and agent.new_vm.heartbeat in {"green", "yellow"},
        vm_changed=_changed_since_issue(agent),
        restarting=subject is not None and subject.restart_on_boot,
        as_template=profile.minds_place and subject is not None and subject.template,
        vm_current=_current(agent.deployed, target),
        new_vm_current=_current(agent.new_deployed, target),
        properties_current=_properties_current(agent),
        marked=agent.marked,
        held=agent.held,
        manual=bool(config.manuallyProvisioned),
        unmonitored=bool(config.manuallyMonitored),
        vib=vib_condition(agent, image),
        reboot_required=image is not None and image.reboot_required,
        entered_by_eam=image is not None and image.entered_by_eam,
        entering_maintenance=agent.host.entering_maintenance and not agent.host.in_maintenance,
        agency_blocked=any(record.type in AGENCY_ISSUES for record in agency.issues),
        misplaced=tuple(draft.type for draft in misplaced(agent)) if profile.minds_place else (),
        hook_state="timed-out" if agent.hook and agent.agency.hook_is_over(agent) else "open",
        hook_after_provisioning=bool(config.manuallyMarkAgentVmAvailableAfterProvisioning),
        hook_after_power_on=bool(config.manuallyMarkAgentVmAvailableAfterPowerOn),
        pre_power_on_hook=switches.pre_power_on_hook and agency.has_pre_power_on,
        blue_green=agency.blue_green,
        maintenance_is_issue=(switches.maintenance_issue or profile.maintenance_issue) == "always",
        removal_waits_for_maintenance=switches.removal_waits_for_maintenance,
        minds_heartbeat=switches.heartbeat_lost == "yellow",
        issues=frozenset(record.type for record in agent.issues),
    )


def vib_condition(agent: EsxAgent, image: HostImage | None) -> VibCondition:
    """What is to be done about the VIBs of this EsxAgent."""
    entry = None if agent.leaving or agent.held else agent.entry
    wanted = str(entry.vibUrl or "") if entry is not None else ""
    if agent.vib_submitted and agent.vib_submitted == (wanted or REMOVAL):
        return "awaiting"
    if agent.vib_url != wanted:
        return "due" if wanted else "surplus"
    if agent.vib_staged and image is not None and image.reboot_required:
        return "staged"
    return "current" if wanted else "none"


def misplaced(agent: EsxAgent) -> list[Draft]:
    """Where the virtual machine should be instead, if somebody moved it."""
    vm, datacenter = agent.vm, agent.host.ancestor(Datacenter)
    if vm is None or datacenter is None or agent.leaving or agent.config.manuallyProvisioned:
        return []
    drafts = []
    folder = agent.service.operations.folder(agent)
    if vm.parent is not None and folder is not None and vm.parent is not folder:
        drafts.append(Draft("VmWrongFolder", {"currentFolder": vm.parent.ref, "requiredFolder": folder.ref}))
    pool = agent.service.operations.pool(agent)
    if vm.resource_pool is not None and pool is not None and vm.resource_pool is not pool:
        pools = {"currentResourcePool": vm.resource_pool.ref, "requiredResourcePool": pool.ref}
        drafts.append(Draft("VmWrongResourcePool", pools))
    return drafts


def _current(deployed: Deployed | None, target: Package | None) -> bool:
    """EAM compares what the configuration names; without a fitting entry there is nothing to upgrade to."""
    return deployed is None or target is None or deployed.package == target


def _properties_current(agent: EsxAgent) -> bool:
    deployed = agent.new_deployed if agent.vm is None and agent.new_vm is not None else agent.deployed
    if deployed is None or agent.entry is None:
        return True
    return deployed.properties == rules.properties_of(agent.entry)


def _changed_since_issue(agent: EsxAgent) -> bool:
    vm = agent.subject
    record = next((item for item in agent.issues if item.type == "InvalidConfig"), None)
    return record is not None and vm is not None and vm.change_version != record.vm_version
