"""The seed era's ``sm-config.ini``: what of it still means something becomes settings, the rest is named.

Only ``SERVER-MANAGER`` and ``ANSIBLE-SERVER`` are read; cobbler, DHCP and monitoring belong to bare metal.
"""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from contrail_vsphere.config.settings import ServerManagerSettings
from contrail_vsphere.model.errors import SettingsError


def read_sm_config(path: Path, base: ServerManagerSettings) -> tuple[ServerManagerSettings, list[str]]:
    """``base`` with what the file says, and the keys that have no effect; ``SettingsError`` if it cannot be read."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise SettingsError(f"{path}: {' '.join(str(error).split())}") from error
    sections = {name: dict(parser[name]) for name in parser.sections()}
    manager, ansible = sections.pop("SERVER-MANAGER", {}), sections.pop("ANSIBLE-SERVER", {})
    changes: dict[str, Any] = {}
    host, port = manager.pop("listen_ip_addr", ""), manager.pop("listen_port", "")
    if host or port:
        changes["listen"] = f"{host or base.listen.host}:{port or base.listen.port}"
    if name := manager.pop("database_name", ""):
        database = Path(name)
        changes["database"] = f"sqlite:///{database if database.is_absolute() else base.data_dir / database}"
    host, port = ansible.pop("ansible_srvr_ip", ""), ansible.pop("ansible_srvr_port", "9003")
    if host:
        scheme = "http" if host in ("127.0.0.1", "localhost") else "https"
        changes["ansible_url"] = f"{scheme}://{host}:{port}"
    registry = ansible.pop("docker_registry", "")
    if registry and not registry.startswith("0.0.0.0:"):
        changes["registry"] = registry
    rest = {"SERVER-MANAGER": manager, "ANSIBLE-SERVER": ansible, **sections}
    ignored = [f"[{section}] {key}" for section, keys in rest.items() for key in keys]
    try:
        return ServerManagerSettings.model_validate({**base.model_dump(mode="python"), **changes}), ignored
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
