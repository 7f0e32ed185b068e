"""The modules, each run as Ansible runs them: a process of its own that reads JSON. The engine is a double.

By number, defects of the seed era: 11 (a failed pull is a success), 20 (stale options live on), 21 (changed volumes do
not recreate), 22 (unit files are edited, registries made insecure).
"""

import ast
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from engine_double import engine

from contrail_vsphere.servermanager.collection import PATH

ROOT = PATH / "ansible_collections" / "contrail" / "servers"
FILES = sorted((ROOT / "plugins").rglob("*.py"))
SPEC = {"binds": ["/etc/contrail:/etc/contrailctl:ro"], "network": "host", "privileged": True, "restart": "always"}

pytestmark = pytest.mark.process


def run(module, *, check=False, code=0, **arguments):
    given = {"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": check, "_ansible_diff": True}}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", f"ansible_collections.contrail.servers.plugins.modules.{module}"],
        input=json.dumps(given), capture_output=True, text=True, timeout=60,
        env={"PYTHONPATH": str(PATH), "PATH": os.environ["PATH"], "HOME": "/nonexistent"},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture(autouse=True)
def may_lock():
    if not os.access("/run/lock", os.W_OK):
        pytest.skip("/run/lock cannot be written")


@pytest.fixture
def docker(tmp_path):
    with engine(tmp_path / "sock") as double:
        double.socket = str(tmp_path / "sock")
        yield double


def container(docker, **more):
    return {"name": "lb", "image": "reg:5100/lb@sha256:00", "spec": SPEC, "spec_hash": "h1", "socket": docker.socket,
            "role": "lb", **more}  # fmt: skip


def test_20_a_file_is_written_whole_and_what_was_removed_is_gone(tmp_path):
    path = tmp_path / "lb.conf"
    path.write_text("[GLOBAL]\nold = 1\nkept = 2\n")
    wanted = {"files": [{"path": str(path), "content": "[GLOBAL]\nkept = 2\n", "mode": "0640"}], "role": "lb"}
    shown = run("config_files", check=True, **wanted)
    assert (shown["changed"], path.read_text()) == (True, "[GLOBAL]\nold = 1\nkept = 2\n")
    made = run("config_files", **wanted)
    assert made["what"] == [f"file {path}"]
    assert (made["diff"][0]["before"], made["diff"][0]["after"]) == (
        "[GLOBAL]\nold = 1\nkept = 2\n", "[GLOBAL]\nkept = 2\n"
    )  # fmt: skip
    assert path.read_text() == "[GLOBAL]\nkept = 2\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert (tmp_path / "lb.conf.previous").read_text() == "[GLOBAL]\nold = 1\nkept = 2\n"
    assert run("config_files", **wanted)["changed"] is False
    path.chmod(0o666)
    assert run("config_files", **wanted)["changed"] is True
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(each.name for each in tmp_path.iterdir()) == ["lb.conf", "lb.conf.previous"]


def test_a_secret_file_is_never_shown_and_a_link_never_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    path = tmp_path / "x.conf"
    path.symlink_to(victim)
    made = run("config_files", files=[{"path": str(path), "secret_content": "canary-5512", "mode": "0600"}])
    assert "canary-5512" not in json.dumps(made)
    assert (path.read_text(), victim.read_text(), path.is_symlink()) == ("canary-5512", "mine", False)
    again = run("config_files", files=[{"path": str(path), "secret_content": "canary-7777", "mode": "0600"}])
    assert "canary" not in json.dumps(again)
    assert again["diff"][0]["after"] == "(holds secrets, not shown)\n"


def test_directories_are_made_once_and_a_file_in_the_way_is_told(tmp_path):
    paths = [str(tmp_path / "a" / "b"), str(tmp_path / "c")]
    assert run("directories", check=True, paths=paths)["what"] == [f"directory {each}" for each in paths]
    assert not (tmp_path / "a").exists()
    assert run("directories", paths=paths)["changed"] is True
    assert run("directories", paths=paths)["changed"] is False
    (tmp_path / "file").touch()
    assert "no directory" in run("directories", paths=[str(tmp_path / "file")], code=1)["msg"]


def test_21_a_container_is_made_again_when_its_specification_changes_and_only_then(docker):
    assert run("container", check=True, **container(docker))["what"] == ["container lb is missing"]
    assert docker.containers == {}
    run("container", **container(docker))
    asked = docker.containers["lb"]["asked"]
    assert (asked["HostConfig"]["Binds"], asked["HostConfig"]["NetworkMode"]) == (SPEC["binds"], "host")
    assert docker.containers["lb"]["State"]["Running"]
    before = len(docker.calls)
    assert run("container", **container(docker))["changed"] is False
    assert docker.calls[before:] == ["GET /containers/lb/json"]
    docker.containers["lb"]["State"]["Running"] = False
    assert run("container", **container(docker))["what"] == ["container lb does not run"]
    assert docker.containers["lb"]["asked"] is asked, "started, not made again"
    other = container(docker, spec={**SPEC, "binds": ["/a:/b"]}, spec_hash="h2")
    assert run("container", **other)["what"] == ["container lb has another specification"]
    assert docker.containers["lb"]["asked"]["HostConfig"]["Binds"] == ["/a:/b"]
    assert run("container", **other, recreate=True)["what"] == ["container lb runs with an old configuration"]
    assert run("container", **container(docker, state="absent"))["what"] == ["container lb is still there"]
    assert docker.containers == {}
    assert run("container", **container(docker, state="absent"))["changed"] is False


def test_11_a_pull_that_fails_in_an_answer_of_200_is_a_failure_and_the_old_one_serves_on(docker):
    run("container", **container(docker))
    docker.pull_error = "unauthorized: authentication required"
    failed = run("container", code=1, **container(docker, image="reg:5100/lb@sha256:11", spec_hash="h2"))
    assert "unauthorized" in failed["msg"]
    assert failed["contrail"] == {"role": "lb", "step": "container"}
    assert docker.containers["lb"]["State"]["Running"], "it is replaced only when its successor is there"


def test_somebody_elses_container_is_not_touched(docker):
    docker.containers["lb"] = {"Config": {"Labels": {}}, "State": {"Running": True}}
    assert "not ours" in run("container", code=1, **container(docker))["msg"]
    assert "not ours" in run("container", code=1, **container(docker, state="absent"))["msg"]
    assert "lb" in docker.containers


def test_health_tells_what_is_wrong_and_in_check_mode_looks_once(docker):
    wanted = {"container": "lb", "socket": docker.socket, "kind": "tcp", "port": 1, "role": "lb", "timeout": 0}
    assert "missing" in run("health", code=1, **wanted)["msg"]
    run("container", **container(docker))
    assert "port 1 does not answer" in run("health", code=1, **wanted)["msg"]
    looked = run("health", check=True, **{**wanted, "timeout": 600})
    assert (looked["changed"], looked["contrail"]["done"]) == (True, True)
    docker.containers["lb"]["State"]["Running"] = False
    assert "bind: address in use" in run("health", code=1, **wanted)["msg"]
    docker.containers["lb"]["State"]["Running"] = True
    assert run("health", **{**wanted, "kind": "none"})["contrail"]["done"] is True


def test_a_look_tells_what_is_settled_and_touches_nothing(tmp_path, docker):
    path = tmp_path / "etc" / "lb.conf"
    settled = {
        "role": "lb", "directories": [str(path.parent)],
        "files": [{"path": str(path), "secret_content": "canary-5512", "mode": "0600"}],
        "container": {"name": "lb", "action": "create", "spec_hash": "h1", "image": "not looked at"},
        "health": {"kind": "none"},
    }  # fmt: skip
    gone = {"role": "old", "container": {"name": "old", "action": "remove", "spec_hash": ""}}

    def look(*services, **more):
        return run("look", services=list(services), socket=docker.socket, **more)

    assert look(settled, gone)["contrail"] == {"step": "look", "settled": ["old"]}
    run("directories", paths=settled["directories"])
    assert look(settled)["differing"] == ["lb"]
    run("config_files", files=settled["files"])
    assert look(settled)["differing"] == ["lb"]
    run("container", **container(docker))
    found = look(settled, gone, check=True)
    assert (found["changed"], found["differing"], found["contrail"]["settled"]) == (False, [], ["lb", "old"])
    assert "canary" not in json.dumps(found)
    other = {**settled, "container": {**settled["container"], "spec_hash": "h2"}}
    deaf = {**settled, "health": {"kind": "tcp", "port": 1}}
    assert [look(each)["differing"] for each in (other, deaf)] == [["lb"], ["lb"]]
    docker.containers["old"] = {"Config": {"Labels": {}}, "State": {"Running": True}}
    assert look(settled, gone)["differing"] == ["old"], "whose it is, the module that removes it finds out"
    path.chmod(0o644)
    assert look(settled)["differing"] == ["lb"]
    path.chmod(0o600)
    docker.containers["lb"]["State"]["Running"] = False
    assert look(settled)["differing"] == ["lb"]
    nowhere = run("look", services=[settled, gone], socket=str(tmp_path / "nowhere"))
    assert nowhere["differing"] == ["lb", "old"], "who has to wait for the engine does, and says so"
    assert docker.containers["lb"]["State"]["Running"] is False


def test_without_an_engine_the_message_says_what_to_install(tmp_path, docker):
    assert "apt-get install podman" in run("engine", code=1, socket=str(tmp_path / "none"))["msg"]
    found = run("engine", socket=docker.socket)
    assert (found["engine"], found["socket"], found["changed"]) == ("Double/1.0 (linux)", docker.socket, False)


def test_an_engine_that_restarts_is_waited_for(tmp_path):
    path = tmp_path / "sock"
    with engine(path):
        pass
    assert path.is_socket(), "left behind by an engine that ended"
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {"socket": str(path)}})
    module = "ansible_collections.contrail.servers.plugins.modules.engine"
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={"PYTHONPATH": str(PATH), "PATH": os.environ["PATH"], "HOME": "/nonexistent"},
    ) as waiting:  # fmt: skip
        waiting.stdin.write(arguments)
        waiting.stdin.close()
        time.sleep(1)
        path.unlink()
        with engine(path):
            assert json.loads(waiting.stdout.read())["engine"] == "Double/1.0 (linux)"


def test_22_nothing_makes_a_registry_insecure_and_nothing_waits_for_its_neighbour():
    text = "".join(path.read_text() for path in ROOT.rglob("*") if path.is_file() and path.suffix in (".py", ".yml"))
    assert "insecure" not in text
    assert "/lib/systemd" not in text
    assert "'100%'" in (ROOT / "playbooks" / "stage.yml").read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_modules_are_python_3_9_and_need_nothing_on_the_server(path):
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    future = [
        node.names[0].name for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    ]
    assert future == ["annotations"], "annotations are not evaluated, so that they may be newer than 3.9"
    for node in ast.walk(tree):
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            first = name.split(".")[0]
            ours = name.startswith(("ansible.module_utils.basic", "ansible_collections.contrail.servers"))
            assert ours or first in sys.stdlib_module_names, name
        assert not isinstance(node, ast.Match if hasattr(ast, "Match") else ())
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            strict = [each.arg for each in node.keywords]
            assert not (node.func.id == "zip" and "strict" in strict)


def play(tmp_path, *arguments):
    tool = Path(sys.executable).parent / "ansible-playbook"
    return subprocess.run(
        [tool, "-i", "localhost,", *arguments], capture_output=True, text=True, timeout=120, cwd=tmp_path,
        env={"ANSIBLE_COLLECTIONS_PATH": str(PATH), "PATH": os.environ["PATH"], "HOME": str(tmp_path),
             "ANSIBLE_LOCAL_TEMP": str(tmp_path), "ANSIBLE_NOCOLOR": "1"},
    )  # fmt: skip


def test_the_playbooks_are_what_ansible_reads(tmp_path):
    done = play(tmp_path, "--syntax-check", "contrail.servers.provision", "contrail.servers.engine")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not Path("/usr/bin/apt-get").exists(), reason="the role sets up Debian's packages")
@pytest.mark.parametrize("version", [pytest.param("12", marks=pytest.mark.soak), "11"])
def test_setting_up_an_engine_changes_debian_12_only(tmp_path, version):
    """In check mode, on this machine: nothing is installed."""
    release = tmp_path / "os-release"
    release.write_text(f'NAME="Debian"\nVERSION_ID="{version}"\nID=debian\n')
    given = {
        "contrail_os_release": str(release),
        "contrail_engine": "podman",
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    done = play(
        tmp_path, "--connection", "local", "--check", "--diff", "-e", json.dumps(given), "contrail.servers.engine"
    )
    if version == "12":
        assert done.returncode == 0, done.stdout
        assert "restart-policy=unless-stopped" in done.stdout
        assert "Packages" in done.stdout
    else:
        assert done.returncode == 2
        assert "was tried on Debian 12 only" in done.stdout
        assert "Packages" not in done.stdout
