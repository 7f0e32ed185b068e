"""The rules for the agency itself: made once, kept equal to the deployment, removed only when the operator says so."""

from __future__ import annotations

import hashlib
import json

from contrail_vsphere.contrailvm.desired import Desired, agency_name, to_record
from contrail_vsphere.contrailvm.networks import missing_networks, plan_clearing, wanted_pool
from contrail_vsphere.contrailvm.observed import Observed, PackageOffer
from contrail_vsphere.contrailvm.plan.actions import (
    Action,
    Alarm,
    CreateAgency,
    DestroyAgency,
    Forget,
    UninstallAgency,
    UpdateAgency,
    Wait,
)
from contrail_vsphere.contrailvm.plan.backend import (
    choose_backend,
    plan_apply_removal,
    plan_hand_over,
    same_but_handed_over,
    wait_out,
)
from contrail_vsphere.contrailvm.plan.policy import policy_for
from contrail_vsphere.contrailvm.rollout.checks import no_such_size, space_problems
from contrail_vsphere.model.eam import Agency, AgencyConfig, EsxAgentConfig, Trust

AGENT_NAME = "ContrailVM"
"""Base of the VMs' names. Contrail's own tools know a ContrailVM by this prefix."""

NOT_TAKEN_RETRY = 600.0
"""Seconds until a configuration that EAM accepted but does not show is sent again."""

CREATION_ARRIVES = 300.0
"""Seconds within which an agency appears whose creation was begun by a process that died, or had no answer."""

RIVAL_PAUSE = 5.0
"""Seconds until it is looked at again whether another deployment's agency is gone from the cluster."""

REFETCH_INTERVAL = 2.0
"""Seconds between two reads of an agency that a plan asks for."""


def wanted_config(desired: Desired, observed: Observed, offer: PackageOffer) -> AgencyConfig:
    """The agency's configuration as EAM should have it."""
    management = desired.management
    trust = Trust(offer.pem) if offer.pem and observed.features.trust else None
    return AgencyConfig(
        name=agency_name(observed.solution_id, desired.key),
        agent_name=AGENT_NAME,
        agents=(
            EsxAgentConfig(
                ovf_url=offer.url,
                properties=offer.properties,
                trust=trust,
                deployment_option=desired.size,
                vib_url=offer.vib_url,
                vib_trust=trust if offer.vib_url else None,
                version=offer.version,
            ),
        ),
        scope=(desired.key.cluster,),
        networks=(management,) if management else (),
        datastores=desired.datastores,
        prefer_host_configuration=False,
        resource_pools=((desired.key.cluster, observed.pool),) if observed.pool and observed.features.places else (),
        folders=((desired.datacenter, desired.folder),) if desired.datacenter and desired.folder else (),
    )


def config_difference(wanted: AgencyConfig, seen: AgencyConfig) -> tuple[str, ...]:
    """Names of the settings in which EAM's configuration differs from ours, as a person would call them."""
    differs = []
    if wanted.agent_name != seen.agent_name:
        differs.append("VM name")
    if set(wanted.scope) != set(seen.scope):
        differs.append("clusters")
    for name in ("networks", "datastores", "hook_after_provisioning", "hook_after_power_on", "linked_clones"):
        if getattr(wanted, name) != getattr(seen, name):
            differs.append(name.replace("_", " "))
    if wanted.prefer_host_configuration != seen.prefer_host_configuration:
        differs.append("host configuration preferred")
    for name in ("resource_pools", "folders"):
        if sorted(getattr(wanted, name)) != sorted(getattr(seen, name)):
            differs.append(name.replace("_", " "))
    differs += _agent_difference(wanted.agents, seen.agents)
    return tuple(differs)


def _agent_difference(wanted: tuple[EsxAgentConfig, ...], seen: tuple[EsxAgentConfig, ...]) -> list[str]:
    if len(wanted) != len(seen):
        return ["host versions"]
    differs: dict[str, None] = {}
    for ours, theirs in zip(wanted, seen, strict=True):
        if ours.ovf_url != theirs.ovf_url:
            differs["package"] = None
        if dict(ours.properties) != dict(theirs.properties):
            differs["properties"] = None
        if _pem(ours.trust) != _pem(theirs.trust) or _pem(ours.vib_trust) != _pem(theirs.vib_trust):
            differs["certificate"] = None
        if ours.vib_url != theirs.vib_url:
            differs["VIB"] = None
        if ours.deployment_option != theirs.deployment_option:
            differs["size"] = None
        if (ours.product_line, ours.host_version) != (theirs.product_line, theirs.host_version):
            differs["host versions"] = None
    return list(differs)


def _pem(trust: Trust | None) -> str:
    """PEM text without the white space in which two servers may differ."""
    return "".join(trust.pem.split()) if trust else ""


def config_digest(config: AgencyConfig) -> str:
    """Short digest of a configuration, for the journal."""
    return hashlib.blake2s(json.dumps(to_record(config), sort_keys=True).encode(), digest_size=8).hexdigest()


def plan_agency(desired: Desired, observed: Observed) -> tuple[Action, ...]:
    """Create the agency if there is none, else bring its configuration up to date."""
    blocked = _cannot_configure(desired, observed)
    if blocked:
        return blocked
    offer = observed.offer
    if offer is None or offer.digest != desired.package.digest:
        return (Wait(reason=f"package {desired.package.version} is not published yet"),)
    if desired.size and desired.size not in offer.sizes:
        # EAM would take the configuration, and fail on every host.
        reason = f"{no_such_size(offer.version, desired.size, offer.sizes)}; apply the deployment with another"
        return (Alarm(cause="package.size", reason=reason),)
    wanted = wanted_config(desired, observed, offer)
    if observed.agency is None and observed.rivals:
        # Two agencies on one cluster would put two ContrailVMs on every host.
        reason = f"{', '.join(observed.rivals)} must be gone from {desired.cluster_name} first"
        return (Wait(reason=reason, until=observed.now + RIVAL_PAUSE),)
    if observed.agency is None and observed.leftovers and not observed.record.created_at:
        return (_leftovers(desired, observed),)
    if observed.agency is None:
        backend = choose_backend(desired, observed)
        if isinstance(backend, Alarm | Wait):
            return (backend,)
        if not offer.reachable:
            reason = f"package {offer.version} cannot be fetched at {offer.url}: {offer.problem or 'no answer'}"
            return (Alarm(cause="publishing", reason=reason),)
        reason = f"{desired.cluster_name} has no agency of deployment {desired.key.deployment}"
        return (CreateAgency(config=wanted, url=offer.url, backend=backend, reason=reason),)
    return _update(desired, observed, observed.agency, wanted)


def _leftovers(desired: Desired, observed: Observed) -> Alarm:
    """A second vRouter on a host would forward beside the first: what another tool left must go before ours come."""
    names = ", ".join(observed.leftovers[:3]) + (" ..." if len(observed.leftovers) > 3 else "")
    reason = (
        f"{len(observed.leftovers)} ContrailVMs of another tool run on {desired.cluster_name} ({names});"
        " take its agency away there with `contrailvm adopt`, or power them off"
    )
    return Alarm(cause="leftovers", reason=reason)


def _cannot_configure(desired: Desired, observed: Observed) -> tuple[Action, ...]:
    if observed.failure is not None and observed.now < observed.failure.until:
        failure = observed.failure
        return (Wait(reason=f"{failure.what} failed: {failure.error}", until=failure.until),)
    gone = missing_networks(desired, observed)
    if gone:
        reason = f"no such network any more: {', '.join(gone)}; make it again or apply the deployment with another"
        return (Alarm(cause="network.gone", reason=reason),)
    pool = wanted_pool(desired, observed)
    if pool is not None and observed.pool is None:
        return (Wait(reason=f"resource pool {pool.name} comes first"),)
    return ()


def _update(desired: Desired, observed: Observed, agency: Agency, wanted: AgencyConfig) -> tuple[Action, ...]:
    changed = config_difference(wanted, agency.config)
    if not changed:
        return plan_hand_over(desired, observed, agency, wanted)
    if not {"package", "size"}.isdisjoint(changed):
        held = _not_yet(desired, observed)
        if held:
            return held
    what = ", ".join(changed)
    sent = observed.record.sent
    if sent is not None and sent.accepted and sent.digest == config_digest(wanted):
        if observed.read_at <= sent.at + REFETCH_INTERVAL:
            return (Wait(reason=f"{observed.keeper} was given a new {what}", until=sent.at + 2 * REFETCH_INTERVAL),)
        if observed.now < sent.at + NOT_TAKEN_RETRY:
            reason = f"{observed.keeper} accepted a new {what} but does not show it; this vCenter may not support it"
            retry = Wait(reason=f"{what} is sent again", until=sent.at + NOT_TAKEN_RETRY)
            return (Alarm(cause="eam.not-taken", reason=reason), retry)
    return (UpdateAgency(agency=agency.id, config=wanted, changed=changed, reason=f"the agency's {what} differ"),)


def _not_yet(desired: Desired, observed: Observed) -> tuple[Action, ...]:
    """EAM makes the new ContrailVMs of a cluster all at once: first the canaries' clusters, and only where they fit."""
    view = observed.rollout
    if view is None or not view.rollout.active:
        return ()
    if not view.updates(observed.key):
        return (Wait(reason=f"{desired.cluster_name} follows: {view.held_back or 'the canaries come first'}"),)
    if view.rollout.kind == "upgrade" and not view.rollout.unchecked and observed.offer is not None:
        problems = space_problems(desired, observed, disk_bytes=observed.offer.disk_bytes)
        if problems:
            return (
                Alarm(cause="rollout.space", reason="; ".join(problems)),
                Wait(reason="the upgrade waits for space"),
            )
    return ()


def plan_goal(observed: Observed) -> tuple[Action, ...]:
    """An agency that somebody else disabled or uninstalled is not fought over; once it is empty it is made anew."""
    agency = observed.agency
    if agency is None or agency.goal == "enabled":
        return ()
    if agency.backend == "system-vm":
        # Somebody deleted the solution. That alone removes nothing, so its ContrailVMs serve on: it is set again.
        return ()
    if agency.goal == "disabled":
        reason = "somebody disabled the agency in vCenter; enable it there, or remove the deployment"
        return (Alarm(cause="agency.disabled", reason=reason),)
    if _empty(agency):
        reason = "the agency was uninstalled and is empty; it is made anew"
        return (DestroyAgency(agency=agency.id, reason=reason),)
    return (
        Alarm(cause="agency.uninstalled", reason="the agency is being uninstalled; it is made anew when it is empty"),
    )


def plan_duplicates(observed: Observed) -> tuple[Action, ...]:
    """Two agencies of one key would put two ContrailVMs on every host: the one with fewer ContrailVMs goes."""
    readings = tuple(wait_out(observed, each) for each in observed.duplicates if same_but_handed_over(observed, each))
    return readings + tuple(
        action
        for agency in observed.duplicates
        if not same_but_handed_over(observed, agency)
        for action in _remove(agency, observed, reason="a second agency with the mark of this deployment and cluster")
    )


def plan_removal(desired: Desired, observed: Observed) -> tuple[Action, ...]:
    """The operator wants it gone: uninstall, wait until empty, destroy, clear the ground, forget."""
    agencies = (*((observed.agency,) if observed.agency else ()), *observed.duplicates)
    if observed.failure is not None and observed.now < observed.failure.until:
        failure = observed.failure
        return (Wait(reason=f"{failure.what} failed: {failure.error}", until=failure.until),)
    if not agencies:
        record = observed.record
        if record.created_at and not record.backend and observed.now < record.created_at + CREATION_ARRIVES:
            reason = "an agency was being created when the deployment was removed; it may yet appear"
            return (Wait(reason=reason, until=record.created_at + CREATION_ARRIVES),)
        return (*plan_clearing(desired, observed), Forget(reason="the agency is gone"))
    removals = tuple(
        action for agency in agencies for action in _remove(agency, observed, reason="the deployment was removed")
    )
    return (*plan_apply_removal(observed), *removals)


def _remove(agency: Agency, observed: Observed, *, reason: str) -> tuple[Action, ...]:
    if _empty(agency):
        return (DestroyAgency(agency=agency.id, reason=reason),)
    if agency.goal != "uninstalled":
        hosts = tuple(agent.host for agent in agency.agents if agent.host is not None and agent.vm is not None)
        return (UninstallAgency(agency=agency.id, hosts=hosts, reason=reason),)
    waits: list[Action] = [
        Wait(reason=f"{observed.keeper} is removing {sum(a.vm is not None for a in agency.agents)} ContrailVMs")
    ]
    for view in observed.hosts:
        if view.agent is not None and view.agent.agency == agency.id and view.agent.vm is not None:
            if not view.reachable:
                waits.append(
                    Wait(host=view.host.id, reason="the host is not connected; its ContrailVM cannot be removed")
                )
            waits += [
                Alarm(
                    cause="removal",
                    host=view.host.id,
                    reason=f"{each.issue.type}: {policy_for(each.issue.type).advice}",
                )
                for each in view.issues
            ]
    return tuple(waits)


def plan_unclaimed(observed: Observed) -> tuple[Action, ...]:
    """Agencies with our mark that no deployment names are shown, never removed: the journal may be what is lost."""
    agencies = (*((observed.agency,) if observed.agency else ()), *observed.duplicates)
    reason = "has our mark but no deployment names it; apply the deployment again to adopt it, or remove it"
    return tuple(
        Alarm(cause="agency.unclaimed", reason=f"agency {agency.config.name} ({agency.id}) {reason}")
        for agency in agencies
    )


def _empty(agency: Agency) -> bool:
    """No EsxAgent has a VM any more, and EAM was told to remove them."""
    return agency.goal == "uninstalled" and not any(agent.vm for agent in agency.agents)
