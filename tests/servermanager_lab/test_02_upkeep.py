"""Logs of a server and its restart, over real SSH."""

import pytest

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("server-lab")]

# What a restart shows to the outside: SSH goes away and comes back, and the boot has another name. A namespace's own
# reboot would end it.
SYSTEMCTL = """\
#!/bin/sh
[ "$1" = reboot ] || exit 1
cat /proc/sys/kernel/random/uuid > /run/boot_id
mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
for pid in $(ls /proc | grep -x '[0-9]*'); do
  [ "$(cat /proc/$pid/comm 2>/dev/null)" != sshd ] || kill "$pid"
done
"""


def test_logs_are_listed_and_read_and_nothing_beside_them(lab):
    lab.on("server1", "sh", "-c", "mkdir -p /var/log/contrail/controller; cd /var/log/contrail/controller; "
           "seq 1 1000 > api.log; ln -s /etc/shadow link.log; ln -s /etc etc")  # fmt: skip
    listed = lab.cli("display", "logs", "--server_id", "server1").stdout.splitlines()
    assert "controller/api.log" in listed
    assert not any("link" in name or "shadow" in name for name in listed)
    shown = lab.cli("display", "logs", "--server_id", "server1", "--file_name", "controller/api.log", "--bytes", "9")
    assert shown.stdout.splitlines() == ["999", "1000"]
    for file, code in (("../../etc/shadow", 2), ("/etc/shadow", 2), ("controller/link.log", 1),
                       ("controller/etc/shadow", 1), ("nothing.log", 1)):  # fmt: skip
        refused = lab.cli("display", "logs", "--server_id", "server1", "--file_name", file, code=code)
        assert (refused.stdout, "root:" in refused.stderr) == ("", False)


def test_a_server_restarts_and_is_waited_for(lab):
    script = "/usr/local/sbin/systemctl"
    lab.on("server1", "sh", "-c", f"cat > {script} <<'E'\n{SYSTEMCTL}E\nchmod 755 {script}")
    before = lab.ask("GET", "/v1/servers/server1/boot")["boot"]
    said = lab.cli("restart", "--where", "roles = 'controller' and id = 'server1'", "--wait", "--yes")
    assert "server1: is back" in said.stderr
    assert lab.ask("GET", "/v1/servers/server1/boot")["boot"] != before
    audit = [(row["action"], row["object"]) for row in lab.ask("GET", "/v1/audit?limit=500")["items"]]
    assert audit.count(("restart", "server1")) == 1
    lab.on("server1", "rm", script)


def test_a_server_with_another_host_key_is_not_spoken_to(lab):
    key = lab.ask("GET", "/v1/servers/server1")["host_key"]
    lab.ask(
        "PUT", "/v1/servers/server1", {"id": "server1", "host_key": lab.ask("GET", "/v1/servers/server2")["host_key"]}
    )
    try:
        told = lab.cli("display", "logs", "--server_id", "server1", code=1).stderr
        assert "server1" in told
        assert "key" in told.lower()
    finally:
        lab.ask("PUT", "/v1/servers/server1", {"id": "server1", "host_key": key})
