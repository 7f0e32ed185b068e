"""RabbitMQ from Debian's package on loopback, with a directory, ports and an epmd of its own."""

from __future__ import annotations

import os
import socket
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from real_process import RealProcess, free_port, needs

from contrail_vsphere.pki.ca import CertificateAuthority

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
HELLO = b"AMQP\x00\x00\x09\x01"


class RealRabbitMq:
    """One broker; its messages do not survive a restart (nobody asks for that)."""

    def __init__(self, home: Path) -> None:
        needs(SERVER, "epmd")
        self.port, self.tls_port = free_port(), free_port()
        self._home, self._epmd_port = home, free_port()
        self._process = RealProcess(home, "rabbitmq")

    @property
    def url(self) -> str:
        return f"amqp://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        return f"amqps://127.0.0.1:{self.tls_port}"

    @property
    def ca_file(self) -> Path:
        """Of the CA (PEM) that its certificate is from."""
        return self._home / "bundle.pem"

    @property
    def url_with_credentials(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Return when it takes connections."""
        home = self._home
        advanced, plugins, config = home / "advanced.config", home / "enabled_plugins", home / "rabbitmq.conf"
        advanced.write_text("[{kernel, [{inet_dist_use_interface, {127,0,0,1}}]}].\n")
        plugins.write_text("[].\n")
        config.write_text("log.file.level = warning\nloopback_users = none\n" + self._tls())
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(advanced),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_PID_FILE": str(home / "pid"),
        }
        self._process.spawn([SERVER], env, answers=self._answers)

    def kill(self) -> None:
        """As a crash does."""
        self._process.kill()

    def stop(self) -> None:
        """For good."""
        self._process.terminate()
        env = {"PATH": os.environ["PATH"], "ERL_EPMD_ADDRESS": "127.0.0.1"}
        command = ["epmd", "-port", str(self._epmd_port), "-kill"]
        subprocess.run(command, env=env, capture_output=True, timeout=20, check=False)

    def _tls(self) -> str:
        """A second listener, with a certificate for its address."""
        authority = CertificateAuthority.load_or_create(self._home / "ca", name="broker", now=lambda: datetime.now(UTC))
        issued = authority.issue_server(["127.0.0.1"])
        key, cert, bundle = self._home / "broker.key", self._home / "broker.crt", self._home / "bundle.pem"
        key.touch(mode=0o600)
        key.write_bytes(issued.key_pem)
        cert.write_bytes(issued.chain_pem)
        bundle.write_text(authority.trust_bundle)
        lines = {
            "listeners.ssl.default": f"127.0.0.1:{self.tls_port}",
            "ssl_options.cacertfile": bundle,
            "ssl_options.certfile": cert,
            "ssl_options.keyfile": key,
            "ssl_options.verify": "verify_none",
        }
        return "".join(f"{name} = {value}\n" for name, value in lines.items())

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as wire:
                wire.settimeout(5)
                wire.sendall(HELLO)
                return wire.recv(1) == b"\x01"
        except OSError:
            return False
