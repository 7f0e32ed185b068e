"""The rules of repair: what is done about an EAM issue, and about a vRouter that stopped forwarding.

EAM never heals what a user broke; it waits for Resolve. We resolve by the table in ``policy.py``, on two consistent
reads, so many times per quarter of an hour, and never what would cost a host its maintenance or a reboot without
approval.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from contrail_vsphere.contrailvm.desired import Desired, RepairPolicy
from contrail_vsphere.contrailvm.observed import HostView, Observed, SeenIssue
from contrail_vsphere.contrailvm.plan.actions import Action, Alarm, Hold, Refetch, Resolve, SetHostAgentSettings, Wait
from contrail_vsphere.contrailvm.plan.agency import REFETCH_INTERVAL
from contrail_vsphere.contrailvm.plan.hooks import HOOK_ISSUES, others_wait, plan_restart
from contrail_vsphere.contrailvm.plan.policy import MAINTENANCE_ISSUES, MISSING_VM_ISSUES, IssuePolicy, policy_for
from contrail_vsphere.contrailvm.records import Attempt
from contrail_vsphere.contrailvm.rollout.view import is_serving
from contrail_vsphere.model.eam import Agency, EsxAgent
from contrail_vsphere.model.ids import HostId

CONFIRMED_AFTER = 1.0
"""Seconds that must lie between reads which confirm each other: two of the same moment are one."""

CONTRADICTION_LASTS = 120.0
"""Seconds after which EAM is believed although the inventory says otherwise."""


@dataclass(frozen=True, slots=True)
class _Case:
    """One issue of one host, with everything its judgement needs."""

    desired: Desired
    observed: Observed
    view: HostView
    agency: Agency
    agent: EsxAgent
    seen: SeenIssue

    @property
    def host(self) -> HostId:
        return self.view.host.id

    @property
    def type(self) -> str:
        return self.seen.issue.type

    @property
    def policy(self) -> IssuePolicy:
        return policy_for(self.type)

    @property
    def repair(self) -> RepairPolicy:
        return self.desired.repair

    @property
    def by_eam(self) -> bool:
        """EAM looks again by itself whether a cause is gone; vLCM does when it is told to apply."""
        return self.agency.backend == "eam"

    @property
    def told(self) -> str:
        return f"{self.type}: {self.policy.advice}"

    def wait(self, reason: str, *, until: float | None = None) -> Wait:
        return Wait(host=self.host, reason=reason, until=until)

    def alarm(self, reason: str) -> Alarm:
        return Alarm(host=self.host, cause=f"issue.{self.type}", reason=reason)

    def resolve(self) -> Resolve:
        return Resolve(
            host=self.host,
            agency=self.agency.id,
            agent=self.agent.id,
            issue_type=self.type,
            keys=(self.seen.issue.key,),
            disturbs=self.policy.effect,
            reason=self.told,
        )

    def tries(self) -> tuple[Attempt, ...]:
        since = self.observed.now - self.repair.window
        return self.view.record.tried("resolve", since=since, what=self.type)


def plan_issues(desired: Desired, observed: Observed, view: HostView) -> tuple[Action, ...]:
    """One answer per issue of the host's EsxAgent; a hold silences the others."""
    if observed.agency is None or view.agent is None:
        return ()
    answers: list[Action] = []
    for seen in view.issues:
        answer = _answer(_Case(desired, observed, view, observed.agency, view.agent, seen))
        if any(isinstance(each, Hold) for each in answer):
            return answer
        answers += answer
    return tuple(answers)


def _answer(case: _Case) -> tuple[Action, ...]:
    handling = case.policy.handling
    if case.type in MAINTENANCE_ISSUES or handling == "wait":
        return (case.wait(case.told),) if case.by_eam else _over(case)
    if handling in ("report", "block"):
        tried = (_now_and_then(case),) if handling == "report" and not case.by_eam else ()
        return (case.alarm(_in_full(case)), *tried)
    if handling == "settings":
        return _settings(case)
    if handling == "approve" and case.type not in case.view.record.approved:
        return (case.alarm(_in_full(case)),)
    if not case.repair.automatic and handling != "approve":
        return (case.alarm(f"{case.told}; automatic repair is off"),)
    doubt = _doubt(case) or _order(case)
    if doubt:
        return (doubt,)
    if handling == "retry":
        return (case.alarm(_in_full(case)), _now_and_then(case))
    if handling == "probe":
        return (case.alarm(_in_full(case)), _when_published(case))
    return (_bounded(case),)


def _over(case: _Case) -> tuple[Action, ...]:
    """The host is connected and not in maintenance, as whoever asks has seen: an issue of vLCM's may be a leftover."""
    if case.type == "AgencyDisabled":
        return (case.wait(case.told),)
    due = case.seen.seen.since + case.repair.settle
    if case.observed.now < due:
        return (case.wait(case.told, until=due),)
    return (_doubt(case) or _bounded(case),)


def _in_full(case: _Case) -> str:
    issue = case.seen.issue
    details = [f"{name}: {value}" for name, value in issue.details if value]
    return "; ".join([case.told, *([issue.description] if issue.description else []), *details[:4]])


def _doubt(case: _Case) -> Refetch | Wait | None:
    """Not yet certain: seen too seldom, or the inventory contradicts it. Then look again instead of acting."""
    seen, now, read_at = case.seen.seen, case.observed.now, case.observed.read_at
    firm_at = seen.since + CONFIRMED_AFTER * (case.policy.reads - 1)
    if seen.reads < case.policy.reads or read_at < firm_at:
        why = f"{case.type} was seen {seen.reads} of {case.policy.reads} times"
        again = firm_at if seen.reads >= case.policy.reads else read_at + CONFIRMED_AFTER
    else:
        contradiction = _contradiction(case.view, case.type)
        if not contradiction or now >= seen.since + CONTRADICTION_LASTS:
            return None
        why = f"{case.observed.keeper} says {case.type}, but {contradiction}"
        again = read_at + REFETCH_INTERVAL
    if now >= again:
        return Refetch(host=case.host, agency=case.agency.id, reason=f"{why}; reading again")
    return case.wait(f"{why}; it is read again before anything is done", until=again)


def _contradiction(view: HostView, issue_type: str) -> str:
    """What the inventory shows against the issue, empty if nothing."""
    vm = view.vm
    if vm is None:
        return ""
    if issue_type == "VmPoweredOff" and vm.power == "poweredOn":
        return f"{vm.name} is on"
    if issue_type == "VmPoweredOn" and vm.power == "poweredOff":
        return f"{vm.name} is off"
    if issue_type == "VmSuspended" and vm.power in ("poweredOn", "poweredOff"):
        return f"{vm.name} is not suspended"
    if issue_type == "VmNotDeployed" and vm.host == view.host.id and vm.connection not in ("orphaned", "invalid"):
        return f"{vm.name} is on the host"
    return ""


def _order(case: _Case) -> Wait | None:
    """A ContrailVM that was moved is missing here and orphaned there: deploy first, delete the orphan after.

    And a host that vLCM gave up comes after those that it kept from being repaired.
    """
    if case.type in HOOK_ISSUES:
        first = others_wait(case.desired, case.observed, case.view)
        return case.wait(f"{case.type}: tried again after {first}", until=case.observed.now + 10) if first else None
    if case.type != "VmOrphaned":
        return None
    for other in case.observed.hosts:
        if any(each.issue.type in MISSING_VM_ISSUES for each in other.issues):
            return case.wait(f"VmOrphaned: deleted once {other.host.name} has its ContrailVM back")
    # The new one may need what the orphan takes up (space, memory), so its patience has an end.
    patience = case.seen.seen.since + case.repair.progress_deadline
    if case.observed.now < patience and not is_serving(case.view):
        return case.wait(f"VmOrphaned: deleted once {case.view.host.name} has its ContrailVM back", until=patience)
    return None


def _bounded(case: _Case) -> Action:
    """Resolve at once; again after EAM had time; never more often than the flap guard allows."""
    repair, now, tries = case.repair, case.observed.now, case.tries()
    same_as_then = bool(tries) and case.seen.seen.since <= tries[-1].at
    if same_as_then and now < tries[-1].at + repair.settle:
        return case.wait(f"{case.observed.keeper} is resolving {case.type}", until=tries[-1].at + repair.settle)
    counted = case.view.record.counted("resolve", since=now - repair.window)
    mishaps = _mishaps((*counted, Attempt("resolve", case.type, now)), settle=repair.settle)
    if len(mishaps) > repair.attempts:
        kinds = ", ".join(sorted({each.what for each in mishaps}))
        minutes = int(repair.window / 60)
        reason = f"repaired {len(mishaps) - 1} times in {minutes} minutes and broken again ({kinds})"
        return Hold(host=case.host, reason=reason)
    return case.resolve()


def _mishaps(attempts: Iterable[Attempt], *, settle: float) -> list[Attempt]:
    """The repairs that the flap guard counts: one per mishap.

    Whoever deletes a ContrailVM powers it off before, so that a deletion is repaired twice: once when the VM is found
    off, and once when it is found gone.
    """
    counted: list[Attempt] = []
    for each in attempts:
        if policy_for(each.what).handling != "resolve":
            continue
        deletion = each.what in MISSING_VM_ISSUES and bool(counted) and policy_for(counted[-1].what).effect == "power"
        if deletion and each.at < counted[-1].at + settle:
            counted.pop()
        counted.append(each)
    return counted


def _now_and_then(case: _Case) -> Resolve | Wait:
    """Only the world outside can help; asking EAM to try again costs little, so now and then it is asked."""
    tries = case.view.record.tried("resolve", since=0.0, what=case.type)
    due = (tries[-1].at if tries else case.seen.seen.since) + case.repair.slow_retry
    asked = case.view.record.asked_at > (tries[-1].at if tries else 0.0)
    if asked or case.observed.now >= due:
        return case.resolve()
    return case.wait(f"{case.type} is tried again now and then", until=due)


def _when_published(case: _Case) -> Resolve | Wait | Alarm:
    """Resolve as soon as our own publishing answers again, with doubling pauses while EAM still cannot fetch."""
    offer, tries = case.observed.offer, case.tries()
    if offer is None or not offer.reachable:
        problem = offer.problem if offer is not None else "it is not published yet"
        return Alarm(host=case.host, cause="publishing", reason=f"the package cannot be fetched: {problem}")
    pause = min(case.repair.settle * 2 ** len(tries), case.repair.slow_retry)
    if tries and case.observed.now < tries[-1].at + pause:
        return case.wait(f"{case.type} is tried again", until=tries[-1].at + pause)
    return case.resolve()


def _settings(case: _Case) -> tuple[Action, ...]:
    """The host has no EsxAgent datastore or network: write them if there is one choice only, else name the choices."""
    desired, observed, host = case.desired, case.observed, case.view.host
    stores = [each for each in host.datastores if each in observed.datastores and observed.datastores[each].accessible]
    chosen = [each for each in desired.datastores if each in stores][:1] or stores
    datastore = host.agent_datastore or (chosen[0] if len(chosen) == 1 else None)
    network = host.agent_network or desired.management
    if case.type == "NoAgentVmDatastore" and datastore is None:
        names = ", ".join(sorted(observed.datastores[each].name for each in stores)) or "it has none"
        return (case.alarm(f"{case.told}; name one of its datastores in the deployment: {names}"),)
    if network is not None and network not in host.networks:
        name = observed.networks[network].name if network in observed.networks else network
        return (case.alarm(f"{case.told}; the host does not have the management network {name}"),)
    tries = case.view.record.tried("settings", since=observed.now - case.repair.window)
    if tries and observed.now < tries[-1].at + case.repair.settle:
        return (
            case.wait(
                f"{case.observed.keeper} looks at the new EsxAgent settings", until=tries[-1].at + case.repair.settle
            ),
        )
    if len(tries) >= case.repair.attempts:
        return (case.alarm(f"{case.told}; our settings did not help"),)
    written = SetHostAgentSettings(host=host.id, datastore=datastore, network=network, reason=case.told)
    return (written,) if case.by_eam else (written, case.resolve())


def plan_forwarding(desired: Desired, observed: Observed, view: HostView) -> tuple[Action, ...]:
    """A vRouter that stopped forwarding: alarm at once, restart after a grace, one at a time, bounded.

    When most vRouters of a cluster stop together the cause lies elsewhere (a controller, the network); restarting them
    would only take away what still forwards, so then nobody is restarted.
    """
    vrouter, vm = view.vrouter, view.vm
    if vrouter is None or vrouter.forwards or vm is None or vm.power != "poweredOn":
        return ()
    host = view.host.id
    serving = [each for each in observed.hosts if _serving(each)]
    down = [each for each in serving if each.vrouter and not each.vrouter.forwards]
    alarm = Alarm(host=host, cause="vrouter.down", reason=f"the vRouter does not forward: {vrouter.reason}")
    if len(down) > 1 and 2 * len(down) > len(serving):
        reason = f"{len(down)} of {len(serving)} vRouters stopped together: look at the controllers; none is restarted"
        return (alarm, Wait(host=host, reason=reason))
    grace = vrouter.since + desired.repair.forwarding_grace
    if observed.now < grace:
        return (alarm, Wait(host=host, reason="the ContrailVM is restarted unless the vRouter comes back", until=grace))
    first = min(down, key=lambda each: (each.vrouter.since if each.vrouter else 0.0, each.host.name), default=view)
    if first.host.id != host:
        return (alarm, Wait(host=host, reason=f"{first.host.name} is restarted first", until=observed.now + 30.0))
    return (alarm, *plan_restart(desired, observed, view, vm.id, why="it stopped forwarding"))


def _serving(view: HostView) -> bool:
    """The host's ContrailVM is meant to forward now."""
    return (
        view.reachable
        and view.host.in_maintenance is False
        and view.agent is not None
        and view.hook is None
        and not view.issues
        and view.vrouter is not None
        and view.record.hold is None
    )
