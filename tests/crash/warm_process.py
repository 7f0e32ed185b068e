"""The command as a process of its own that need not load its modules first: forked from a server that has them.

Loading takes longer than everything else at a start, and a test of many kills starts many times. What is forked is a
whole process with its own journal, sockets and id; signal 9 ends it as it ends any other.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import sys
from pathlib import Path

from contrail_vsphere.model.errors import ContrailVsphereError

MODULES = ["contrail_vsphere.cli.main", "contrail_vsphere.cli.run", "contrail_vsphere.app.contrailvm"]
PR_SET_PDEATHSIG = 1
POLL = 0.02


class WarmProcess:
    """``contrail-vsphere ARGUMENTS``; stderr is added to ``log``."""

    def __init__(self, log: Path, *arguments: str) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(MODULES)
        self._log, self._out = log, log.with_suffix(".out")
        self._out.write_bytes(b"")
        self._process = context.Process(target=_run, args=(str(self._out), str(log), arguments), daemon=True)

    async def start(self) -> None:
        """Return when it serves."""
        await asyncio.to_thread(self._process.start)
        while not self._out.read_bytes().endswith(b"\n"):
            if not self._process.is_alive():
                raise ContrailVsphereError(
                    f"it ended before it was ready: {self.last_words()}", hint=f"log: {self._log}"
                )
            await asyncio.sleep(POLL)

    async def end(self, *, by: signal.Signals) -> int:
        """Send the signal and wait; returns how it ended (``-9``: by signal 9)."""
        if self._process.is_alive() and self._process.pid is not None:
            os.kill(self._process.pid, by)
        await asyncio.to_thread(self._process.join)
        return int(self._process.exitcode or 0)

    def last_words(self) -> str:
        """The last line it wrote to stderr."""
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"


def _run(out: str, log: str, arguments: tuple[str, ...]) -> None:
    """In the forked process: as if it had been started from a shell."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    os.setpgid(0, 0)
    for path, number in ((out, 1), (log, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    for name in [each for each in os.environ if each.upper().startswith("CONTRAIL_VSPHERE_")]:
        del os.environ[name]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.0/8,localhost"
    from contrail_vsphere.cli.main import main

    sys.argv = ["contrail-vsphere", *arguments]
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    sys.exit(main(list(arguments)))
