"""A simulated vCenter on a thread of its own (commands bring their own event loop), and settings that lead to it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from contrail_vsphere.cli.main import main
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.simulator import VCenterSimulator

PASSWORD = "correct horse"


class SimulatorThread:
    """The simulator and the loop it runs on."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.simulator: VCenterSimulator = self.run(self._start())

    async def _start(self) -> VCenterSimulator:
        simulator = VCenterSimulator(hosts=2, timing=Timing.instant(), password=PASSWORD, control=True)
        await simulator.start()
        return simulator

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def facts(self) -> dict[str, Any]:
        """What a command might have left behind in vCenter."""

        async def look() -> dict[str, Any]:
            objects = self.simulator.world.objects.values()
            kinds = Counter(entity.wsdl for entity in objects)
            return {
                "extensions": sorted(self.simulator.world.get("ExtensionManager").extensions),
                "agencies": kinds["Agency"],
                "vms": kinds["VirtualMachine"],
                "port_groups": kinds["DistributedVirtualPortgroup"],
            }

        return self.run(look())

    def close(self) -> None:
        self.run(self.simulator.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@dataclass
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


def write_settings(directory: Path, simulated: SimulatorThread, /, **changes: dict[str, Any]) -> Path:
    """A settings file that leads to the simulated vCenter, with some keys changed."""
    ready = simulated.simulator.ready
    url = urlsplit(ready["url"])
    tunnel_host, _, tunnel_port = ready["tunnel"].rpartition(":")
    secret = directory / "password"
    if not secret.exists():
        secret.touch(mode=0o600)
        secret.write_text(PASSWORD)
    tables: dict[str, dict[str, Any]] = {
        "vcenter": {
            "host": url.hostname, "port": url.port, "username": ready["username"], "password_file": "password",
            "ca_file": ready["ca_file"], "tunnel_host": tunnel_host, "tunnel_port": int(tunnel_port),
        },
        "manager": {"data_dir": "data"},
        "publish": {"listen": "127.0.0.1:0"},
        "bootstrap": {"listen": "127.0.0.1:0"},
        "control": {"listen": "127.0.0.1:0"},
        "log": {},
    }  # fmt: skip
    lines = []
    for name, table in tables.items():
        lines.append(f"[{name}.lab]" if name == "vcenter" else f"[{name}]")
        merged = table | changes.get(name, {})
        lines += [f"{key} = {json.dumps(value)}" for key, value in merged.items() if value is not None]
    file = directory / "contrail-vsphere.toml"
    file.write_text("\n".join(lines) + "\n")
    return file


@dataclass
class Desk:
    """A directory with settings, as an operator has it, and the command line."""

    path: Path
    vcenter: SimulatorThread
    capture: pytest.CaptureFixture[str]

    @property
    def data(self) -> Path:
        return self.path / "data"

    def settings(self, **changes: dict[str, Any]) -> Path:
        """Write the settings file; ``vcenter={"port": 1}`` changes a key, None takes it out."""
        return write_settings(self.path, self.vcenter, **changes)

    def do(self, *arguments: str | Path) -> Said:
        """Run a command in this process."""
        self.capture.readouterr()
        code = main([str(each) for each in arguments])
        told = self.capture.readouterr()
        assert "Traceback" not in told.err
        return Said(code, told.out, told.err)

    def refused(self, code: int, *arguments: str | Path) -> str:
        """Run a command that must fail with one line; returns that line."""
        said = self.do(*arguments)
        assert (said.code, said.out) == (code, ""), said
        assert len(said.err.splitlines()) == 1, said.err
        assert said.err.startswith("error: ")
        return said.err.removeprefix("error: ").rstrip("\n")
