"""Neutron's own API under uwsgi on a private MariaDB: no Keystone, no message bus, no mock."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from real_mariadb import RealMariaDb
from real_process import RealProcess, free_port, needs

from contrail_vsphere.ml2 import migrations

VENV = Path(sys.prefix)
BIN = VENV / "bin"
API_PASTE = VENV / "etc/neutron/api-paste.ini"
UNLIMITED = ("quota_network", "quota_port", "quota_security_group_rule", "quota_subnet", "quota_security_group")


def _migrations() -> str:
    """Changes with Neutron's version and with our own migrations."""
    digest = hashlib.sha256(version("neutron").encode())
    for path in sorted((Path(migrations.__file__).parent / "versions").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class RealNeutron:
    """One API server; ``settings`` are sections of ``neutron.conf`` beyond those that make it run alone."""

    def __init__(
        self, home: Path, database: RealMariaDb, *, name: str = "neutron", settings: Mapping[str, Mapping[str, str]]
    ) -> None:
        needs(str(BIN / "uwsgi"), str(BIN / "neutron-db-manage"))
        home.mkdir(exist_ok=True)
        self.home, self.port = home, free_port()
        self.config = home / "neutron.conf"
        self._database, self._name = database, name
        self._process = RealProcess(home, "neutron-api")
        self.write(settings)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def database_url(self) -> str:
        return self._database.url(self._name)

    def write(self, settings: Mapping[str, Mapping[str, str]]) -> None:
        """Write ``neutron.conf``."""
        sections: dict[str, dict[str, str]] = {
            "DEFAULT": {
                "core_plugin": "ml2",
                "service_plugins": "router",
                "auth_strategy": "noauth",
                "transport_url": "fake:/",
                "state_path": str(self.home / "state"),
                "rpc_workers": "0",
                "rpc_state_report_workers": "0",
                "notify_nova_on_port_status_changes": "false",
                "notify_nova_on_port_data_changes": "false",
                "api_paste_config": str(API_PASTE),
            },
            "oslo_concurrency": {"lock_path": str(self.home / "lock")},
            "database": {"connection": self._database.url(self._name)},
            "oslo_messaging_notifications": {"driver": "noop"},
            "oslo_policy": {"policy_file": str(self.home / "policy.yaml")},
            "quotas": dict.fromkeys(UNLIMITED, "-1"),
            "ml2": {
                "mechanism_drivers": "openvswitch,vmware_dvs",
                "type_drivers": "flat,vlan,vxlan",
                "tenant_network_types": "vlan",
                "extension_drivers": "port_security",
            },
            "ml2_type_vlan": {"network_vlan_ranges": "physnet1:100:999"},
            "ml2_type_flat": {"flat_networks": "physnet1"},
            "ml2_type_vxlan": {"vni_ranges": "1:1000"},
        }  # fmt: skip
        for section, values in settings.items():
            sections.setdefault(section, {}).update(values)
        text = "".join(
            f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())
            for section, values in sections.items()
        )
        self.config.write_text(text)
        # Bindings are nova's business, which has a role of its own.
        rules = ("create_port_binding", "get_port_binding", "delete_port_binding", "activate")
        (self.home / "policy.yaml").write_text("".join(f'"{rule}": "@"\n' for rule in rules))

    def migrate(self, kept: Path | None = None) -> None:
        """Neutron's tables and ours, as an operator makes them; from the dump of an earlier run where ``kept`` has one.

        Migrating takes a good ten seconds, and two hundred migrations of Neutron's give the same tables every time.
        """
        self._database.create(self._name)
        dump = kept / f"{_migrations()}.sql" if kept is not None else None
        if dump is not None and dump.exists():
            self._database.load(self._name, dump)
            return
        command = [str(BIN / "neutron-db-manage"), "--config-file", str(self.config), "upgrade", "heads"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, cwd=self.home)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        if dump is not None:
            self._database.dump(self._name, dump)

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Rows of a statement on Neutron's database."""
        with self._database.connect(self._name) as wire, wire.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def start(self, *more: str) -> None:
        """Return when it answers; ``more``: further arguments of uWSGI."""
        env = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "OS_NEUTRON_CONFIG_DIR": str(self.home),
            "OS_NEUTRON_CONFIG_FILES": self.config.name,
        }
        command = [
            str(BIN / "uwsgi"), "--http-socket", f"127.0.0.1:{self.port}", "--module", "neutron.wsgi.api:application",
            "--virtualenv", str(VENV), "--master", "--processes", "1", "--threads", "4", "--lazy-apps",
            "--enable-threads", "--die-on-term", "--buffer-size", "65535", "--need-app",
            # uWSGI closes after each answer and does not say so; clients that keep connections would meet a reset.
            "--add-header", "Connection: close", *more,
        ]  # fmt: skip
        self._process.spawn(command, env, answers=self._answers)

    def stop(self) -> None:
        """For good, and what uWSGI had attached with it."""
        self._process.terminate()

    @property
    def log(self) -> str:
        return self._process.log.read_text(errors="replace")

    def _answers(self) -> bool:
        # Neutron reads its policies at its first request; another one beside that would meet half of the rules.
        try:
            with urllib.request.urlopen(f"{self.url}/v2.0/networks", timeout=30) as answer:
                return "networks" in json.load(answer)
        except OSError:
            return False
