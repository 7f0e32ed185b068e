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


_THUMBPRINT = r"(([0-9A-Fa-f]{2}:?){20}|([0-9A-Fa-f]{2}:?){32})"
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
    rest_username: str = Field(default="", examples=["contrail@vsphere.local"])
    """Account for vCenter's REST API, which an extension's certificate does not open; it needs the privileges
    VcIntegrity.systemVM.Read and .Write. Without it ContrailVMs are kept by EAM alone, never as System VMs (9.0)."""
    rest_password_file: File | None = Field(default=None, examples=["vcenter-lab.rest-password"])
    """File with that account's password, mode 0600."""
    rest_password: SecretStr = SecretStr("")
    """That password itself; from the environment only."""
    ca_file: File | None = Field(default=None, examples=["vcenter-ca.pem"])
    """CA certificates (PEM) that sign vCenter's certificate; without it and without `thumbprint` the system's apply."""
    thumbprint: str = Field(
        default="",
        pattern=rf"^({_THUMBPRINT}(\s*,\s*{_THUMBPRINT})*)?$",
        examples=["AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01"],
    )
    """SHA-1 or SHA-256 thumbprint of vCenter's own certificate, instead of `ca_file`. With commas between them several:
    add the next one before vCenter's certificate is replaced."""
    tunnel_host: str = Field(default="", examples=["vcenter.example.com"])
    """Proxy through which the extension logs in by certificate (sdkTunnel:8089); empty: `host`."""
    tunnel_port: Port = 80
    """Port of that proxy."""
    plugin_listen: Listen | None = Field(default=None, examples=["127.0.0.1:8235"])
    """Where this vCenter's plugin serves its control API, for several vCenters in one process; without it `listen` of
    [plugin]."""
    hosts_url: BaseUrl = Field(default="", examples=["http://127.0.0.1:8080"])
    """Control API of the ContrailVM Manager that knows this vCenter's hosts; empty: `hosts_url` of [plugin]."""

    manager_url: BaseUrl = Field(default="", examples=["https://manager.example.com:8444"])
    """In a ContrailVM: bootstrap server of the manager that lets the plugin in; no account of vCenter is kept there."""
    manager_ca_file: File | None = Field(default=None, examples=["/var/lib/contrailvm/ca.pem"])
    """The manager's CA certificate (PEM)."""
    manager_cert_file: File | None = Field(default=None, examples=["/var/lib/contrailvm/client.pem"])
    """The certificate (PEM) that the ContrailVM was enrolled with."""
    manager_key_file: File | None = Field(default=None, examples=["/var/lib/contrailvm/client.key"])
    """Its key, mode 0600."""

    @model_validator(mode="after")
    def _whole_door(self) -> Self:
        files = (self.manager_ca_file, self.manager_cert_file, self.manager_key_file)
        if any(file is None for file in files) if self.manager_url else any(files):
            raise ValueError("manager_url, manager_ca_file, manager_cert_file and manager_key_file go together")
        if self.manager_url and self.username:
            raise ValueError("give manager_url or an account, not both")
        return self

    @model_validator(mode="after")
    def _one_trust(self) -> Self:
        if self.ca_file is not None and self.thumbprint:
            raise ValueError("give ca_file or thumbprint, not both")
        if self.password_file is not None and self.password.get_secret_value():
            raise ValueError("give password_file or the password in the environment, not both")
        if self.rest_password_file is not None and self.rest_password.get_secret_value():
            raise ValueError("give rest_password_file or the password in the environment, not both")
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
    plugin_urls: str = Field(default="", examples=["http://127.0.0.1:8234"])
    """Control APIs of the vCenter plugins, with commas between them: a host is opened to tenants only when the one that
    acts has plugged all its ports. Empty: nobody is asked."""
    plugin_token_file: File | None = Field(default=None, examples=["viewer.token"])
    """File with a viewer's token for them, mode 0600."""
    plugin_ca_file: File | None = Field(default=None, examples=["plugin-ca.pem"])
    """CA certificates (PEM) of `plugin_urls`; without it the system's apply."""

    @model_validator(mode="after")
    def _plugin_is_asked_with_a_token(self) -> Self:
        if bool(self.plugin_urls) != (self.plugin_token_file is not None):
            raise ValueError("plugin_urls and plugin_token_file go together")
        return self


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
    plain_http: bool = False
    """Serve HTTP without TLS, for an EAM before 8.2 that trusts no certificate of ours: whoever is in between can then
    change what becomes the vRouter of every host. The manager warns of it for as long as it is so."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        if self.plain_http and self.cert_file is not None:
            raise ValueError("give plain_http or a certificate, not both")
        if self.advertise and self.advertise.startswith("http:") != self.plain_http:
            raise ValueError("advertise must begin with http: if plain_http is true, else with https:")
        return self


class BootstrapSettings(Table):
    """The HTTPS server at which ContrailVMs enrol and vCenter reads the extension's health."""

    listen: Listen = Address("127.0.0.1", 8444)
    """Where it binds."""
    advertise: BaseUrl = Field(default="", examples=["https://manager.example.com:8444"])
    """Base URL under which ContrailVMs and vCenter reach it; empty: the address it binds."""
    check_address: bool = True
    """A ContrailVM enrols only from an address that VMware Tools report of it. Off where they come through a NAT."""
    host_plugins: bool = False
    """Run the vCenter plugin of each host in its ContrailVM, with [contrail] and [plugin] of these settings. It gets
    into vCenter by clone tickets of the manager's session: with all its rights."""


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


class ContrailSettings(Table):
    """Contrail's config API and its message broker, for the vCenter plugin."""

    servers: str = Field(default="", examples=["http://10.0.0.11:8082, http://10.0.0.12:8082"])
    """URLs of the config API servers, with commas between them."""
    ca_file: File | None = Field(default=None, examples=["contrail-ca.pem"])
    """CA certificates (PEM) of the API servers, Keystone and the broker where they speak TLS."""
    keystone_url: str = Field(default="", examples=["http://10.0.0.10:5000/v3"])
    """Keystone v3; empty: the config API asks for no token."""
    username: str = "admin"
    """Keystone user."""
    password_file: File | None = Field(default=None, examples=["contrail.password"])
    """File with its password, mode 0600."""
    password: SecretStr = SecretStr("")
    """The password itself; from the environment only."""
    project: str = "admin"
    """Keystone project."""
    user_domain: str = "Default"
    """Keystone domain of the user."""
    project_domain: str = "Default"
    """Keystone domain of the project."""
    brokers: str = Field(default="", examples=["amqps://10.0.0.11:5671"])
    """URLs of RabbitMQ, with commas between them; empty: the API is polled."""
    poll: float = Field(default=10.0, ge=1, le=600)
    """Seconds between two polls while no notifications come; a poll that takes long is followed by a longer rest."""
    writes_per_second: float = Field(default=150.0, ge=1, le=10_000)
    """Objects written a second at most; fewer while the API server refuses them for being too many."""
    broker_username: str = "guest"
    """RabbitMQ user."""
    broker_password_file: File | None = Field(default=None, examples=["rabbitmq.password"])
    """File with its password, mode 0600."""
    broker_password: SecretStr = SecretStr("")
    """The password itself; from the environment only."""


class PluginSettings(Table):
    """The vCenter plugin. Patterns are as in a shell, with commas between them."""

    listen: Listen = Address("127.0.0.1", 8234)
    """Where its control API binds; other than loopback only with the certificate of [control]."""
    mode: Literal["vcenter-only", "vcenter-as-compute"] = "vcenter-only"
    """vcenter-as-compute: OpenStack makes networks, port groups and interfaces, and nothing is written to Contrail."""
    projects: str = "*"
    """Projects (domain:project) whose networks get port groups."""
    exclude_projects: str = "default-domain:default-project"
    """Projects whose networks get none; the default one has Contrail's own."""
    switches: str = "*"
    """Distributed switches that carry the port groups."""
    own_switches: str = "*"
    """Those of them that this plugin serves, where several share the work by switch."""
    part: Literal["all", "networks", "ports"] = "all"
    """What it does: networks makes port groups and clears up, ports serves VMs; one of each kind, or all in one."""
    hosts: str = Field(default="", examples=["esx-01.example.com"])
    """Names or managed object ids of the hosts whose VMs it serves; empty: all. In a ContrailVM: its own host."""
    hosts_file: File | None = Field(default=None, examples=["ESXiToVRouterIp.map"])
    """Which VRouterAgent serves which host: a line ESXI:VROUTER per host."""
    hosts_url: BaseUrl = Field(default="", examples=["http://127.0.0.1:8080"])
    """Control API of the ContrailVM Manager that knows the hosts; without it and `hosts_file`, of these settings."""
    hosts_token_file: File | None = Field(default=None, examples=["viewer.token"])
    """File with a viewer's token for it, mode 0600."""
    compat_ids: Literal["native", "cvm"] = "native"
    """How ids of new interfaces are made; cvm: as contrail-vcenter-manager does."""
    adopt_existing: bool = False
    """Take over unmarked port groups that have exactly a network's name and settings; where OpenStack makes the port
    groups, let their ports have VLANs of their own."""
    migrate: bool = False
    """Where an unmarked port group has a network's name, wait for `plugin adopt` instead of making a second one."""
    rename: bool = True
    """Rename port groups after their network."""
    virtual_macs: bool = False
    """Guests may use MAC addresses that are not their card's, as VRRP does: port groups allow forged transmits, MAC
    changes and promiscuous mode. VRouterAgents must run in the mode esxi_neutron. Needs vCenter 6.7."""
    linger: float = Field(default=10.0, ge=0, le=3600)
    """Seconds until the objects of a VM that is gone are deleted; one that is registered again keeps them."""
    reserved_vlans: str = Field(default="", examples=["1-99, 4000"])
    """VLANs that no port gets, beside those of other port groups."""

    @model_validator(mode="after")
    def _ports_of_hosts(self) -> Self:
        if self.hosts and self.part != "ports":
            raise ValueError('hosts and part = "ports" go together: another plugin makes the networks')
        return self

    @model_validator(mode="after")
    def _one_directory(self) -> Self:
        if self.hosts_file is not None and self.hosts_url:
            raise ValueError("give hosts_file or hosts_url, not both")
        return self


class ZooKeeperSettings(Table):
    """ZooKeeper, where several plugins, or ContrailVM Managers, of one vCenter elect the one that acts. Without servers
    each acts alone.
    """

    servers: str = Field(default="", examples=["10.0.0.11:2181,10.0.0.12:2181,10.0.0.13:2181"])
    """HOST:PORT of the servers, with commas between them."""
    path: str = Field(default="/vcenter-plugin", pattern=r"^(/[A-Za-z0-9._-]+)+$")
    """The old Java plugin's path: while it leads there no plugin of ours acts, and the other way round. Ours meet at
    `PATH.elections`, apart by vCenter, `part`, `own_switches` and `hosts`."""
    manager_path: str = Field(default="", pattern=r"^((/[A-Za-z0-9._-]+)+)?$", examples=["/contrailvm-manager"])
    """Where ContrailVM Managers meet and hand on their journal, one for each vCenter; empty: the manager acts alone."""
    name: str = ""
    """How this candidate is called; empty: the name of its machine."""
    session: float = Field(default=10.0, ge=1, le=120)
    """Seconds after which a silent candidate is given up."""
    ca_file: File | None = Field(default=None, examples=["zookeeper-ca.pem"])
    """CA certificates (PEM) of the servers; with it the connection is TLS."""
    cert_file: File | None = Field(default=None, examples=["zookeeper.crt"])
    """Certificate (PEM) that we present to them."""
    key_file: File | None = Field(default=None, examples=["zookeeper.key"])
    """Its key, mode 0600."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        if self.cert_file is not None and self.ca_file is None:
            raise ValueError("a certificate is presented over TLS only: set ca_file")
        return self


class NotifySettings(Table):
    """Webhooks: other programs that are told what the manager tells vCenter."""

    urls: str = Field(default="", examples=["https://hooks.example.com/contrail"])
    """Addresses with commas between them, HTTPS unless they are loopback; each gets every message."""
    secret_file: File | None = Field(default=None, examples=["webhook.secret"])
    """File with the secret that messages are signed with, mode 0600; read for every message."""
    ca_file: File | None = Field(default=None, examples=["hooks-ca.pem"])
    """CA certificates (PEM) of the addresses; without it the system's apply."""

    @model_validator(mode="after")
    def _signed_and_private(self) -> Self:
        for url in filter(None, (part.strip() for part in self.urls.split(","))):
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"{parts.hostname or url!r} is not a URL such as https://hooks.example.com/contrail")
            if parts.scheme == "http" and not Address(parts.hostname, 0).is_loopback:
                raise ValueError(f"{parts.hostname}: messages would go there in the clear; use https")
        if self.urls and self.secret_file is None:
            raise ValueError("urls and secret_file go together: messages are signed")
        return self


class ServerManagerSettings(Table):
    """Server Manager: its API, database, registry and Ansible server."""

    data_dir: File = Path("/var/lib/contrail-server-manager")
    """Database, keys, certificates, uploads, and the embedded registry's data."""
    listen: Listen = Address("127.0.0.1", 9001)
    """Where the REST API binds; HTTPS, with a certificate of our own CA."""
    insecure_seed_era: bool = False
    """Speak plain HTTP and serve the seed era's routes without a token, for clients that know no better."""
    database: str = Field(default="", examples=["postgresql://manager@db.example.com/manager"])
    """Database URL without password; empty: SQLite in `data_dir`."""
    database_password_file: File | None = Field(default=None, examples=["database.password"])
    """File with the database's password, mode 0600."""
    conf_dir: str = Field(default="/etc/contrail", pattern=r"^/[A-Za-z0-9._/-]+$")
    """Directory on the servers that gets `<role>.conf`."""
    registry: str = Field(default="", examples=["registry.example.com:5000"])
    """HOST:PORT of the Docker registry to use; empty: the embedded one."""
    registry_listen: Listen = Address("127.0.0.1", 5100)
    """Where the embedded registry binds; servers pull from this address."""
    registry_ca_file: File | None = Field(default=None, examples=["registry-ca.pem"])
    """CA certificates (PEM) of `registry`; without it the system's apply."""
    registry_username: str = Field(default="", examples=["server-manager"])
    """Account for `registry`."""
    registry_password_file: File | None = Field(default=None, examples=["registry.password"])
    """Its password, mode 0600."""
    ansible_url: BaseUrl = "http://127.0.0.1:9003"
    """The Ansible server; plain HTTP on loopback only."""
    ansible_token_file: File | None = Field(default=None, examples=["ansible.token"])
    """Token for the Ansible server, mode 0600. Without it: `ansible.token` in `data_dir`, made on the first start."""
    ansible_ca_file: File | None = Field(default=None, examples=["ansible-ca.pem"])
    """CA certificates (PEM) of the Ansible server."""
    ansible_listen: Listen = Address("127.0.0.1", 9003)
    """Where `serve-ansible` binds; HTTPS with a certificate of our own CA unless it is loopback."""
    ansible_data_dir: File = Path("/var/lib/contrail-server-manager-ansible")
    """Its runs, one directory each, and `debug.log`."""
    ansible_slots: int = Field(default=4, gt=0, le=64)
    """Runs at once; others wait. Each takes about 350 MB."""
    ansible_run_timeout: float = Field(default=7200.0, gt=0)
    """Seconds after which a run is canceled."""
    upload_limit: int = Field(default=20 * 2**30, gt=0)
    """Bytes that one uploaded image may have."""
    mail_server: str = Field(default="", examples=["mail.example.com:587"])
    """HOST:PORT of the mail server that is told when a run is over; STARTTLS unless it is loopback. Empty: no mail."""
    mail_sender: str = Field(default="server-manager@localhost", pattern=r"^[^@\s,<>]+@[^@\s,<>]+$")
    """Whom mail comes from. It goes to the `email` of servers, else of their cluster."""
    mail_ca_file: File | None = Field(default=None, examples=["mail-ca.pem"])
    """CA certificates (PEM) of the mail server; without it the system's apply."""
    mail_username: str = Field(default="", examples=["server-manager"])
    """Account there, if it wants one."""
    mail_password_file: File | None = Field(default=None, examples=["mail.password"])
    """Its password, mode 0600; read for every letter."""

    @model_validator(mode="after")
    def _mail_has_a_place(self) -> Self:
        host, colon, port = self.mail_server.rpartition(":")
        if self.mail_server and not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError(f"mail_server {self.mail_server!r} is not HOST:PORT")
        if bool(self.mail_username) != (self.mail_password_file is not None):
            raise ValueError("mail_username and mail_password_file go together")
        return self

    @model_validator(mode="after")
    def _nothing_in_the_clear(self) -> Self:
        url = urlsplit(self.ansible_url)
        if url.scheme == "http" and not Address(url.hostname or "", 0).is_loopback:
            raise ValueError(f"{self.ansible_url}: secrets would go there in the clear; use https")
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
    contrail: ContrailSettings = ContrailSettings()
    plugin: PluginSettings = PluginSettings()
    zookeeper: ZooKeeperSettings = ZooKeeperSettings()
    notify: NotifySettings = NotifySettings()
    server_manager: ServerManagerSettings = ServerManagerSettings()
    log: LogSettings = LogSettings()

    @property
    def token_file(self) -> Path:
        """Where the control API's tokens are."""
        return self.control.token_file or self.manager.data_dir / "control.tokens"
