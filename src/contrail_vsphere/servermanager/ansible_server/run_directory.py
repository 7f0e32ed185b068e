"""A run is a directory: what was asked, what happened, how it ended. Whoever finds it knows all there is to know.

request.json    what to do, with secrets; gone when the run is over
private/        what ansible-runner works with, with secrets; gone when the run is over
run.json        who it is for, its state
events.jsonl    what happened, one JSON object a line, numbered from 1
worker.lock     held by the worker as long as it lives, and open in every fork of it
lease           touched by the worker's main loop: a worker that hangs stops touching it
cancel          its presence asks the worker to end
control         where the worker keeps ssh's control sockets, which need a short path
told            how much of events.jsonl stands in debug.log
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from contrail_vsphere.pki.secrets import private_directory, write_private
from contrail_vsphere.servermanager.ansible_server.events import Event
from contrail_vsphere.servermanager.runs import RunRequest
from contrail_vsphere.servermanager.states import RunState

ENVIRONMENT_MARK: Final = "SERVER_MANAGER_RUN"
"""Environment variable that a program started in a run bears: the run's directory."""
NURSERY_MARK: Final = "SERVER_MANAGER_NURSERY"
"""Environment variable that the nursery bears, and with it every process that is a fork of a fork of it."""


class RunRecord(BaseModel):
    """What is kept of a run, without secrets."""

    model_config = ConfigDict(frozen=True)

    id: str
    cluster: str
    plan: str
    check: bool = False
    hosts: dict[str, str] = Field(description="Server -> ADDRESS:PORT")
    roles: dict[str, list[str]] = Field(description="Server -> its roles, in order")
    state: RunState = RunState.QUEUED
    reason: str = ""
    asked: datetime
    started: datetime | None = None
    ended: datetime | None = None


class RunDirectory:
    """One run on disk; every method blocks, for a thread or a worker."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def private(self) -> Path:
        """ansible-runner's directory."""
        return self.path / "private"

    def create(self, record: RunRecord, request: RunRequest) -> None:
        """Everything the run needs, before anybody is told that it exists; ``run.json`` is written last."""
        private_directory(self.path)
        write_private(self.path / "request.json", request.model_dump_json().encode())
        self.save(record)

    def save(self, record: RunRecord) -> None:
        """Replace the record in one step."""
        write_private(self.path / "run.json", record.model_dump_json(indent=1).encode())

    def record(self) -> RunRecord:
        """As it was saved last."""
        return RunRecord.model_validate_json((self.path / "run.json").read_bytes())

    def request(self) -> RunRequest:
        """What to do; only before the run is over."""
        return RunRequest.model_validate_json((self.path / "request.json").read_bytes())

    def forget_secrets(self) -> None:
        """What is left holds none."""
        (self.path / "request.json").unlink(missing_ok=True)
        shutil.rmtree(self.private, ignore_errors=True)
        control = self.path / "control"
        if control.is_symlink():
            shutil.rmtree(control.readlink(), ignore_errors=True)
            control.unlink(missing_ok=True)

    def control(self) -> Path:
        """A new private directory with a short path; it goes with the secrets."""
        made = Path(tempfile.mkdtemp(prefix="sm-ssh-"))
        (self.path / "control").symlink_to(made)
        return made

    def told(self) -> int:
        """Byte offset of the first event that is not in the log yet."""
        try:
            return int((self.path / "told").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def save_told(self, offset: int) -> None:
        """Everything before ``offset`` is in the log."""
        (self.path / "told").write_text(str(offset))

    def events(self, *, offset: int = 0) -> Iterator[tuple[Event, int]]:
        """Whole lines from a byte offset on, each with the offset behind it."""
        try:
            file = (self.path / "events.jsonl").open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                yield Event.model_validate_json(line), offset

    def appender(self, tell: Callable[[], None] = lambda: None) -> EventLog:
        """Writes events behind those that are there, and calls ``tell`` after each."""
        return EventLog(self.path / "events.jsonl", list(self.events()), tell)

    def touch_lease(self) -> None:
        """The worker's main loop is alive."""
        (self.path / "lease").touch()

    def lease_age(self, now: float) -> float:
        """Seconds since the worker showed life, 0 if it never did; ``now`` in seconds since the epoch."""
        try:
            return max(0.0, now - (self.path / "lease").stat().st_mtime)
        except FileNotFoundError:
            return 0.0

    def ask_to_cancel(self, reason: str) -> None:
        """The worker looks for it."""
        (self.path / "cancel").write_text(reason)

    def cancel_reason(self) -> str | None:
        """Why it should end; None if it should not."""
        try:
            return (self.path / "cancel").read_text()
        except FileNotFoundError:
            return None

    def hold(self) -> int | None:
        """Take the worker's lock and keep it by keeping the file descriptor; None if a worker has it.

        Who asks whether a worker lives has the lock for an instant: that is waited for. The lock says that it was held.
        """
        for _ in range(50):
            handle = self._try()
            if handle is not None:
                os.pwrite(handle, b"held\n", 0)
                return handle
            time.sleep(0.02)
        return None

    def _try(self) -> int | None:
        handle = os.open(self.path / "worker.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        return handle

    @property
    def worker_lives(self) -> bool:
        """Whether a worker holds the lock."""
        handle = self._try()
        if handle is None:
            return True
        os.close(handle)
        return False

    @property
    def begun(self) -> bool:
        """Whether a worker has held the lock."""
        try:
            return (self.path / "worker.lock").stat().st_size > 0
        except FileNotFoundError:
            return False

    def mark(self) -> int:
        """A file descriptor by which who keeps it is known as one of the run's processes, and forks of it, too."""
        return os.open(self.path / "worker.lock", os.O_RDONLY | os.O_CLOEXEC)


class EventLog:
    """Numbers and appends; a torn last line, of a writer that was killed, is cut off first."""

    def __init__(self, path: Path, known: list[tuple[Event, int]], tell: Callable[[], None]) -> None:
        self._tell = tell
        self._n = known[-1][0].n if known else 0
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        end = known[-1][1] if known else 0
        os.ftruncate(self._handle, end)
        os.lseek(self._handle, end, os.SEEK_SET)

    def write(self, at: float, **fields: object) -> Event:
        """The event, with its number."""
        self._n += 1
        event = Event.model_validate({"n": self._n, "at": round(at, 3), **fields})
        os.write(self._handle, json.dumps(event.model_dump(mode="json", exclude_defaults=True)).encode() + b"\n")
        self._tell()
        return event

    def close(self) -> None:
        """No more."""
        os.close(self._handle)


def _leads_to(handle: Path, file: Path) -> bool:
    try:
        return handle.readlink() == file
    except OSError:
        return False  # closed meanwhile: a worker that lives opens and closes others


def processes_of(directory: Path) -> list[int]:
    """The worker, ansible-playbook and its forks, ssh: all that is at work for a run.

    What was started as a program bears the run's directory in its environment: ids are unique to one Ansible server, of
    which a machine may have several. Forks show the environment of the nursery; they have the run's lock file open.
    """
    mark = f"{ENVIRONMENT_MARK}={directory.absolute()}".encode()
    nursery = f"{NURSERY_MARK}=".encode()
    lock = (directory / "worker.lock").resolve()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
                fork = any(each.startswith(nursery) for each in environment)
                if mark in environment or (fork and any(_leads_to(each, lock) for each in (entry / "fd").iterdir())):
                    found.append(int(entry.name))
            except OSError:
                continue  # Ended meanwhile, or somebody else's.
    return found
