"""The settings' schema: every key with its meaning and default. The example file and the reference are made from it.

Connections, listeners and files only. What should run where (deployments) is desired state and lives in the journal.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, SecretStr, model_validator


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener binds: ``HOST:PORT``, an IPv6 host in brackets; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @classmethod
    def parse(cls, text: str) -> Self:
        """``ValueError`` if it is not ``HOST:PORT``."""
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"{text!r} is not HOST:PORT")
        return cls(host, int(port))


def _address(value: Any) -> Any:
    return Address.parse(value) if isinstance(value, str) else value


def _base_url(value: str) -> str:
    if not value:
        return value
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{value!r} is not a URL such as https://manager.example.com:8443")
    return value.rstrip("/")


Listen = Annotated[Address, BeforeValidator(_address), PlainSerializer(str)]
BaseUrl = Annotated[str, BeforeValidator(_base_url)]
Port = Annotated[int, Field(ge=1, le=65535)]
File = Annotated[Path, PlainSerializer(str)]


class Table(BaseModel):
    """One table of the file: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, arbitrary_types_allowed=True)


class VCenterSettings(Table):
    """How to reach one vCenter Server and how to trust it. The table's second part is a name of your choice."""

    host: str = Field(min_length=1, examples=["vcenter.example.com"])
    """Name or address."""
    port: Port = 443
    """HTTPS port."""
    username: str = Field(default="", examples=["administrator@vsphere.local"])
    """Account for `contrailvm register`; afterwards the manager logs in as its extension, by certificate."""
    password_file: File | None = Field(default=None, examples=["vcenter-lab.password"])
    """File with the password, mode 0600."""
    password: SecretStr = SecretStr("")
    """The password itself; from the environment only, never in this file."""
    ca_file: File | None = Field(default=None, examples=["vcenter-ca.pem"])
    """CA certificates (PEM) that sign vCenter's certificate; without it and without `thumbprint` the system's apply."""
    thumbprint: str = Field(
        default="",
        pattern=r"^(([0-9A-Fa-f]{2}:?){20}|([0-9A-Fa-f]{2}:?){32})?$",
        examples=["AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01"],
    )
    """SHA-1 or SHA-256 thumbprint of vCenter's own certificate, instead of `ca_file`."""
    tunnel_host: str = Field(default="", examples=["vcenter.example.com"])
    """Proxy through which the extension logs in by certificate (sdkTunnel:8089); empty: `host`."""
    tunnel_port: Port = 80
    """Port of that proxy."""

    @model_validator(mode="after")
    def _one_trust(self) -> Self:
        if self.ca_file is not None and self.thumbprint:
            raise ValueError("give ca_file or thumbprint, not both")
        if self.password_file is not None and self.password.get_secret_value():
            raise ValueError("give password_file or the password in the environment, not both")
        return self


class ManagerSettings(Table):
    """The ContrailVM Manager itself."""

    data_dir: File = Path("/var/lib/contrail-vsphere")
    """Journal, keys, certificates and published packages."""
    extension_key: str = Field(
        default="net.juniper.contrail.vm-manager", min_length=1, max_length=80, pattern=r"^[^,/\\#+><=;\"\x00-\x1f]+$"
    )
    """Key of the vCenter extension. It owns the agencies: do not change it while there are any."""
    company: str = "Contrail"
    """Shown by vCenter as the extension's vendor."""
    admin_email: str = Field(default="", examples=["contrail@example.com"])
    """Shown by vCenter as the contact of the extension."""


class PublishSettings(Table):
    """The HTTPS server from which EAM fetches the OVF packages."""

    listen: Listen = Address("127.0.0.1", 8443)
    """Where it binds."""
    advertise: BaseUrl = Field(default="", examples=["https://manager.example.com:8443"])
    """Base URL under which vCenter reaches it; empty: the address it binds."""
    cert_file: File | None = Field(default=None, examples=["publish.crt"])
    """Certificate (PEM) of your own, presented again when renewed; without it the manager's CA issues one."""
    key_file: File | None = Field(default=None, examples=["publish.key"])
    """Its key, mode 0600."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        return self


class BootstrapSettings(Table):
    """The HTTPS server at which ContrailVMs enrol and vCenter reads the extension's health."""

    listen: Listen = Address("127.0.0.1", 8444)
    """Where it binds."""
    advertise: BaseUrl = Field(default="", examples=["https://manager.example.com:8444"])
    """Base URL under which ContrailVMs and vCenter reach it; empty: the address it binds."""


class ControlSettings(Table):
    """The control API, which the command line and monitoring talk to."""

    listen: Listen = Address("127.0.0.1", 8080)
    """Where it binds; other than loopback only with a certificate."""
    token_file: File | None = Field(default=None, examples=["control.tokens"])
    """Tokens and their roles, mode 0600; made on the first start. Without it: `control.tokens` in `data_dir`."""
    cert_file: File | None = Field(default=None, examples=["control.crt"])
    """Certificate (PEM) to serve HTTPS with."""
    key_file: File | None = Field(default=None, examples=["control.key"])
    """Its key, mode 0600."""

    @model_validator(mode="after")
    def _no_token_in_the_clear(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        if self.cert_file is None and not self.listen.is_loopback:
            raise ValueError(f"{self.listen} can be reached from outside: set cert_file and key_file")
        return self


class LogSettings(Table):
    """What is logged; always to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is shown."""
    format: Literal["console", "json"] = "console"
    """For people, or one JSON object per line."""


class Settings(Table):
    """All settings of a process."""

    vcenter: dict[str, VCenterSettings] = Field(default_factory=dict)
    manager: ManagerSettings = ManagerSettings()
    publish: PublishSettings = PublishSettings()
    bootstrap: BootstrapSettings = BootstrapSettings()
    control: ControlSettings = ControlSettings()
    log: LogSettings = LogSettings()

    @property
    def token_file(self) -> Path:
        """Where the control API's tokens are."""
        return self.control.token_file or self.manager.data_dir / "control.tokens"
