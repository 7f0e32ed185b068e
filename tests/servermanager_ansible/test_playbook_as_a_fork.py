"""ansible-playbook as a fork does what the program does, stands back as it should, and loads nothing but Ansible."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contrail_vsphere.servermanager.ansible_server.run_directory import processes_of

AUTOGROUP = Path("/proc/self/autogroup")
RUN = """
import json, os, sys
from pathlib import Path
import ansible_runner
from contrail_vsphere.servermanager.ansible_server import niceness, playbook
from contrail_vsphere.servermanager.ansible_server.run_directory import ENVIRONMENT_MARK, RunDirectory, processes_of
where, how = Path(sys.argv[1]), sys.argv[2]
os.environ[ENVIRONMENT_MARK] = str(where)
held = RunDirectory(where).hold()
niceness.yield_to_servers()
if how == "fork":
    playbook.prepare()
events, found = [], set()
def note(event):
    events.append(event)
    found.update(processes_of(where))
ran = ansible_runner.run(
    private_data_dir=str(where), playbook=str(where / "play.yml"), inventory="here ansible_connection=local",
    cmdline="--diff", quiet=True, suppress_output_file=True, event_handler=note,
    envvars={"ANSIBLE_LOCAL_TEMP": str(where / "t"), "ANSIBLE_GATHERING": "explicit",
             "ANSIBLE_PYTHON_INTERPRETER": sys.executable, "ANSIBLE_NOCOLOR": "True"},
)
left = [pid for pid in processes_of(where) if pid != os.getpid()]
said = [each["stdout"] for each in events if each["event"] in ("verbose", "error")]
print(json.dumps({
    "status": ran.status, "rc": ran.rc, "events": [each["event"] for each in events if each["event"] != "verbose"],
    "said": " ".join(said), "found": len(found), "left": left,
    "results": [each["event_data"]["res"] for each in events if each["event"] == "runner_on_ok"]}))
"""
GOOD = """
- hosts: all
  tasks:
    - command: cat /proc/self/autogroup
    - copy: {content: "word\\n", dest: "{{ playbook_dir }}/made"}
"""
BAD = """
- hosts: all
  tasks:
    - command: /bin/false
    - fail: {msg: never}
"""


def python(program: str, *arguments: str, **options) -> subprocess.CompletedProcess:
    """In a session of its own: how nice a session is would stay with ours."""
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, start_new_session=True, **options)


def run(directory: Path, play: str, how: str) -> dict:
    where = directory / how
    where.mkdir(mode=0o700)
    (where / "play.yml").write_text(play)
    # A fork shows the environment of what it is a fork of.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    given = {**os.environ, "HOME": str(where), "PATH": path, "SERVER_MANAGER_NURSERY": "1"}
    return json.loads(python(RUN, str(where), how, env=given, check=True).stdout)


@pytest.mark.parametrize(("play", "rc"), [(GOOD, 0), (BAD, 2), ("- hosts: [", 4), ("- hosts: all\n  nonsense: 1", 4)])
def test_a_fork_does_what_the_program_does(play, rc, tmp_path):
    forked, started = run(tmp_path, play, "fork"), run(tmp_path, play, "program")
    assert (forked["status"], forked["rc"], forked["events"]) == (started["status"], started["rc"], started["events"])
    assert forked["rc"] == rc
    assert forked["said"].replace("/fork/", "/program/").split() == started["said"].split()
    assert forked["left"] == started["left"] == []
    assert forked["found"] > 1 or rc == 4, "its processes are known as the run's"


ORPHAN = """
import os, signal, sys
from pathlib import Path
from contrail_vsphere.servermanager.ansible_server import playbook
from contrail_vsphere.servermanager.ansible_server.run_directory import ENVIRONMENT_MARK, RunDirectory
where = Path(sys.argv[1])
os.environ[ENVIRONMENT_MARK] = str(where)
held = RunDirectory(where).hold()
playbook.prepare()
import pexpect
worker = os.getpid()
try:
    # It ends at once, with something to say and nobody to say it to.
    child = pexpect.spawn("ansible-playbook", ["--version"], env=dict(os.environ), ignore_sighup=True, encoding="utf-8")
    os.kill(worker, signal.SIGKILL)
finally:
    if os.getpid() != worker:
        (where / "returned").touch()
"""


def test_a_fork_whose_worker_died_ends_and_does_nothing_in_its_place(tmp_path):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    given = {**os.environ, "HOME": str(tmp_path), "PATH": path, "SERVER_MANAGER_NURSERY": "1"}
    python(ORPHAN, str(tmp_path), env=given, check=False)
    deadline = time.monotonic() + 60
    while processes_of(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not (tmp_path / "returned").exists()


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel has no autogroups")
def test_a_task_has_no_more_of_the_processors_than_its_niceness_says(tmp_path):
    shown = run(tmp_path, GOOD, "fork")["results"][0]["stdout"]
    if os.geteuid() == 0:
        assert int(shown.split()[-1]) >= min(19, os.nice(0) + 10)


def test_a_run_stands_back_behind_the_servers_of_its_machine():
    told = "from contrail_vsphere.servermanager.ansible_server import niceness; import os; niceness.yield_to_servers()"
    before = AUTOGROUP.read_text() if AUTOGROUP.exists() else ""
    done = python(told + "; print(os.nice(0))", check=True)
    assert int(done.stdout) >= min(19, os.nice(0) + 10)
    assert not before or AUTOGROUP.read_text() == before, "others share our session"


def test_the_nursery_has_loaded_all_that_is_not_ansible():
    told = """
import sys
from contrail_vsphere.servermanager.ansible_server import playbook, worker
playbook.prepare()
known = set(sys.modules)
assert "ansible.constants" not in known, "settings are read while this is loaded"
import ansible.cli.playbook
new = {name for name in set(sys.modules) - known if name.partition(".")[0] not in sys.stdlib_module_names}
print(*sorted(name for name in new if name.partition(".")[0] not in ("ansible", "__mp_main__")))
"""
    assert python(told, check=True).stdout.split() == []
