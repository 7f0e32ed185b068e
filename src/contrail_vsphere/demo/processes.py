"""The demo's child processes: started with their output kept, waited for by their ready line, ended by pid.

A demo that held the product in its own process would prove less: everything here crosses process borders, sockets and
TLS, exactly as an installation would. No child outlives the demo, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from contrail_vsphere.model.errors import ContrailVsphereError

GRACE = 10.0
"""Seconds a process gets to end by itself before it is killed."""
MAIN: Final = "contrail_vsphere.cli.main"
SERVER_MANAGER: Final = "contrail_vsphere.cli.server_manager.main"
_COMMANDS: Final = {MAIN: "contrail-vsphere", SERVER_MANAGER: "server-manager"}
PR_SET_PDEATHSIG: Final = 1
"""From linux/prctl.h: the signal a process gets when its parent dies."""


@dataclass(slots=True)
class Child:
    """A running command of ours."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    ready: dict[str, Any] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Still running."""
        return self.process.returncode is None

    def last_words(self) -> str:
        """The last line it wrote to stderr, for error messages."""
        return _last_line(self.log.read_text(errors="replace"))

    async def stop(self) -> None:
        """Ask it to end, then make it."""
        if self.alive:
            await _end(self.process)


class Children:
    """All child processes of one demo; leaving the context ends them, last started first."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._children: list[Child] = []
        self.inside: tuple[str, ...] = ()
        """What stands before every command from now on: ``nsenter`` and its arguments."""

    async def __aenter__(self) -> Children:
        """Nothing runs yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """End what still runs."""
        for child in reversed(self._children):
            await child.stop()

    async def start(self, name: str, *arguments: str, module: str = MAIN) -> Child:
        """Start ``contrail-vsphere ARGUMENTS`` and wait for the JSON line by which it says that it serves."""
        log = self._directory / f"{name}.log"
        with log.open("ab") as errors:
            process = await _spawn(*self.inside, sys.executable, "-m", module, *arguments, stderr=errors)
        child = Child(name, process, log)
        self._children.append(child)
        line = await process.stdout.readline() if process.stdout is not None else b""
        if not line:
            await process.wait()
            raise ContrailVsphereError(f"{name} ended before it was ready: {child.last_words()}", hint=f"log: {log}")
        child.ready = json.loads(line)
        return child

    async def call(self, *arguments: str, module: str = MAIN) -> dict[str, Any]:
        """Run one command to its end and return the JSON object it printed."""
        process = await _spawn(*self.inside, sys.executable, "-m", module, *arguments, stderr=asyncio.subprocess.PIPE)
        try:
            out, errors = await process.communicate()
        finally:
            if process.returncode is None:
                await _end(process)
        if process.returncode:
            said = _last_line(errors.decode(errors="replace")).removeprefix("error: ")
            raise ContrailVsphereError(f"`{_COMMANDS.get(module, module)} {' '.join(arguments)}` failed: {said}")
        value: dict[str, Any] = json.loads(out or b"{}")
        return value


async def _spawn(*command: str, stderr: Any) -> asyncio.subprocess.Process:
    """A command of ours, in a process group of its own: Ctrl-C reaches the demo alone, which ends the rest in order."""
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        env=_environment(),
        process_group=0,
        preexec_fn=leash(),
    )


def leash() -> Callable[[], None] | None:
    """Run in the child before the command: the kernel ends it when the demo dies, even of kill -9. Linux only."""
    if not sys.platform.startswith("linux"):
        return None
    prctl, demo = ctypes.CDLL(None).prctl, os.getpid()

    def die_with_the_demo() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != demo:
            os._exit(1)

    return die_with_the_demo


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), GRACE)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _environment() -> dict[str, str]:
    """Ours without settings that are not the demo's, and with loopback exempt from any proxy."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("CONTRAIL_VSPHERE_")}
    return {**kept, "NO_PROXY": "127.0.0.0/8,localhost", "no_proxy": "127.0.0.0/8,localhost"}
