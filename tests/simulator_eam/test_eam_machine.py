"""The decision what happens next to one EsxAgent: every phase, every issue that a situation raises or clears."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrail_vsphere.simulator.eam.issues import NOT_BLOCKING, RULES
from contrail_vsphere.simulator.eam.machine import decide, status
from contrail_vsphere.simulator.eam.outcomes import Do
from contrail_vsphere.simulator.eam.situation import RUNNING, Phase, Situation

P = Phase


def at(phase, **facts):
    return Situation(phase=phase, **facts)


def outcome(situation):
    decision = decide(situation)
    return decision.phase, decision.do.operation if decision.do else None, decision.raised


OK = {"vm": "on", "heartbeat": True, "marked": True}

STEPS = [
    # deployment
    ("fresh", at(P.PRECHECK), (P.DEPLOYING, "deploy", ())),
    ("no package", at(P.PRECHECK, has_package=False), (P.STEADY, None, ())),
    ("hook held", at(P.HOOK_PROVISIONED, vm="off", hook_after_provisioning=True), (P.HOOK_PROVISIONED, None, ())),
    ("hook flag dropped", at(P.HOOK_PROVISIONED, vm="off"), (P.POWERING_ON, "power-on", ())),
    ("package changed in hook", at(P.HOOK_PROVISIONED, vm="off", vm_current=False), (P.DISCARD, "discard", ())),
    ("goal disabled after hook", at(P.HOOK_PROVISIONED, vm="off", goal="disabled"), (P.OFF, None, ())),
    ("power on", at(P.POWERING_ON, vm="off"), (P.POWERING_ON, "power-on", ())),
    ("resume", at(P.POWERING_ON, vm="suspended"), (P.POWERING_ON, "power-on", ())),
    ("marked by person", at(P.HOOK_POWERED_ON, vm="on", hook_after_power_on=True), (P.HOOK_POWERED_ON, None, ())),
    ("no poweredOn hook", at(P.HOOK_POWERED_ON, vm="on"), (P.WAIT_HEARTBEAT, None, ())),
    ("no heartbeat yet", at(P.WAIT_HEARTBEAT, vm="on"), (P.WAIT_HEARTBEAT, None, ())),
    ("heartbeat", at(P.WAIT_HEARTBEAT, **OK), (P.STEADY, None, ())),
    ("heartbeat lost", at(P.STEADY, vm="on"), (P.WAIT_HEARTBEAT, None, ())),
    ("heartbeat lost, not minded", at(P.STEADY, vm="on", minds_heartbeat=False), (P.STEADY, None, ())),
    ("steady", at(P.STEADY, **OK), (P.STEADY, None, ())),
    ("properties changed", at(P.STEADY, **OK, properties_current=False), (P.STEADY, "reconfigure", ())),
    # obstacles
    (
        "maintenance before deploy",
        at(P.PRECHECK, host="maintenance"),
        (P.PRECHECK, None, ("VmRequiresHostOutOfMaintenanceMode",)),
    ),
    ("standby before deploy", at(P.PRECHECK, host="standby"), (P.PRECHECK, None, ())),
    ("unreachable", at(P.PRECHECK, host="unreachable"), (P.PRECHECK, None, ("HostNotReachable",))),
    ("cluster disabled", at(P.PRECHECK, disabled=True), (P.PRECHECK, None, ())),
    (
        "no datastore",
        at(P.PRECHECK, problems=("NoAgentVmDatastore", "NoAgentVmNetwork")),
        (P.PRECHECK, None, ("NoAgentVmDatastore", "NoAgentVmNetwork")),
    ),
    (
        "no matching entry",
        at(P.PRECHECK, problems=("IncompatibleHostVersion",)),
        (P.PRECHECK, None, ("IncompatibleHostVersion",)),
    ),
    (
        "maintenance before power-on",
        at(P.POWERING_ON, vm="off", host="maintenance"),
        (P.POWERING_ON, None, ("HostInMaintenanceMode",)),
    ),
    (
        "standby before power-on",
        at(P.POWERING_ON, vm="off", host="standby"),
        (P.POWERING_ON, None, ("HostInStandbyMode",)),
    ),
    ("template", at(P.POWERING_ON, vm="off", as_template=True), (P.POWERING_ON, None, ("VmMarkedAsTemplate",))),
    # what people do
    ("powered off", at(P.STEADY, vm="off"), (P.POWERING_ON, None, ("VmPoweredOff",))),
    (
        "powered off in hook",
        at(P.HOOK_POWERED_ON, vm="off", hook_after_power_on=True),
        (P.POWERING_ON, None, ("VmPoweredOff",)),
    ),
    ("suspended", at(P.STEADY, vm="suspended"), (P.POWERING_ON, None, ("VmSuspended",))),
    ("deleted", at(P.STEADY, vm="none"), (P.PRECHECK, None, ("VmNotDeployed",))),
    (
        "deleted in hook",
        at(P.HOOK_PROVISIONED, vm="none", hook_after_provisioning=True),
        (P.PRECHECK, None, ("VmNotDeployed",)),
    ),
    ("inaccessible", at(P.STEADY, vm="inaccessible"), (P.STEADY, None, ("VmInaccessible",))),
    ("powered on while disabled", at(P.OFF, vm="on", goal="disabled"), (P.POWERING_OFF, None, ("VmPoweredOn",))),
    ("host started it again", at(P.STEADY, vm="off", restarting=True), (P.POWERING_ON, "power-on", ())),
    # maintenance
    ("host entered maintenance", at(P.STEADY, vm="off", host="maintenance"), (P.MAINTENANCE, None, ())),
    ("in maintenance", at(P.MAINTENANCE, vm="off", host="maintenance"), (P.MAINTENANCE, None, ())),
    (
        "in maintenance, always an issue",
        at(P.MAINTENANCE, vm="off", host="maintenance", maintenance_is_issue=True),
        (P.MAINTENANCE, None, ("HostInMaintenanceMode",)),
    ),
    (
        "upgrade due in maintenance",
        at(P.MAINTENANCE, vm="off", host="maintenance", vm_current=False),
        (P.MAINTENANCE, None, ("VmRequiresHostOutOfMaintenanceMode",)),
    ),
    ("out of maintenance", at(P.MAINTENANCE, vm="off"), (P.POWERING_ON, "power-on", ())),
    # goal
    ("disabled", at(P.STEADY, **OK, goal="disabled"), (P.POWERING_OFF, "power-off", ())),
    ("off", at(P.OFF, vm="off", goal="disabled"), (P.OFF, None, ())),
    ("enabled again", at(P.OFF, vm="off"), (P.POWERING_ON, "power-on", ())),
    # upgrade
    ("upgrade", at(P.STEADY, **OK, vm_current=False), (P.UPGRADE_DEPLOY, "deploy-new", ())),
    (
        "upgrade, no datastore",
        at(P.STEADY, **OK, vm_current=False, problems=("NoAgentVmDatastore",)),
        (P.UPGRADE_PRECHECK, None, ("NoAgentVmDatastore",)),
    ),
    (
        "new held",
        at(P.UPGRADE_PROVISIONED, vm="on", new_vm="off", vm_current=False, hook_after_provisioning=True),
        (P.UPGRADE_PROVISIONED, None, ()),
    ),
    (
        "new deleted by a person",
        at(P.UPGRADE_PROVISIONED, vm="on", vm_current=False, hook_after_provisioning=True),
        (P.UPGRADE_PRECHECK, None, ("VmNotDeployed",)),
    ),
    (
        "rolled back in hook",
        at(P.UPGRADE_PROVISIONED, vm="on", new_vm="off", new_vm_current=False, hook_after_provisioning=True),
        (P.DROP_NEW, "delete-new", ()),
    ),
    ("rolled back", at(P.UPGRADE_PRECHECK, **OK), (P.STEADY, None, ())),
    (
        "rolled back, never marked",
        at(P.UPGRADE_PRECHECK, vm="on", heartbeat=True, hook_after_power_on=True),
        (P.HOOK_POWERED_ON, None, ()),
    ),
    ("old off", at(P.OLD_OFF, vm="on", new_vm="off", vm_current=False), (P.OLD_OFF, "power-off-old", ())),
    ("old delete", at(P.OLD_OFF, vm="off", new_vm="off", vm_current=False), (P.OLD_DELETE, "delete-old", ())),
    (
        "old deleted",
        at(P.OLD_DELETE, new_vm="off", vm_current=False, hook_after_provisioning=True),
        (P.HOOK_PRE_POWER_ON, None, ()),
    ),
    ("old deleted, no hook", at(P.OLD_DELETE, new_vm="off", vm_current=False), (P.POWERING_ON, "power-on", ())),
    (
        "old deleted, no such hook",
        at(P.OLD_DELETE, new_vm="off", hook_after_provisioning=True, pre_power_on_hook=False),
        (P.POWERING_ON, "power-on", ()),
    ),
    # removal
    ("leave", at(P.STEADY, **OK, leaving=True), (P.REMOVE_OFF, "power-off-all", ())),
    ("leave, delete", at(P.DELETING, vm="off", leaving=True), (P.DELETING, "delete-all", ())),
    ("leave, gone", at(P.DELETING, leaving=True), (P.DELETING, "forget", ())),
    ("leave, host gone", at(P.STEADY, vm="on", leaving=True, host="gone"), (P.REMOVE_OFF, "forget", ())),
    (
        "leave, unreachable",
        at(P.STEADY, vm="on", leaving=True, host="unreachable"),
        (P.REMOVE_OFF, None, ("HostNotReachable",)),
    ),
    (
        "leave in maintenance",
        at(P.MAINTENANCE, vm="off", leaving=True, host="maintenance"),
        (P.REMOVE_OFF, "power-off-all", ()),
    ),
    (
        "leave, waits",
        at(P.REMOVE_OFF, vm="off", leaving=True, host="maintenance", removal_waits_for_maintenance=True),
        (P.REMOVE_OFF, None, ("HostInMaintenanceMode",)),
    ),
    ("back in scope", at(P.REMOVE_OFF, vm="on"), (P.POWERING_ON, "power-on", ())),
    ("back in scope, gone", at(P.DELETING), (P.DEPLOYING, "deploy", ())),
]


@pytest.mark.parametrize(("situation", "expected"), [step[1:] for step in STEPS], ids=[step[0] for step in STEPS])
def test_each_row_of_the_phase_table(situation, expected):
    assert outcome(situation) == expected


CLEARS = [
    ("VmPoweredOff", at(P.POWERING_ON, vm="off"), {"vm": "on"}),
    ("VmPoweredOff", at(P.POWERING_ON, vm="off"), {"host": "maintenance"}),
    ("VmPoweredOff", at(P.POWERING_ON, vm="off"), {"goal": "disabled"}),
    ("VmPoweredOn", at(P.POWERING_OFF, vm="on", goal="disabled"), {"vm": "off"}),
    ("VmPoweredOn", at(P.POWERING_OFF, vm="on", goal="disabled"), {"goal": "enabled"}),
    ("VmSuspended", at(P.POWERING_ON, vm="suspended"), {"vm": "on"}),
    ("NoAgentVmDatastore", at(P.PRECHECK, problems=("NoAgentVmDatastore",)), {"problems": ()}),
    ("NoAgentVmNetwork", at(P.PRECHECK, problems=("NoAgentVmNetwork",)), {"problems": ()}),
    ("NoCustomAgentVmDatastore", at(P.PRECHECK, problems=("NoCustomAgentVmDatastore",)), {"problems": ()}),
    ("NoCustomAgentVmNetwork", at(P.PRECHECK, problems=("NoCustomAgentVmNetwork",)), {"problems": ()}),
    ("IncompatibleHostVersion", at(P.PRECHECK, problems=("IncompatibleHostVersion",)), {"problems": ()}),
    ("HostNotReachable", at(P.STEADY, **OK, host="unreachable"), {"host": "ready"}),
    ("HostInMaintenanceMode", at(P.POWERING_ON, vm="off", host="maintenance"), {"host": "ready"}),
    ("VmRequiresHostOutOfMaintenanceMode", at(P.PRECHECK, host="maintenance"), {"host": "ready"}),
    ("HostInStandbyMode", at(P.PRECHECK, host="standby"), {"host": "ready"}),
    ("InvalidConfig", at(P.POWERING_ON, vm="off"), {"vm_changed": True}),
    ("InvalidConfig", at(P.POWERING_ON, vm="off"), {"vm": "on"}),
    ("VmInaccessible", at(P.STEADY, vm="inaccessible"), {"vm": "on"}),
    ("VmDeployed", at(P.DELETING, vm="off", leaving=True), {"vm": "none"}),
    ("VmMarkedAsTemplate", at(P.POWERING_ON, vm="off", as_template=True), {"as_template": False}),
    ("CannotAccessAgentOVF", at(P.UPGRADE_PRECHECK, **OK, vm_current=False), {"vm_current": True}),
]


@pytest.mark.parametrize(("issue", "situation", "change"), CLEARS)
def test_an_issue_holds_until_its_condition_is_gone(issue, situation, change):
    held = replace(situation, issues=frozenset({issue}))
    assert decide(held).cleared == frozenset()
    assert decide(held).do is None
    assert decide(replace(held, **change)).cleared == {issue}


@pytest.mark.parametrize(
    "issue", ["CannotAccessAgentOVF", "CertificateNotTrusted", "InsufficientSpace", "OvfInvalidFormat", "VmNotDeployed"]
)
def test_some_issues_wait_for_resolve_whatever_happens(issue):
    waiting = at(P.PRECHECK, issues=frozenset({issue}))
    assert decide(waiting).cleared == frozenset()
    assert decide(waiting).do is None
    assert decide(replace(waiting, issues=frozenset())).do == Do("deploy", P.POWERING_ON, P.PRECHECK)


def test_one_wrong_power_state_is_not_healed_by_another():
    off = at(P.POWERING_ON, vm="suspended", issues=frozenset({"VmPoweredOff"}))
    assert decide(off).raised == ("VmSuspended",)
    suspended = at(P.POWERING_ON, vm="off", issues=frozenset({"VmSuspended"}))
    assert decide(suspended).raised == ("VmPoweredOff",)
    disabled = at(P.POWERING_OFF, vm="suspended", goal="disabled", issues=frozenset({"VmPoweredOn"}))
    assert decide(disabled).raised == ("VmSuspended",)


def test_a_host_that_comes_back_gets_its_esx_agent_started():
    back = at(P.STEADY, vm="off", issues=frozenset({"HostNotReachable"}))
    assert decide(back).do.operation == "power-on"
    assert decide(replace(back, vm="on", heartbeat=True)).phase is P.STEADY


def test_maintenance_takes_the_power_issue_away_and_the_exit_starts():
    entered = at(P.POWERING_ON, vm="off", host="maintenance", issues=frozenset({"VmPoweredOff"}))
    decision = decide(entered)
    assert (decision.phase, decision.cleared, decision.do) == (P.MAINTENANCE, {"VmPoweredOff"}, None)


def test_status_follows_phase_and_issues():
    assert status(P.STEADY, frozenset(), in_maintenance="yellow") == "green"
    assert status(P.OFF, frozenset(), in_maintenance="yellow") == "green"
    assert status(P.MAINTENANCE, frozenset(), in_maintenance="green") == "green"
    assert status(P.MAINTENANCE, frozenset(), in_maintenance="yellow") == "yellow"
    assert status(P.HOOK_PROVISIONED, frozenset(), in_maintenance="green") == "yellow"
    assert status(P.STEADY, frozenset({"VmOrphaned"}), in_maintenance="green") == "red"


situations = st.builds(
    Situation,
    phase=st.sampled_from(Phase),
    goal=st.sampled_from(["enabled", "disabled", "uninstalled"]),
    leaving=st.booleans(),
    disabled=st.booleans(),
    host=st.sampled_from(["ready", "maintenance", "standby", "unreachable", "gone"]),
    has_package=st.booleans(),
    problems=st.sampled_from([(), ("NoAgentVmDatastore",), ("NoAgentVmNetwork", "NoAgentVmDatastore")]),
    vm=st.sampled_from(["none", "off", "on", "suspended", "inaccessible"]),
    new_vm=st.sampled_from(["none", "off", "on", "suspended", "inaccessible"]),
    heartbeat=st.booleans(),
    new_heartbeat=st.booleans(),
    blue_green=st.booleans(),
    vm_changed=st.booleans(),
    restarting=st.booleans(),
    as_template=st.booleans(),
    vm_current=st.booleans(),
    new_vm_current=st.booleans(),
    properties_current=st.booleans(),
    marked=st.booleans(),
    hook_after_provisioning=st.booleans(),
    hook_after_power_on=st.booleans(),
    pre_power_on_hook=st.booleans(),
    maintenance_is_issue=st.booleans(),
    removal_waits_for_maintenance=st.booleans(),
    minds_heartbeat=st.booleans(),
    issues=st.frozensets(st.sampled_from(sorted(RULES)), max_size=3),
)


@given(situations)
def test_every_situation_has_a_decision_that_stays(situation):
    decision = decide(situation)
    assert not (decision.do and decision.raised)
    if decision.do is None and not decision.raised and not situation.leaving:
        settled = replace(situation, phase=decision.phase, issues=situation.issues - decision.cleared)
        again = decide(settled)
        assert again.do is None
        assert again.phase is decision.phase


@given(situations)
def test_nothing_is_done_against_an_issue_or_on_a_host_that_cannot_be_reached(situation):
    decision = decide(situation)
    if decision.do is None:
        return
    left = situation.issues - decision.cleared
    if decision.do.operation != "forget":
        assert situation.host in {"ready", "maintenance", "standby"}
        assert not left - NOT_BLOCKING
    if decision.do.operation in {"deploy", "deploy-new"}:
        assert situation.host == "ready"
        assert not situation.problems
    if decision.do.operation == "power-on" and situation.vm != "on" and situation.new_vm != "on":
        assert situation.host == "ready"


@given(situations.filter(lambda s: not s.leaving and s.host == "ready" and s.goal == "enabled"))
def test_eam_never_powers_on_what_a_person_switched_off(situation):
    if situation.phase in RUNNING and situation.subject in {"off", "suspended"} and not situation.restarting:
        if "HostNotReachable" in situation.issues and situation.subject == "off":
            return
        assert decide(situation).do is None or decide(situation).do.operation != "power-on"


@given(situations, st.sampled_from(["none", "off", "suspended", "inaccessible"]))
def test_without_a_gap_the_old_one_runs_until_the_new_one_does(situation, new_vm):
    upgrading = replace(situation, leaving=False, goal="enabled", vm="on", new_vm=new_vm, blue_green=True)
    if upgrading.phase is not P.OLD_DELETE:
        decision = decide(upgrading)
        assert decision.do is None or decision.do.operation not in {"power-off-old", "delete-old"}


@pytest.mark.parametrize(
    ("phase", "facts", "expected"),
    [
        (P.UPGRADE_PROVISIONED, {"new_vm": "off"}, (P.NEW_POWERING_ON, "power-on-new", ())),
        (P.NEW_HOOK_POWERED_ON, {"new_vm": "on", "hook_after_power_on": True}, (P.NEW_HOOK_POWERED_ON, None, ())),
        (P.NEW_HOOK_POWERED_ON, {"new_vm": "on"}, (P.NEW_WAIT_HEARTBEAT, None, ())),
        (P.NEW_HOOK_POWERED_ON, {"new_vm": "off"}, (P.NEW_POWERING_ON, "power-on-new", ())),
        (P.NEW_WAIT_HEARTBEAT, {"new_vm": "on", "new_heartbeat": True}, (P.OLD_OFF, "power-off-old", ())),
        (P.NEW_WAIT_HEARTBEAT, {}, (P.UPGRADE_PRECHECK, None, ("VmNotDeployed",))),
        (P.NEW_POWERING_ON, {"new_vm": "on", "new_vm_current": False}, (P.DROP_NEW, "delete-new", ())),
        (P.OLD_OFF, {"new_vm": "inaccessible"}, (P.OLD_OFF, None, ())),
        (P.OLD_OFF, {"new_vm": "off"}, (P.NEW_POWERING_ON, "power-on-new", ())),
        (P.OLD_DELETE, {"vm": "none", "new_vm": "on"}, (P.WAIT_HEARTBEAT, None, ())),
    ],
)
def test_steps_of_an_upgrade_without_a_gap(phase, facts, expected):
    assert outcome(at(phase, **{"vm": "on", "vm_current": False, "blue_green": True, **facts})) == expected
