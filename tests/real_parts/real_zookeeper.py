"""ZooKeeper from Debian's package on loopback, one server alone."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from real_process import RealProcess, free_port, needs

SERVER = "/usr/share/zookeeper/bin/zkServer.sh"
TICK = 200
"""Milliseconds; the shortest session is two of them."""


class RealZooKeeper:
    """One server; what it holds survives a restart."""

    def __init__(self, home: Path) -> None:
        needs(SERVER, "java")
        self.port = free_port()
        self._home = home
        self._process = RealProcess(home, "zookeeper")

    @property
    def hosts(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return when it takes connections."""
        config = self._home / "zoo.cfg"
        settings = {
            "tickTime": TICK,
            "dataDir": self._home / "data",
            "clientPort": self.port,
            "clientPortAddress": "127.0.0.1",
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "ruok,stat",
            "maxClientCnxns": 0,
        }
        config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        env = {
            "PATH": os.environ["PATH"],
            "JMXDISABLE": "true",
            "ZOO_LOG_DIR": str(self._home),
            "JVMFLAGS": "-Xmx128m -XX:TieredStopAtLevel=1",
        }
        self._process.spawn([SERVER, "start-foreground", str(config)], env, answers=self._answers)

    def kill(self) -> None:
        """As a crash does."""
        self._process.kill()

    def freeze(self) -> None:
        """It keeps its connections and answers nothing."""
        self._process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self._process.signal(signal.SIGCONT)

    def stop(self) -> None:
        """For good."""
        self._process.terminate()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as wire:
                wire.settimeout(5)
                wire.sendall(b"ruok")
                return wire.recv(4) == b"imok"
        except OSError:
            return False
