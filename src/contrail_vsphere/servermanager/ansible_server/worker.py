"""Does one run, in a process that comes from the nursery.

It is a process of its own, so that a run costs the Ansible server no memory and survives its restart: it needs nothing
but its directory. It holds ``worker.lock`` while it lives and writes ``events.jsonl``; how it ended is the last event.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import ansible_runner

from contrail_vsphere.pki.secrets import private_directory, write_private
from contrail_vsphere.servermanager.ansible_server import inventory, playbook
from contrail_vsphere.servermanager.ansible_server.events import Progress, translated
from contrail_vsphere.servermanager.ansible_server.niceness import yield_to_servers
from contrail_vsphere.servermanager.ansible_server.nursery import serve
from contrail_vsphere.servermanager.ansible_server.run_directory import EventLog, RunDirectory
from contrail_vsphere.servermanager.collection import PATH as COLLECTION
from contrail_vsphere.servermanager.runs import RunRequest
from contrail_vsphere.servermanager.states import RunState

PLAYBOOK: Final = "contrail.servers.provision"
FORKS: Final = 20
CONNECT_TIMEOUT: Final = 5
"""Seconds until a server that does not answer counts as unreachable."""
MASK: Final = "*****"
SHORT: Final = 6
"""Letters below which a secret is not searched for in messages: it would hide half of the text."""


def main(directory: Path, tell: Callable[[], None]) -> int:
    """Exit code 0 if the run came to an end of whatever kind, 3 if another worker has it."""
    run = RunDirectory(directory)
    handle = run.hold()
    if handle is None:
        return 3
    if run.record().state.final:
        return 3
    run.touch_lease()
    tell()
    yield_to_servers()
    request = run.request()
    log = run.appender(tell)
    try:
        state, reason = _Run(run, request, log).play(run.control())
        log.write(time.time(), state="ended", run=state, message=reason)
    finally:
        run.forget_secrets()
        log.close()
        os.close(handle)
    return 0


class _Run:
    def __init__(self, run: RunDirectory, request: RunRequest, log: EventLog) -> None:
        self._run = run
        self._request = request
        self._log = log
        self._secrets = [text for text in inventory.secrets(request) if len(text) >= SHORT]
        self._progress = Progress({name: [r.role for r in host.roles] for name, host in request.hosts.items()})
        self._started: set[str] = set()
        self._said: list[str] = []

    def play(self, control: Path) -> tuple[RunState, str]:
        """How the run ended, and why."""
        lay_out(self._run, self._request)
        runner = ansible_runner.run(
            private_data_dir=str(self._run.private),
            playbook=PLAYBOOK,
            inventory=str(self._run.private / "inventory.yml"),
            cmdline="--diff --check" if self._request.check else "--diff",
            envvars=environment(self._run.private, control),
            event_handler=self._on_event,
            cancel_callback=self._canceled,
            quiet=True,
            suppress_output_file=True,
            suppress_env_files=True,
        )
        reason = self._run.cancel_reason()
        if runner.status == "canceled" or (reason is not None and not self._progress.complete):
            return RunState.CANCELED, reason or "canceled"
        if self._progress.complete:
            return RunState.SUCCEEDED, ""
        if not self._started:
            return RunState.FAILED, self._masked(" ".join(self._said)) or f"ansible-playbook ended with {runner.rc}"
        hosts = self._progress.hosts()
        bad = sorted(name for name, each in hosts.items() if each.state in ("failed", "unreachable"))
        return RunState.FAILED, f"not healthy or not reached: {', '.join(bad)}" if bad else "ended early"

    def _on_event(self, raw: Mapping[str, Any]) -> bool:
        """False: ansible-runner need not keep the event, which would bear more than it should."""
        if raw.get("event") in ("verbose", "error") and raw.get("stdout"):
            self._said = [*self._said[-5:], str(raw["stdout"]).strip()]
        for event in translated(raw):
            if event["state"] == "running":
                if event["host"] in self._started:
                    continue
                self._started.add(event["host"])
            self._progress.take(self._log.write(time.time(), **self._masked(event)))
        return False

    def _canceled(self) -> bool:
        # ansible-runner asks in its main loop: the lease is proof that this loop runs.
        self._run.touch_lease()
        return self._run.cancel_reason() is not None

    def _masked(self, value: Any) -> Any:
        return _each_text(value, self._mask)

    def _mask(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _each_text(each, change) for key, each in value.items()}
    if isinstance(value, list):
        return [_each_text(each, change) for each in value]
    return value


def lay_out(run: RunDirectory, request: RunRequest) -> None:
    """What ansible-playbook reads, in the run's private directory."""
    private = private_directory(run.private)
    private_directory(private / "project")
    private_directory(private / "keys")
    # Empty: neither the operator's settings nor the machine's apply.
    write_private(private / "ansible.cfg", b"\n")
    keys = {}
    for number, (name, host) in enumerate(request.hosts.items()):
        if host.private_key:
            path = private / "keys" / str(number)
            write_private(path, host.private_key.rstrip("\n").encode() + b"\n")
            keys[name] = str(path)
    hosts = private / "known_hosts"
    write_private(hosts, inventory.known_hosts(request).encode())
    text = inventory.inventory(request, keys=keys, known_hosts=str(hosts))
    write_private(private / "inventory.yml", text.encode())


def environment(private: Path, control: Path) -> dict[str, str]:
    """Ansible's settings; ``control`` is where ssh keeps its sockets."""
    return {
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTION),
        "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "False",
        "ANSIBLE_CONFIG": str(private / "ansible.cfg"),
        "ANSIBLE_FORKS": str(FORKS),
        "ANSIBLE_GATHERING": "explicit",
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_LOCAL_TEMP": str(private / "tmp"),
        "ANSIBLE_NOCOLOR": "True",
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        # A path of a control socket has room for about 100 letters.
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(control),
        "ANSIBLE_SSH_ARGS": "-F /dev/null -o ControlMaster=auto -o ControlPersist=30s",
        "ANSIBLE_TIMEOUT": str(CONNECT_TIMEOUT),
    }


if __name__ == "__main__":
    playbook.prepare()
    sys.exit(serve(main))
