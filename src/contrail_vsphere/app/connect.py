"""From settings to what the client takes: where vCenter is, how it is trusted, who logs in."""

from __future__ import annotations

from collections.abc import Mapping

from contrail_vsphere.config.settings import Settings, VCenterSettings
from contrail_vsphere.model.errors import SettingsError
from contrail_vsphere.pki.secrets import Secret, read_secret
from contrail_vsphere.vsphere.endpoint import Endpoint, PasswordLogin


def choose_vcenter(settings: Settings, name: str = "") -> tuple[str, VCenterSettings]:
    """The vCenter of that name, or the only one there is; ``SettingsError`` otherwise."""
    tables: Mapping[str, VCenterSettings] = settings.vcenter
    if name:
        if name not in tables:
            known = ", ".join(tables) or "none"
            raise SettingsError(f"no [vcenter.{name}] in the settings", hint=f"there are: {known}")
        return name, tables[name]
    if len(tables) != 1:
        hint = f"name one of {', '.join(tables)} with --vcenter" if tables else "add a table [vcenter.NAME]"
        raise SettingsError(f"the settings have {len(tables)} vCenters", hint=hint)
    return next(iter(tables.items()))


def endpoint(table: VCenterSettings) -> Endpoint:
    """Where it is and how its certificate is trusted."""
    return Endpoint(
        host=table.host,
        port=table.port,
        ca_file=str(table.ca_file or ""),
        thumbprint=table.thumbprint,
        tunnel=(table.tunnel_host or table.host, table.tunnel_port),
    )


def administrator(table: VCenterSettings) -> PasswordLogin:
    """The account for registering; its password comes from a private file or from the environment."""
    password = Secret(table.password.get_secret_value())
    if table.password_file is not None:
        password = read_secret(table.password_file)
    if not table.username or not password:
        raise SettingsError(
            f"no account for vCenter {table.host}",
            hint="set username, and password_file or CONTRAIL_VSPHERE__VCENTER__NAME__PASSWORD",
        )
    return PasswordLogin(username=table.username, password=password)
