"""Runs in workers: one per server, slots, ends of all kinds, and what a restart finds."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ansible_stand import CANARY, events_of, host, over, request, role, supervising, until

from contrail_vsphere.model.errors import Conflict, InvalidState, NotFound
from contrail_vsphere.pki.secrets import private_directory
from contrail_vsphere.servermanager.ansible_server import supervisor as module
from contrail_vsphere.servermanager.ansible_server.run_directory import RunDirectory, RunRecord, processes_of
from contrail_vsphere.servermanager.states import RunState

pytestmark = pytest.mark.process


def leftovers(directory):
    """Every file below that holds the canary."""
    return [path for path in directory.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


def command_line(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes()


async def test_a_run_goes_from_queue_to_end_and_leaves_no_secret(tmp_path):
    async with supervising(tmp_path) as supervisor:
        taken = await supervisor.run(request(hosts=["10.0.0.1", "10.0.0.2"]))
        assert taken.state in (RunState.QUEUED, RunState.RUNNING)
        report = await over(supervisor, "r1")
        assert report.state is RunState.SUCCEEDED
        assert {name: each.state for name, each in report.hosts.items()} == {"s1": "completed", "s2": "completed"}
        events = await events_of(supervisor, "r1")
        assert [each.n for each in events] == list(range(1, len(events) + 1))
        assert (events[-1].state, events[-1].run) == ("ended", RunState.SUCCEEDED)
        assert await events_of(supervisor, "r1", after=3) == events[3:]
        assert leftovers(tmp_path) == []
        assert processes_of(tmp_path / "runs" / "r1") == []
        with pytest.raises(NotFound):
            await supervisor.report("r2")
        with pytest.raises(InvalidState):
            await supervisor.cancel("r1")


async def test_a_server_is_in_one_run_whatever_it_is_called(tmp_path):
    async with supervising(tmp_path) as supervisor:
        await supervisor.run(request("r1", "wait", ["10.0.0.1", "10.0.0.2"]))
        assert (await supervisor.run(request("r1", "wait"))).id == "r1", "asking twice is asking once"
        with pytest.raises(Conflict, match="r1"):
            await supervisor.run(request("r2", hosts=["10.0.0.9", "10.0.0.2"]))
        both = await asyncio.gather(
            supervisor.run(request("r3", "wait", ["10.0.0.5"])), supervisor.run(request("r4", "wait", ["10.0.0.5"])),
            return_exceptions=True,
        )  # fmt: skip
        assert sum(isinstance(each, Conflict) for each in both) == 1
        await supervisor.cancel("r1", reason="enough")
        report = await over(supervisor, "r1")
        assert (report.state, report.reason) == (RunState.CANCELED, "enough")
        await supervisor.run(request("r5", hosts=["10.0.0.2"]))
        assert (await over(supervisor, "r5")).state is RunState.SUCCEEDED
        (tmp_path / "go").touch()
        await over(supervisor, next(each.id for each in both if not isinstance(each, Conflict)))


async def test_09_runs_beyond_the_slots_wait_and_one_that_waits_can_be_canceled(tmp_path):
    async with supervising(tmp_path, slots=1) as supervisor:
        for number in (1, 2, 3):
            await supervisor.run(request(f"r{number}", "wait", [f"10.0.0.{number}"]))
        await until(lambda: processes_of(tmp_path / "runs" / "r1"))
        assert (await supervisor.cancel("r2")).state is RunState.CANCELED
        assert (await supervisor.report("r3")).state is RunState.QUEUED
        (tmp_path / "go").touch()
        assert (await over(supervisor, "r1")).state is RunState.SUCCEEDED
        assert (await over(supervisor, "r3")).state is RunState.SUCCEEDED
        events = await events_of(supervisor, "r2")
        assert [each.state for each in events] == ["ended"], "it never began"


@pytest.mark.parametrize(
    ("how", "state", "reason"),
    [("die", "interrupted", "its worker died"), ("hang", "interrupted", "its worker hung"),
     ("wait", "canceled", "not over after 5 s"), ("deaf", "interrupted", "canceled, and ended by force")],
)  # fmt: skip
async def test_a_run_whose_worker_fails_ends_with_a_reason_and_frees_its_server(
    tmp_path, monkeypatch, how, state, reason
):
    monkeypatch.setattr(module, "LEASE", 3.0 if how == "hang" else 60.0)
    monkeypatch.setattr(module, "CANCEL_GRACE", 0.5 if how == "deaf" else 60.0)
    async with supervising(tmp_path, run_timeout=5.0 if how == "wait" else 600.0) as supervisor:
        await supervisor.run(request("r1", how, ["10.0.0.1", "10.0.0.2"]))
        if how == "deaf":
            await until(lambda: "completed" in supervisor.reports()[0].hosts["s2"].roles.values())
            await supervisor.cancel("r1")
        report = await over(supervisor, "r1")
        assert (report.state, report.reason) == (state, reason)
        assert processes_of(tmp_path / "runs" / "r1") == []
        assert report.hosts["s2"].state == "completed", "what was done stays done"
        assert (report.hosts["s1"].state, report.hosts["s1"].message) == ("canceled", reason)
    monkeypatch.setattr(module, "LEASE", 60.0)
    async with supervising(tmp_path) as supervisor:
        await supervisor.run(request("r2", hosts=["10.0.0.1"]))
        assert (await over(supervisor, "r2")).state is RunState.SUCCEEDED
        assert leftovers(tmp_path) == []


async def test_what_a_killed_worker_leaves_behind_ends_before_its_server_is_free(tmp_path):
    async with supervising(tmp_path) as supervisor:
        await supervisor.run(request("r1", "with-child"))
        await until(lambda: (tmp_path / "runs" / "r1" / "child").exists())
        (worker,) = [pid for pid in processes_of(tmp_path / "runs" / "r1") if b"scripted_worker" in command_line(pid)]
        os.kill(worker, 9)
        assert (await over(supervisor, "r1")).state is RunState.INTERRUPTED
        assert processes_of(tmp_path / "runs" / "r1") == []


async def test_forks_of_a_killed_worker_end_before_its_server_is_free(tmp_path):
    async with supervising(tmp_path) as supervisor:
        await supervisor.run(request("r1", "with-fork"))
        await supervisor.run(request("r2", "wait", ["10.0.0.2"]))
        await until(lambda: (tmp_path / "runs" / "r1" / "child").exists())
        await until(lambda: processes_of(tmp_path / "runs" / "r2"))
        worker, fork = processes_of(tmp_path / "runs" / "r1")
        os.kill(min(worker, fork), 9)
        assert (await over(supervisor, "r1")).state is RunState.INTERRUPTED
        assert processes_of(tmp_path / "runs" / "r1") == []
        assert processes_of(tmp_path / "runs" / "r2"), "forks of the same nursery, of another run"
        (tmp_path / "go").touch()
        assert (await over(supervisor, "r2")).state is RunState.SUCCEEDED


async def test_a_worker_is_found_where_the_directory_goes_by_another_name(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    async with supervising(tmp_path / "link") as supervisor:
        await supervisor.run(request("r1", "wait"))
        await until(lambda: processes_of(tmp_path / "link" / "runs" / "r1"), seconds=20)
        assert processes_of(tmp_path / "real" / "runs" / "r1") == processes_of(tmp_path / "link" / "runs" / "r1")
        (tmp_path / "link" / "go").touch()
        assert (await over(supervisor, "r1")).state is RunState.SUCCEEDED


def nurseries():
    """Children of this process that workers come from."""
    tasks = Path("/proc/self/task").iterdir()
    children = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    return [pid for pid in children if b"scripted_worker" in command_line(pid)]


async def test_where_workers_come_from_may_be_killed(tmp_path):
    async with supervising(tmp_path) as supervisor:
        await supervisor.run(request("r1", "wait"))
        await until(lambda: processes_of(tmp_path / "runs" / "r1"))
        (first,) = nurseries()
        os.kill(first, 9)
        await supervisor.run(request("r2", hosts=["10.0.0.2"]))
        assert (await over(supervisor, "r2")).state is RunState.SUCCEEDED
        assert not (await supervisor.report("r1")).state.final, "its worker lives on"
        (tmp_path / "go").touch()
        assert (await over(supervisor, "r1")).state is RunState.SUCCEEDED
        (second,) = nurseries()
    assert first != second
    assert nurseries() == []


async def test_a_restart_takes_up_runs_and_tells_each_event_once(tmp_path):
    told = []
    note = lambda run_id, event: told.append((run_id, event.n))  # noqa: E731
    async with supervising(tmp_path, on_event=note) as supervisor:
        await supervisor.run(request("r1", "wait"))
        await until(lambda: told)
        worker = processes_of(tmp_path / "runs" / "r1")
    assert processes_of(tmp_path / "runs" / "r1") == worker, "the worker does not need us"
    (tmp_path / "go").touch()
    await asyncio.sleep(0.3)
    async with supervising(tmp_path, on_event=note) as supervisor:
        report = await over(supervisor, "r1")
        assert report.state is RunState.SUCCEEDED
        events = await events_of(supervisor, "r1")
    assert told == [("r1", each.n) for each in events]


async def test_after_a_crash_nothing_runs_for_ever(tmp_path):
    at = datetime.now(UTC)
    private_directory(tmp_path / "runs")
    cases = {"never-launched": RunState.RUNNING, "waiting": RunState.QUEUED}
    for number, (name, state) in enumerate(cases.items()):
        asked = request(name, hosts=[f"10.0.0.{number + 1}"])
        record = RunRecord(
            id=name, cluster="c1", plan="succeed", hosts={"s1": f"10.0.0.{number + 1}:22"}, roles={"s1": ["lb"]},
            asked=at, state=state, started=at if state is RunState.RUNNING else None,
        )  # fmt: skip
        RunDirectory(tmp_path / "runs" / name).create(record, asked)
    (tmp_path / "runs" / "half-made").mkdir()
    (tmp_path / "runs" / "half-made" / "request.json").write_text(CANARY)
    with (tmp_path / "runs" / "never-launched" / "events.jsonl").open("w") as file:
        file.write('{"n": 1, "at": 1.0, "state": "running", "host": "s1"}\n{"n": 2, "at"')
    async with supervising(tmp_path) as supervisor:
        assert (await over(supervisor, "never-launched")).state is RunState.INTERRUPTED
        assert (await over(supervisor, "waiting")).state is RunState.SUCCEEDED
        assert [each.n for each in await events_of(supervisor, "never-launched")] == [1, 2]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["never-launched", "waiting"]
    assert leftovers(tmp_path) == []


async def test_old_runs_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 1)
    at = datetime.now(UTC) - timedelta(days=1)
    private_directory(tmp_path / "runs")
    for number in range(3):
        record = RunRecord(
            id=f"old{number}", cluster="c1", plan="", hosts={}, roles={}, asked=at + timedelta(hours=number),
            state=RunState.SUCCEEDED,
        )  # fmt: skip
        RunDirectory(tmp_path / "runs" / record.id).create(record, request())
    async with supervising(tmp_path) as supervisor:
        assert len(supervisor.reports()) == 3
        await supervisor.run(request("r1"))
        await over(supervisor, "r1")
        await until(lambda: len(supervisor.reports()) == 1)
        assert supervisor.reports(server="s1", role="lb")[0].id == "r1"
        assert supervisor.reports(server="s1", role="agent") == []
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["r1"]


async def test_a_worker_that_cannot_start_is_told(tmp_path):
    async with supervising(tmp_path, worker=("/does/not/exist",)) as supervisor:
        await supervisor.run(request("r1", hosts=[host("10.0.0.1", role())]))
        report = await over(supervisor, "r1")
        assert report.state is RunState.INTERRUPTED
        assert "does not start" in report.reason
