"""ZooKeeper from Debian's package on loopback, one server alone."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from real_process import RealProcess, free_port, needs

SERVER = "/usr/share/zookeeper/bin/zkServer.sh"
JARS = Path("/usr/share/java")
TICK = 200
"""Milliseconds; the shortest session is two of them."""


class RealZooKeeper:
    """One server; what it holds survives a restart."""

    def __init__(self, home: Path, *, tls: tuple[Path, Path] | None = None) -> None:
        """``tls``: it speaks TLS; files (PEM) of its key with certificate, and of the CA whose clients it takes."""
        needs(SERVER, "java")
        self.port = free_port()
        self._tls = tls
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
            "clientPort" if self._tls is None else "secureClientPort": self.port,
            "clientPortAddress" if self._tls is None else "secureClientPortAddress": "127.0.0.1",
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "ruok,stat",
            "maxClientCnxns": 0,
        }
        if self._tls is not None:
            settings |= {
                "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
                "ssl.keyStore.type": "PEM",
                "ssl.keyStore.location": self._tls[0],
                "ssl.trustStore.type": "PEM",
                "ssl.trustStore.location": self._tls[1],
                "ssl.clientAuth": "need",
            }
        config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        env = {
            "PATH": os.environ["PATH"],
            "JMXDISABLE": "true",
            "ZOO_LOG_DIR": str(self._home),
            "JVMFLAGS": "-Xmx128m -XX:TieredStopAtLevel=1",
        }
        command = [SERVER, "start-foreground", str(config)]
        if self._tls is not None:
            # The package's own start knows no Netty, without which there is no TLS.
            jars = ["/etc/zookeeper/conf", "/usr/share/java/zookeeper.jar", *sorted(map(str, JARS.glob("netty-*.jar")))]
            main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
            command = ["java", *env["JVMFLAGS"].split(), "-cp", ":".join(jars), main, str(config)]
        self._process.spawn(command, env, answers=self._answers)

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
                if self._tls is not None:
                    return True  # who shows no certificate hears nothing
                wire.settimeout(5)
                wire.sendall(b"ruok")
                return wire.recv(4) == b"imok"
        except OSError:
            return False
