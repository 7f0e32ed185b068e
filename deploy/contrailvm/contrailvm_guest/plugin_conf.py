"""What the plugin of this host reads: its settings file, the map of its one host, and the CAs it trusts.

The manager says where vCenter and Contrail are and what to serve. The guest adds what only it knows: the certificate it
was enrolled with, which is all that lets the plugin into vCenter, and the VRouterAgent beside it.
"""

from __future__ import annotations

import json

from contrailvm_guest.configuration import Configuration

SETTINGS = "/etc/contrail/vcenter-plugin.toml"
HOSTS = "/etc/contrail/ESXiToVRouterIp.map"
DATA = "/var/lib/contrail/vcenter-plugin"
HEADER = "# Written by contrailvm_guest at boot; changes are overwritten.\n"
AGENT = "127.0.0.1"


def plugin_files(configuration: Configuration, *, manager_url: str, identity: tuple[str, str, str]) -> dict[str, bytes]:
    """Path -> content; none where the ContrailVM runs no plugin. ``identity``: paths of CA, certificate and key."""
    plugin = configuration.plugin
    if plugin is None:
        return {}
    files = {f"/etc/contrail/{table}-ca.pem": pem.encode("ascii") for table, pem in sorted(plugin.authorities.items())}
    trust = {table: {"ca_file": f"/etc/contrail/{table}-ca.pem"} for table in plugin.authorities}
    authority, certificate, key = identity
    door = {
        "manager_url": manager_url,
        "manager_ca_file": authority,
        "manager_cert_file": certificate,
        "manager_key_file": key,
    }
    tables: dict[str, dict[str, str | int | float | bool]] = {
        "manager": {"data_dir": DATA},
        "vcenter.site": {**plugin.settings["vcenter"], **trust.get("vcenter", {}), **door},
        "contrail": {**plugin.settings["contrail"], **trust.get("contrail", {})},
        "plugin": {**plugin.settings["plugin"], "part": "ports", "hosts_file": HOSTS},
    }
    files[SETTINGS] = (HEADER + "".join(_table(name, values) for name, values in tables.items())).encode("ascii")
    files[HOSTS] = f"{HEADER}{configuration.host_name}:{AGENT}\n".encode("ascii")
    return files


def _table(name: str, values: dict[str, str | int | float | bool]) -> str:
    """JSON's strings, numbers and words are TOML's too, as long as they are ASCII."""
    return f"\n[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in sorted(values.items()))
