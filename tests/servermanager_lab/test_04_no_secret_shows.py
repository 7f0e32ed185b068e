"""After all of that: no canary in any file that is kept, in any log, in any command line."""

import threading
from pathlib import Path

import pytest
from lab_rig import CANARIES, files_below

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("server-lab")]


def test_17_no_secret_is_in_files_events_answers_or_command_lines(lab):
    secrets = {
        **CANARIES,
        "ssh key": Path(lab.lab["private_key_file"]).read_text().splitlines()[2],
        "registry": (lab.directory / "manager" / "registry" / "password").read_text().strip(),
    }
    seen = []
    end = threading.Event()

    def look():
        while not end.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes()
                except OSError:
                    continue
                seen.extend(name for name, secret in secrets.items() if secret.encode() in line)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        order = {"servers": ["server3"], "overrides": {"lb": {"HAPROXY": {"haproxy_auth_password": "canary-new-4410"}}}}
        run = lab.provisioned(**order)
    finally:
        end.set()
        looker.join(20)
    assert seen == []
    secrets["new"] = "canary-new-4410"
    allowed = {lab.directory / "manager" / "registry" / "password"}
    kept = {path: content for path, content in files_below(lab.directory).items() if path not in allowed}
    assert len(kept) > 50
    found = {
        (name, str(path.relative_to(lab.directory)))
        for path, content in kept.items() for name, secret in secrets.items() if secret.encode() in content
    }  # fmt: skip
    assert found == set()
    answers = [lab.ask("GET", path) for path in ("/v1/servers", "/v1/clusters", "/v1/runs?limit=500", "/v1/audit",
               f"/v1/plans/{run['plan']}", "/v1/servers/server3/effective?role=lb")]  # fmt: skip
    assert [name for name, secret in secrets.items() if secret in str(answers)] == []
    assert f"haproxy_auth_password = {secrets['new']}" in lab.on("server3", "cat", "/etc/contrail/lb.conf")
    lab.provisioned(servers=["server3"])
