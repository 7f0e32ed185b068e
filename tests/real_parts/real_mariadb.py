"""MariaDB from Debian's package on loopback, one private instance."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
from pathlib import Path

import pymysql
from real_process import RealProcess, free_port, needs

SERVER = "mariadbd"
INSTALL = "mariadb-install-db"


class RealMariaDb:
    """One server with a superuser without a password, for as long as the session lasts."""

    def __init__(self, home: Path, host: str = "127.0.0.1") -> None:
        needs(SERVER, INSTALL)
        self.host, self.port = host, free_port(host)
        self._home = home
        self._user = pwd.getpwuid(os.getuid()).pw_name
        self._process = RealProcess(home, "mariadb")

    def url(self, database: str) -> str:
        """For SQLAlchemy."""
        return f"mysql+pymysql://neutron:neutron@{self.host}:{self.port}/{database}?charset=utf8mb4"

    def start(self) -> None:
        """Return when it takes connections."""
        data = self._home / "data"
        if not data.exists():
            command = [
                INSTALL, "--no-defaults", f"--datadir={data}", f"--user={self._user}",
                "--auth-root-authentication-method=normal", "--skip-test-db",
            ]  # fmt: skip
            subprocess.run(command, check=True, capture_output=True, timeout=120)
        command = [
            SERVER, "--no-defaults", f"--datadir={data}", f"--user={self._user}", f"--bind-address={self.host}",
            f"--port={self.port}", f"--socket={self._home / 'sock'}", f"--pid-file={self._home / 'pid'}",
            "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin", "--max-connections=500",
            # Not UTC: whoever compares the server's local time with UTC must notice.
            "--default-time-zone=+05:00",
        ]  # fmt: skip
        self._process.spawn(command, {"PATH": os.environ["PATH"]}, answers=self._answers)

    def create(self, database: str) -> None:
        """An empty database that ``neutron`` owns."""
        with self.connect() as wire, wire.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {database} CHARACTER SET utf8mb4")
            cursor.execute("CREATE USER IF NOT EXISTS neutron@'%' IDENTIFIED BY 'neutron'")
            cursor.execute(f"GRANT ALL ON {database}.* TO neutron@'%'")

    def connect(self, database: str | None = None) -> pymysql.connections.Connection:
        """As superuser."""
        return pymysql.connect(
            unix_socket=str(self._home / "sock"), user="root", database=database, connect_timeout=5, autocommit=True
        )

    def dump(self, database: str, target: Path) -> None:
        """All of a database into a file, which appears when it is whole."""
        part = target.with_suffix(f".{os.getpid()}")
        with part.open("wb") as out:
            subprocess.run(self._client("mariadb-dump", database), check=True, stdout=out, timeout=60)
        part.replace(target)

    def load(self, database: str, source: Path) -> None:
        """What ``dump`` wrote, into an empty database."""
        with source.open("rb") as text:
            subprocess.run(self._client("mariadb", database), check=True, stdin=text, timeout=60)

    def _client(self, program: str, database: str) -> list[str]:
        return [program, "--no-defaults", f"--socket={self._home / 'sock'}", "--user=root", database]

    def kill(self) -> None:
        """As a crash does."""
        self._process.kill()

    def stop(self) -> None:
        """For good."""
        self._process.terminate()

    def _answers(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), timeout=5).close()
        except OSError:
            return False
        return True
