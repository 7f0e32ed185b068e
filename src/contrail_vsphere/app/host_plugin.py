"""What the plugin in a ContrailVM is told by the manager: the manager's own [contrail] and [plugin], for one host.

Passwords are not among it. Where Contrail or its broker wants one, the settings name a file below ``/etc/contrail``
that the ContrailVM's package has to bring; for vCenter there is none at all, the manager vouches for the plugin.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from contrail_vsphere.config.settings import Settings, VCenterSettings
from contrail_vsphere.contrailvm.bootstrap.host_configuration import PluginConfiguration, Setting
from contrail_vsphere.model.errors import SettingsError
from contrail_vsphere.model.inventory import Host

CONTRAIL_PASSWORD = "/etc/contrail/contrail.password"  # noqa: S105 - where it is, not what it is
BROKER_PASSWORD = "/etc/contrail/rabbitmq.password"  # noqa: S105
_CONTRAIL = ("servers", "keystone_url", "username", "project", "user_domain", "project_domain", "brokers", "poll",
             "broker_username")  # fmt: skip
_PLUGIN = ("mode", "projects", "exclude_projects", "switches", "own_switches", "compat_ids", "linger", "reserved_vlans")


def host_plugins(settings: Settings, table: VCenterSettings) -> Callable[[Host], PluginConfiguration]:
    """The plugin's configuration for each host. SettingsError for what no plugin could run with."""
    if not settings.contrail.servers:
        raise SettingsError(
            "bootstrap.host_plugins is set, but plugins would not know where Contrail is",
            hint="set servers in [contrail]",
        )
    vcenter: dict[str, Setting] = {"host": table.host, "port": table.port}
    if table.thumbprint:
        vcenter["thumbprint"] = table.thumbprint
    contrail = {key: getattr(settings.contrail, key) for key in _CONTRAIL}
    if settings.contrail.keystone_url:
        contrail["password_file"] = CONTRAIL_PASSWORD
    if settings.contrail.brokers:
        contrail["broker_password_file"] = BROKER_PASSWORD
    plugin = {key: getattr(settings.plugin, key) for key in _PLUGIN}
    authorities = {
        name: _pem(file)
        for name, file in (("vcenter", table.ca_file), ("contrail", settings.contrail.ca_file))
        if file is not None
    }

    def of(host: Host) -> PluginConfiguration:
        tables = {"vcenter": vcenter, "contrail": contrail, "plugin": {**plugin, "hosts": host.id}}
        return PluginConfiguration(tables, authorities)

    return of


def _pem(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file} cannot be read as certificates (PEM): {error}") from error
