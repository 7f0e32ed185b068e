"""Scenario files say precisely what is wrong with them, play as written, and record what they then replay."""

import asyncio

import aiohttp
import looptime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.play import ScenarioFailed, play
from contrail_vsphere.simulator.record import Recorder
from contrail_vsphere.simulator.story import ScenarioError, Step, load, parse, render
from contrail_vsphere.wire.soap.fault import SoapFault

# -- what is wrong with a file ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[step]\n", "Expected"),
        ("steps = 1", "unknown key steps; did you mean step"),
        ("step = 1", r"written as \[\[step\]\]"),
        ("[[step]]\nat = 1", "step 1: a step has exactly one of do, fault and wait"),
        ("[[step]]\ndo = 'power_of'", "there is no verb power_of; did you mean power_off"),
        ("[[step]]\ndo = 'power_off'", "power_off needs vm"),
        ("[[step]]\ndo = 'power_off'\nwith = { vm = 'a', host = 'b' }", "power_off has no argument host"),
        ("[[step]]\ndo = 'create_vm'\nwith = { name = 'a', nics = 'two' }", "nics must be a whole number"),
        ("[[step]]\ndo = 'create_vm'\nwith = { name = 'a', power_on = 1 }", "power_on must be true or false"),
        ("[[step]]\ndo = 'reset'\nwit = {}", "unknown key wit; did you mean with"),
        ("[[step]]\ndo = 'reset'\nat = -1", "at must be a number of seconds, not negative"),
        ("[[step]]\ndo = 'reset'\nat = 2\n[[step]]\ndo = 'reset'\nat = 1", "step 2: at = 1 is before"),
        ("[[step]]\nfault = { metod = 'Login' }", "a fault rule has no field metod; did you mean method"),
        ("[[step]]\nfault = { fault = 'NoSuchFault' }", "the API has no fault NoSuchFault"),
        ("[[step]]\nfault = { times = 'often', delay = '1' }", "delay must be a number"),
        ("[[step]]\nwait = { object = 'x' }", "wait needs either a state or gone = true"),
        ("[[step]]\nwait = { object = 'x', state = { a = 1 } }\nwithin = 0", "within must be a number of seconds"),
        ("[[step]]\nwait = { state = { a = 1 } }", "wait needs the name or id of an object"),
    ],
)
def test_problems_are_named_with_their_step(text, problem):
    with pytest.raises(ScenarioError, match=problem):
        parse(text)


def test_every_problem_of_a_file_is_found(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("[[step]]\ndo = 'x'\n[[step]]\ndo = 'power_on'\n[[step]]\nfault = 3\n")
    with pytest.raises(ScenarioError) as caught:
        load(path)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["step 1", "step 2", "step 3"]
    assert str(path) in str(caught.value)
    with pytest.raises(ScenarioError, match="cannot be read"):
        load(tmp_path / "absent.toml")


texts = st.text(st.characters(blacklist_categories=("Cs",)), max_size=8)


@given(name=texts, at=st.floats(0, 1e6), deadline=st.floats(0, 1e6), background=st.booleans())
def test_steps_are_read_as_they_were_written(name, at, deadline, background):
    arguments = {"host": name, "deadline": deadline}
    step = Step(at=round(at, 6), do="enter_maintenance", arguments=arguments, fails=name, background=background)
    assert parse(render(step)).steps == (step,)


# -- playing ------------------------------------------------------------------------------------------------------

EVENING = """
name = "a host is serviced"

[[step]]
fault = { method = "PowerOffVM_Task", fault = "TaskInProgress", times = 1 }

[[step]]
at = 10
do = "enter_maintenance"
with = { host = "esx-00" }
background = true

[[step]]
wait = { object = "esx-00", type = "HostSystem", state = { in_maintenance = true, vms = [] } }
within = 600

[[step]]
at = 5000
do = "remove_host"
with = { host = "esx-00" }

[[step]]
wait = { object = "esx-00", gone = true }

[[step]]
do = "power_on"
with = { vm = "vm-0001" }
fails = "InvalidPowerState"
"""


@pytest.mark.looptime
async def test_a_scenario_plays_on_a_virtual_loop(make_simulator):
    async with make_simulator(timing=Timing.real()) as lab:
        played = await play(lab, parse(EVENING))
        assert played.steps == 6
        assert 5000 <= played.seconds < 5010
        assert "esx-00" not in lab.inventory
        ((rule, _),) = lab.scenario.faults().values()
        assert rule.method == "PowerOffVM_Task"


async def test_virtual_time_needs_no_virtual_loop(make_simulator):
    async with make_simulator(timing=Timing.real()) as lab:
        async with asyncio.timeout(600):
            played = await play(lab, parse(EVENING), virtual=True)
        assert played.seconds >= 5000


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("do = 'power_on'\nwith = { vm = 'vm-0000' }", "step 2.*ended with InvalidPowerState"),
        ("do = 'power_off'\nwith = { vm = 'vm-0000' }\nfails = 'InvalidState'", "succeeded, where InvalidState"),
        ("do = 'power_on'\nwith = { vm = 'nobody' }", "there is no VirtualMachine nobody"),
        (
            "wait = { object = 'esx-00', state = { in_maintenance = true } }\nwithin = 9",
            "after 9 s: in_maintenance is Fa",
        ),
        ("wait = { object = 'esx-77', state = { name = 'x' } }\nwithin = 9", "there is no object esx-77"),
        ("wait = { object = 'esx-00', gone = true }\nwithin = 9", "HostSystem host-[0-9]+ is there"),
        ("wait = { object = 'esx-00', state = { colour = 'red' } }\nwithin = 9", "a HostSystem has no colour"),
    ],
)
async def test_a_step_that_ends_otherwise_is_named(lab, step, message):
    story = parse(f"[[step]]\ndo = 'power_off'\nwith = {{ vm = 'vm-0001' }}\n[[step]]\n{step}\n")
    with pytest.raises(ScenarioFailed, match=message):
        await play(lab, story)


# -- recording ----------------------------------------------------------------------------------------------------


async def test_what_the_control_port_does_is_recorded(make_simulator, tmp_path):
    path = tmp_path / "recorded.toml"
    async with make_simulator(control=True) as lab:
        recorder = Recorder(lab, path)
        recorder.start()
        async with aiohttp.ClientSession(lab.ready["control_url"]) as web:
            for method, where, body in [
                ("POST", "/v1/hosts", {"name": "esx-new"}),
                ("POST", "/v1/vms/vm-0000/power-on", None),
                ("POST", "/v1/vms/nobody/power-on", None),
                ("POST", "/v1/vms/vm-0001/rename", {"name": 'quoted "\\ name'}),
                ("POST", "/v1/faults", {"method": "Login", "http_status": 503}),
            ]:
                async with web.request(method, where, json=body) as answer:
                    assert answer.status < 500
        recorder.stop()
        await lab.scenario.power_off("vm-0002")
        expected = inventory(lab)
    steps = load(path).steps
    assert [step.do for step in steps] == ["add_host", "power_on", "rename_vm", ""]
    assert [step.fails for step in steps] == ["", "InvalidPowerState", "", ""]
    assert steps[3].fault.http_status == 503
    async with make_simulator() as again:
        await play(again, path)
        await again.scenario.power_off("vm-0002")
        assert inventory(again) == expected


HOSTS, VMS = ("esx-00", "esx-01", "esx-02", "new-1"), ("vm-0000", "vm-0001", "vm-0002", "other")
host, vm = st.sampled_from(HOSTS), st.sampled_from(VMS)
deeds = st.one_of(
    st.tuples(st.sampled_from(("exit_maintenance", "disconnect_host", "reconnect_host", "lose_host")), host),
    st.tuples(st.sampled_from(("crash_host", "boot_host", "add_host", "remove_host", "wake_host")), host),
    st.tuples(st.sampled_from(("enter_maintenance", "standby_host")), host),
    st.tuples(st.sampled_from(("power_on", "power_off", "suspend", "reset_vm", "delete_vm", "create_vm")), vm),
    st.tuples(st.just("rename_vm"), vm, vm),
    st.tuples(st.just("move_vm"), vm, host),
    st.tuples(st.just("advance_clock"), st.sampled_from((1.0, 100.0))),
)


TIMES = {"boot_time", "suspend_time", "modified", "created", "changed", "recent_tasks"}


def inventory(vcenter):
    """All state but times: those of a replay are microseconds off."""

    def bare(value):
        if isinstance(value, dict):
            return {name: bare(item) for name, item in value.items() if name not in TIMES}
        return [bare(item) for item in value] if isinstance(value, list) else value

    return bare(vcenter.scenario.snapshot())


async def do(scenario, verb, *arguments):
    work = getattr(scenario, verb)
    try:
        result = work(*arguments, **({"deadline": 50} if verb in ("enter_maintenance", "standby_host") else {}))
        if hasattr(result, "__await__"):
            await result
    except (SoapFault, LookupError):
        pass


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=st.lists(st.tuples(deeds, st.booleans()), max_size=12))
def test_a_recorded_walk_replays_to_the_same_inventory(make_simulator, tmp_path, sequence):
    recorded_and_replayed(make_simulator, tmp_path / "walk.toml", sequence)


@pytest.mark.soak
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=st.lists(st.tuples(deeds, st.booleans()), max_size=30))
def test_long_recorded_walks_replay_to_the_same_inventory(make_simulator, tmp_path, sequence):
    recorded_and_replayed(make_simulator, tmp_path / "walk.toml", sequence)


def recorded_and_replayed(make_simulator, path, sequence):

    async def walk():
        async with make_simulator(timing=Timing.real()) as lab:
            recorder = Recorder(lab, path)
            recorder.start()
            behind = []
            for deed, wait in sequence:
                task = asyncio.ensure_future(do(lab.scenario, *deed))
                await asyncio.sleep(0)
                if wait:
                    await task
                else:
                    behind.append(task)
                    await asyncio.sleep(0.7)
            await asyncio.gather(*behind)
            recorder.stop()
            await asyncio.sleep(1000)
            return inventory(lab)

    async def replay():
        async with make_simulator(timing=Timing.real()) as lab:
            await play(lab, path)
            await asyncio.sleep(1000)
            return inventory(lab)

    first = in_virtual_time(walk())
    assert in_virtual_time(replay()) == first


def in_virtual_time(work):
    """A loop per run, so that nothing of one is left in the next."""
    loop = looptime.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()
