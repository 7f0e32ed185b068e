"""What must hold in every world, however broken: searched for by hypothesis."""

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contrail_vsphere.contrailvm.desired import from_record, to_record
from contrail_vsphere.contrailvm.networks import is_ours
from contrail_vsphere.contrailvm.observed import VRouterFact
from contrail_vsphere.contrailvm.plan.actions import (
    CreateAgency,
    DestroyAgency,
    EnsureTrunkPortGroup,
    Hold,
    MarkAsAvailable,
    PowerOffContrailVm,
    ReconfigureVm,
    Resolve,
    RestartContrailVm,
    UninstallAgency,
    UpdateAgency,
    changes_world,
)
from contrail_vsphere.contrailvm.plan.policy import ISSUES, MAINTENANCE_ISSUES
from contrail_vsphere.contrailvm.records import Attempt, HoldRecord, HookWork, HostRecord
from contrail_vsphere.model.eam import Issue, VmHook
from contrail_vsphere.model.ids import HostId, NetworkId, VmId

from plan_world import DESIRED, SOLUTION, T0, World  # isort: skip

HOSTS = (1, 2, 3)

host_states = st.fixed_dictionaries(
    {
        "connection": st.sampled_from(["connected", "disconnected", "notResponding", None]),
        "power": st.sampled_from(["poweredOn", "poweredOff", "standBy", None]),
        "in_maintenance": st.sampled_from([False, False, True, None]),
    }
)
attempts = st.lists(
    st.builds(
        Attempt,
        st.sampled_from(["resolve", "restart", "reconfigure", "settings"]),
        st.sampled_from(["VmPoweredOff", "VmNotDeployed", "vm-1", "provisioned vm-1", "drift vm-1"]),
        st.floats(T0 - 4000, T0),
    ),
    max_size=5,
).map(lambda each: tuple(sorted(each, key=lambda one: one.at)))
works = st.none() | st.builds(
    HookWork,
    st.sampled_from([VmId("vm-1"), VmId("vm-2"), VmId("vm-3")]),
    st.sampled_from(["provisioned", "prePowerOn", "poweredOn"]),
    st.floats(T0 - 100, T0),
)
records = st.builds(
    HostRecord,
    attempts=attempts,
    hold=st.none() | st.just(HoldRecord("why", T0)),
    prepared=works,
    released=works,
    enrolled=st.sampled_from([None, VmId("vm-1")]),
    approved=st.lists(st.sampled_from(sorted(ISSUES)), max_size=3).map(tuple),
)
agents = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["green", "yellow", "red"]),
        "vm": st.sampled_from(["own", None, "vm-404"]),
        "hook": st.sampled_from([None, "provisioned", "prePowerOn", "poweredOn"]),
        "issues": st.lists(st.sampled_from([*sorted(ISSUES), "VmHasWings"]), max_size=3, unique=True),
        "power": st.sampled_from(["poweredOn", "poweredOff", "suspended"]),
        "overlay": st.sampled_from(["dvportgroup-9", "network-1", None]),
        "vrouter": st.none() | st.tuples(st.booleans(), st.booleans(), st.floats(T0 - 1000, T0 + 100)),
        "reads": st.integers(1, 4),
    }
)
worlds = st.fixed_dictionaries(
    {
        "hosts": st.tuples(*[host_states] * 3),
        "agents": st.tuples(*[agents] * 3),
        "records": st.tuples(*[records] * 3),
        "goal": st.sampled_from(["enabled", "enabled", "enabled", "disabled", "uninstalled"]),
        "trunk": st.sampled_from(["ours", "wrong", "foreign", "gone"]),
        "agency": st.sampled_from(["ours", "ours", "ours", "none", "foreign"]),
        "removed": st.sampled_from([False, False, False, True]),
        "later": st.floats(0, 5000),
    }
)


def build(given_world) -> World:
    world = World()
    for number, host, agent, record in zip(
        HOSTS, given_world["hosts"], given_world["agents"], given_world["records"], strict=True
    ):
        world.host(number, **host)
        own = f"vm-{number}"
        nics = world.inventory.vms[own].nics
        overlay = NetworkId(agent["overlay"]) if agent["overlay"] else None
        world.vm(number, power=agent["power"], nics=(nics[0], replace(nics[1], network=overlay)))
        vm = VmId(own) if agent["vm"] == "own" else agent["vm"]
        hook = VmHook(VmId(own), agent["hook"]) if agent["hook"] else None
        issues = tuple(Issue(kind, 10 * number + n) for n, kind in enumerate(agent["issues"]))
        world.agent(number, status=agent["status"], vm=vm, hook=hook, issues=issues)
        vrouter = agent["vrouter"]
        fact = VRouterFact(vrouter[0], vrouter[1], "why", vrouter[2], T0 - 500) if vrouter else None
        facts = {key: value for key, value in world.memory.vrouters.items() if key != f"host-{number}"}
        world.memory = replace(
            world.memory,
            hosts={**world.memory.hosts, HostId(f"host-{number}"): record},
            vrouters={**facts, **({HostId(f"host-{number}"): fact} if fact else {})},
        )
    _agency(world, given_world)
    _trunk(world, given_world["trunk"])
    world.desire(removed=given_world["removed"])
    world.read(times=max(agent["reads"] for agent in given_world["agents"]))
    world.later(given_world["later"])
    return world


def _agency(world, given_world):
    world.agency = replace(world.agency, goal=given_world["goal"])
    if given_world["agency"] != "ours":
        world.readings.gone(world.agency.id)
        world.agency = None if given_world["agency"] == "none" else replace(world.agency, solution_id="somebody.else")


def _trunk(world, state):
    network = world.inventory.networks["dvportgroup-9"]
    if state == "gone":
        del world.inventory.networks["dvportgroup-9"]
    elif state == "wrong":
        world.inventory.networks["dvportgroup-9"] = replace(network, promiscuous=False)
    elif state == "foreign":
        world.inventory.networks["dvportgroup-9"] = replace(network, description="", promiscuous=False)


many = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@many
@given(worlds)
def test_every_world_has_a_plan_whose_invariants_hold(given_world):
    world = build(given_world)
    actions = world.plan()
    views = {view.host.id: view for view in world.observed().hosts}
    for action in actions:
        assert action.reason, "everything has a reason a person can read"
        if isinstance(action, Resolve):
            assert action.issue_type not in MAINTENANCE_ISSUES
            if action.disturbs in ("maintenance", "reboot"):
                assert action.issue_type in views[action.host].record.approved
            assert views[action.host].host.in_maintenance is False
        if action.host is not None and changes_world(action):
            view = views[action.host]
            assert view.reachable and view.record.hold is None
        if isinstance(action, MarkAsAvailable | ReconfigureVm | RestartContrailVm | PowerOffContrailVm):
            assert action.vm in (f"vm-{n}" for n in HOSTS)
        if isinstance(action, PowerOffContrailVm):
            assert views[action.host].hook.state != "poweredOn" and views[action.host].hook_vm.power != "poweredOff"
        if isinstance(action, MarkAsAvailable) and action.hook != "poweredOn":
            released = views[action.host].record.released
            told = released is not None and (released.vm, released.hook) == (action.vm, action.hook)
            assert told or views[action.host].hook_vm.power == "poweredOff"
        if isinstance(action, MarkAsAvailable) and action.hook == "poweredOn":
            assert views[action.host].vrouter.ready
        if isinstance(action, EnsureTrunkPortGroup) and action.existing:
            assert is_ours(world.inventory.networks[action.existing], SOLUTION)


@many
@given(worlds)
def test_never_two_agencies_and_never_a_foreign_one_touched(given_world):
    world = build(given_world)
    creates = world.only(CreateAgency)
    assert len(creates) <= 1
    if given_world["agency"] == "ours":
        assert not creates
    else:
        assert not world.only(UpdateAgency, UninstallAgency, DestroyAgency, Resolve, MarkAsAvailable, ReconfigureVm)
    if not given_world["removed"] and given_world["goal"] != "uninstalled":
        assert not world.only(UninstallAgency, DestroyAgency)


@many
@given(worlds)
def test_planning_is_repeatable_and_does_one_thing_per_vm_at_a_time(given_world):
    world = build(given_world)
    first = world.plan()
    assert first == world.plan()
    for host in {action.host for action in first if action.host is not None}:
        exclusive = [
            a
            for a in first
            if a.host == host
            and isinstance(a, Hold | ReconfigureVm | MarkAsAvailable | RestartContrailVm | PowerOffContrailVm)
        ]
        assert len(exclusive) <= 1


@given(records)
def test_records_survive_the_journal(record):
    assert from_record(HostRecord, to_record(record)) == record


def test_desired_state_survives_the_journal():
    import json

    assert from_record(type(DESIRED), json.loads(json.dumps(to_record(DESIRED)))) == DESIRED
