"""What one ContrailVM is told about its host: the versioned JSON that ``/v1/bootstrap`` and ``/v1/configuration`` give.

``contrailvm_guest.configuration`` reads it inside the guest, on the standard library alone; ``tests/guest`` holds the
two together. A guest accepts any addition and refuses a ``version`` above its own, so old guests keep their last good
configuration instead of half-understanding a new one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

VERSION = 1

NicRole = Literal["management", "underlay", "overlay"]
"""``underlay`` carries the tunnels (vhost0); a ContrailVM without one uses ``management`` for that too."""


@dataclass(frozen=True, slots=True)
class RoleNic:
    """How the guest finds the NIC of a role: by whichever of these are set, the most certain (MAC) first."""

    role: NicRole
    mac: str = ""
    unit: int | None = None
    """``unitNumber`` of the ethernet card, as the OVF environment shows it."""
    network: str = ""
    """Name of the port group, as the OVF environment shows it."""


Setting = str | int | float | bool


@dataclass(frozen=True, slots=True)
class PluginConfiguration:
    """What the plugin of the host is told; the guest adds its own certificate and its own VRouterAgent. No secrets.

    Where Contrail asks for a password, ``settings`` names a file that the package brought.
    """

    settings: Mapping[str, Mapping[str, Setting]]
    """By table of the settings file: ``vcenter``, ``contrail`` and ``plugin``."""
    authorities: Mapping[str, str] = field(default_factory=dict)
    """CA certificates (PEM) by the table whose server they vouch for: ``vcenter``, ``contrail``."""


@dataclass(frozen=True, slots=True)
class HostConfiguration:
    """Everything the first-boot program needs beyond the OVF environment. No secrets."""

    host: str
    """Managed object id of the ESXi host."""
    host_name: str
    nics: tuple[RoleNic, ...]
    control_nodes: tuple[str, ...]
    """XMPP servers, ``ADDRESS:PORT``."""
    vrouter_name: str = ""
    """Name of the VirtualRouter object; kept across redeploys. Empty: the guest's host name."""
    dns_servers: tuple[str, ...] = ()
    collectors: tuple[str, ...] = ()
    address: str = ""
    """Of vhost0 with prefix length (``10.0.0.5/24``); empty: what the underlay NIC has."""
    gateway: str = ""
    mode: Literal["vcenter", "esxi_neutron"] = "vcenter"
    log_level: str = "SYS_NOTICE"
    services: tuple[str, ...] = ("contrail-vrouter-agent",)
    """systemd units to start, in this order; the per-host plugin is one of them where that mode is on."""
    plugin: PluginConfiguration | None = None
    """None: the ContrailVM runs no plugin."""
    authority: str = ""
    """SHA-256 of the CA certificate that certifies guests now; one that was certified by another renews."""

    def as_json(self) -> dict[str, Any]:
        """The document, with ``version`` of the format and ``revision`` of the content."""
        content = json.loads(json.dumps(asdict(self)))
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return {"version": VERSION, "revision": hashlib.sha256(canonical.encode()).hexdigest()[:16], **content}
