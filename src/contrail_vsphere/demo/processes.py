"""The demo's child processes: started with their output kept, waited for by their ready line, ended by pid.

A demo that held the product in its own process would prove less: everything here crosses process borders, sockets and
TLS, exactly as an installation would.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contrail_vsphere.model.errors import ContrailVsphereError, NotConverged

GRACE = 10.0
"""Seconds a process gets to end by itself before it is killed."""


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
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"

    async def stop(self) -> None:
        """Ask it to end, then make it."""
        if not self.alive:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), GRACE)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()

    async def kill(self) -> None:
        """``kill -9``."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


class Children:
    """All child processes of one demo; leaving the context ends them, last started first."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._children: list[Child] = []

    async def __aenter__(self) -> Children:
        """Nothing runs yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """End what still runs."""
        for child in reversed(self._children):
            await child.stop()

    async def start(self, name: str, *arguments: str, ready_within: float = 60.0) -> Child:
        """Start ``contrail-vsphere ARGUMENTS`` and wait for the JSON line by which it says that it serves."""
        log = self._directory / f"{name}.log"
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "contrail_vsphere.cli.main", *arguments,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=errors, env=_environment(),
            )  # fmt: skip
        child = Child(name, process, log)
        self._children.append(child)
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), ready_within)
        except TimeoutError:
            raise NotConverged(f"{name} was not ready within {ready_within:.0f} s", hint=f"its log is {log}") from None
        if not line:
            await process.wait()
            raise ContrailVsphereError(f"{name} ended before it was ready: {child.last_words()}", hint=f"log: {log}")
        child.ready = json.loads(line)
        return child

    async def call(self, *arguments: str, within: float = 120.0) -> dict[str, Any]:
        """Run one command to its end and return the JSON object it printed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "contrail_vsphere.cli.main", *arguments,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=_environment(),
        )  # fmt: skip
        try:
            out, errors = await asyncio.wait_for(process.communicate(), within)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise NotConverged(f"`{' '.join(arguments)}` did not end within {within:.0f} s") from None
        if process.returncode:
            lines = [line for line in errors.decode(errors="replace").splitlines() if line.strip()]
            said = lines[-1].removeprefix("error: ") if lines else "it said nothing"
            raise ContrailVsphereError(f"`contrail-vsphere {' '.join(arguments)}` failed: {said}")
        value: dict[str, Any] = json.loads(out or b"{}")
        return value


def _environment() -> dict[str, str]:
    """Ours, with the loopback exempt from any proxy: nothing of the demo leaves the machine."""
    return {**os.environ, "NO_PROXY": "127.0.0.0/8,localhost", "no_proxy": "127.0.0.0/8,localhost"}
