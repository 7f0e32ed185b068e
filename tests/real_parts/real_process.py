"""A real server as a child of the test session: its directory, its ports, its end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

DEADLINE = 180.0


def missing(what: str) -> NoReturn:
    """A part is not there: fail where everything must run, skip elsewhere."""
    reason = f"{what} is not installed (tests/real_parts/install.sh)"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def needs(*programs: str) -> None:
    """Programs that a test cannot do without, by name or path."""
    for program in programs:
        if shutil.which(program) is None:
            missing(program)


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


class RealProcess:
    """Starts, kills, stops and continues one process group; everything it writes goes to a log in ``home``."""

    def __init__(self, home: Path, name: str) -> None:
        self.home, self.name = home, name
        self.log = home / f"{name}.log"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def spawn(self, command: Sequence[str], env: Mapping[str, str], *, answers: Callable[[], bool]) -> None:
        """Start it and wait until it answers."""
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                command, env=dict(env), cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + DEADLINE
        while not answers():
            if not self.running or time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace")[-2000:]
                self.kill()
                raise AssertionError(f"{self.name} does not start:\n{tail}")
            time.sleep(0.1)

    def signal(self, number: signal.Signals) -> None:
        """To the whole process group."""
        if self._child is not None and self._child.poll() is None:
            os.killpg(self._child.pid, number)

    def kill(self) -> None:
        """As a crash does."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """As an operator does."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGCONT)
            os.killpg(child.pid, number)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait(20)
