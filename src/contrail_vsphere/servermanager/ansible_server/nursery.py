"""Where workers come from: a process that has loaded what every worker needs, and becomes one by a fork.

To load Ansible's runner takes longer than the rest of a worker's start, and who asks for a run waits for it. The
nursery does it once, before anybody asks. It knows no run and no secret; it ends when the Ansible server does, and
workers live on.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from contrail_vsphere.servermanager.ansible_server.run_directory import ENVIRONMENT_MARK, NURSERY_MARK

PATIENCE: Final = 10.0
"""Seconds in which a nursery takes a message, and in which it ends."""
MESSAGE: Final = 4096
"""Bytes of a run's path at most: PATH_MAX."""
Work = Callable[[Path, Callable[[], None]], int]
"""What a worker does: a run's directory, and a function to be called after every event; the exit code."""


class Nursery:
    """The Ansible server's side; ``command`` is a program whose main function calls ``serve``. Methods block."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._lock = threading.RLock()

    def open(self) -> None:
        """Begin loading, if none does; OSError where the program does not start."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self.close()
                self._begin()

    def _begin(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        environment = {"PATH": path, "LANG": "C.UTF-8", "HOME": os.environ.get("HOME", "/"), NURSERY_MARK: "1"}
        with theirs:
            try:
                self._process = subprocess.Popen(
                    self._command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, env=environment, cwd="/",
                    start_new_session=True,
                )  # fmt: skip
            except OSError:
                ours.close()
                raise
        ours.settimeout(PATIENCE)
        self._socket = ours

    def worker(self, run: Path) -> int:
        """A worker for a run's directory: the end of a pipe, for a ``Life``. OSError where none can be had."""
        with self._lock:
            self.open()
            try:
                return self._ask(run)
            except OSError:
                # Killed meanwhile: another one takes its place.
                self.close()
                self.open()
                return self._ask(run)

    def _ask(self, run: Path) -> int:
        ours, theirs = os.pipe()
        try:
            assert self._socket is not None  # noqa: S101 - it was opened
            socket.send_fds(self._socket, [os.fsencode(run.absolute())], [theirs])
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        return ours

    def close(self) -> None:
        """Let it end."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(PATIENCE)
            self._process = None


class Life:
    """What a worker lets us know: a byte for every event that it wrote down, and its end, however that comes about.

    It holds the other end of a pipe until it is gone. Belongs to the running event loop.
    """

    def __init__(self, handle: int) -> None:
        os.set_blocking(handle, False)
        self._handle = handle
        self._heard = asyncio.Event()
        asyncio.get_running_loop().add_reader(handle, self._read)

    @property
    def over(self) -> bool:
        """Whether the worker has ended."""
        return self._handle < 0

    async def news(self, seconds: float) -> None:
        """Return when there are any, or there will be none, or after so many seconds."""
        if self.over:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), seconds)
        self._heard.clear()

    def forget(self) -> None:
        """Nobody listens any more."""
        if not self.over:
            asyncio.get_running_loop().remove_reader(self._handle)
            os.close(self._handle)
            self._handle = -1

    def _read(self) -> None:
        if not os.read(self._handle, 65536):
            self.forget()
        self._heard.set()


def serve(work: Work) -> int:
    """Be a nursery: a worker for every message on standard input, until its other end is closed; 0 then."""
    requests = socket.socket(fileno=os.dup(0))
    # Whoever asked for a worker sees the end of its pipe; here they are only buried.
    signal.signal(signal.SIGCHLD, _bury)
    gc.collect()
    gc.freeze()
    while True:
        message, handles, _, _ = socket.recv_fds(requests, MESSAGE, 1)
        if not message:
            return 0
        for handle in handles:
            os.set_inheritable(handle, False)
        if os.fork() == 0:
            requests.close()
            _become(Path(os.fsdecode(message)), handles[0], work)
        for handle in handles:
            os.close(handle)


def _bury(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _tell(life: int) -> None:
    # Nobody may be listening any more, or nobody may have listened for long: either way it stands in the log.
    with contextlib.suppress(BrokenPipeError, BlockingIOError):
        os.write(life, b".")


def _become(run: Path, life: int, work: Work) -> None:
    """Never returns; what it says goes to the run's directory."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.environ[ENVIRONMENT_MARK] = str(run)
        log = os.open(run / "worker.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.chdir(run)
        os.set_blocking(life, False)
        code = work(run, lambda: _tell(life))
    except BaseException:  # noqa: BLE001 - a worker is a process: how it ends is its own affair
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
