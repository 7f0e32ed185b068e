"""``leash.py COMMAND...`` runs a command, and ends what it leaves behind when it ends, however it ends.

Tests start brokers, databases and whole servers in sessions of their own. A run that is interrupted, or that the
kernel ends for want of memory, has no time for its fixtures' ends, and whatever it started would go on for days.
Linux hands orphans to the nearest ancestor that asks for them (prctl(2), PR_SET_CHILD_SUBREAPER); elsewhere the command
runs as it is.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 10.0
"""Seconds between the asking and the killing."""


def main(command: list[str]) -> int:
    if sys.platform != "linux":
        os.execvp(command[0], command)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = os.posix_spawnp(command[0], command, os.environ)
    # A terminal tells the command itself of Ctrl-C. To other orders it would die as it stands: of those it is told so.
    signal.signal(signal.SIGINT, lambda *_: None)
    for order in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(order, lambda *_: os.kill(child, signal.SIGINT))
    code = _wait(child)
    for order in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(order, signal.SIG_IGN)  # there is nobody left to tell, and what follows is bounded
    _end_the_rest()
    return code if code >= 0 else 128 - code


def _wait(child: int) -> int:
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == child:
            return os.waitstatus_to_exitcode(status)


def _end_the_rest() -> None:
    left = _descendants()
    if not left:
        return
    sys.stderr.write(f"ending {len(left)} processes that were left: {', '.join(sorted(set(left.values())))}\n")
    for order in (signal.SIGCONT, signal.SIGTERM, signal.SIGKILL):
        for pid in left:
            try:
                os.kill(pid, order)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + (PATIENCE if order != signal.SIGCONT else 0)
        while (left := _descendants()) and time.monotonic() < deadline:
            time.sleep(0.05)
        _reap()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        pass


def _descendants() -> dict[int, str]:
    """Who descends from this process and has not ended: its process id and name (proc_pid_stat(5))."""
    parents, names = dict[int, int](), dict[int, str]()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, rest = stat.read_text(errors="replace").rpartition(")")
        except OSError:  # ended meanwhile
            continue
        state, parent = rest.split()[:2]
        pid = int(stat.parent.name)
        parents[pid] = int(parent)
        if state != "Z":
            names[pid] = head.partition("(")[2]
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return {pid: names[pid] for pid in found - {os.getpid()} if pid in names}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
