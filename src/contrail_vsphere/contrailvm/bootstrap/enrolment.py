"""Who may enrol as the ContrailVM of a host, and what it is told: the judgement behind the bootstrap server.

A token is minted while its VM waits in a hook, bound to that VM, and void once another is minted for it. What a
redeemed token gives is remembered as the digest of the certified key; when the VM is deployed anew the old key opens
nothing. A renewal certifies another key beside the present one, which ends when the other is first used.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from ipaddress import IPv6Address, ip_address

from contrail_vsphere.contrailvm.bootstrap.host_configuration import HostConfiguration, PluginConfiguration, RoleNic
from contrail_vsphere.contrailvm.bootstrap.host_configuration import NicRole as GuestRole
from contrail_vsphere.contrailvm.bootstrap.request import (
    ClientCertificate,
    EnrolmentRefused,
    GuestIdentity,
    RenewalRequest,
    either_order,
)
from contrail_vsphere.contrailvm.desired import Desired, Key
from contrail_vsphere.contrailvm.doors import VCenterDoor
from contrail_vsphere.contrailvm.notebook import Notebook
from contrail_vsphere.contrailvm.observed import InventoryView
from contrail_vsphere.contrailvm.readings import Readings
from contrail_vsphere.contrailvm.records import HostRecord
from contrail_vsphere.model.errors import NotFound, NotReadyYet
from contrail_vsphere.model.ids import HostId, VmId
from contrail_vsphere.model.inventory import Host, Nic, VirtualMachine
from contrail_vsphere.pki.ca import CertificateAuthority, Issued
from contrail_vsphere.pki.tokens import TokenRefused, TokenReused, TokenStore
from contrail_vsphere.wire.soap.types import vim

_LOG = logging.getLogger(__name__)

PATIENCE = 300.0
"""Seconds for which a request from an address that vCenter does not know for the VM may be a guest come early."""
XMPP_PORT = 5269
AGENT_SERVICE = "contrail-vrouter-agent"
PLUGIN_SERVICE = "contrail-vcenter-plugin"
"""systemd units of the ContrailVM's image."""

_LOG_LEVELS = {
    "debug": "SYS_DEBUG",
    "info": "SYS_INFO",
    "notice": "SYS_NOTICE",
    "warning": "SYS_WARN",
    "error": "SYS_ERR",
}


class EnrolmentOffice:
    """Mints and redeems tokens, signs requests and composes host configurations.

    ``leave`` returns once a spent token would stay spent if this process died, and another took over. ``now`` is in
    seconds since the epoch. Without ``check_address`` a guest may come from anywhere, as through a NAT.
    """

    def __init__(
        self,
        *,
        tokens: TokenStore,
        authority: CertificateAuthority,
        notebook: Notebook,
        readings: Readings,
        inventory: InventoryView,
        enrolled: Callable[[Key], None],
        leave: Callable[[], Awaitable[None]],
        vcenter: VCenterDoor,
        now: Callable[[], float],
        check_address: bool = True,
    ) -> None:
        self._now = now
        self._check_address = check_address
        self._strangers: dict[tuple[VmId, str], float] = {}
        """Since when an address that is not the VM's own asks for it."""
        self._tokens = tokens
        self._authority = authority
        self._notebook = notebook
        self._readings = readings
        self._inventory = inventory
        self._enrolled = enrolled
        self._leave = leave
        self._vcenter = vcenter
        self.plugin_of: Callable[[Host], PluginConfiguration | None] = lambda _host: None
        """What the plugin in a host's ContrailVM is told; None: it runs none."""

    def mint(self, vm: VmId, attributes: Mapping[str, str]) -> str:
        """A fresh token for a VM; its earlier ones are void, and all that the VMs had which the host had before."""
        self._tokens.revoke(vm=vm)
        place = {name: attributes[name] for name in ("key", "host") if name in attributes}
        if len(place) == 2:
            self._tokens.revoke(**place)
            key, host = Key.parse(place["key"]), HostId(place["host"])
            if self._notebook.host(key, host).enrolled not in (None, vm):
                self._notebook.update_host(key, host, enrolled=None, enrolled_key="", next_key="")
        return self._tokens.mint(attributes).reveal()

    async def redeem(self, token: str, identity: GuestIdentity) -> HostConfiguration:
        """Spend the token for this guest; EnrolmentRefused says no more than the guest may know."""
        # A claim left out must not pass for a match: whatever the token is bound to is compared.
        presented = {
            "vm": identity.vm_id,
            "instance_uuid": identity.instance_uuid,
            "firmware": either_order(identity.bios_uuid),
            "agency": identity.agency_id,
        }
        try:
            bound = self._tokens.check(token, presented, proof=identity.key_sha256)
        except TokenReused as reused:
            await self._contested(reused.attributes, identity)
            raise EnrolmentRefused("the token is not accepted") from reused
        except TokenRefused as refused:
            raise EnrolmentRefused("the token is not accepted") from refused
        key, host, vm = Key.parse(bound["key"]), HostId(bound["host"]), VmId(bound["vm"])
        try:
            addresses = await self._check_machine(vm, host, identity, bound=bound.get("macs", ""))
        except EnrolmentRefused:
            self._tokens.revoke(vm=vm)
            raise
        self._check_origin(key, host, vm, origin=identity.address, addresses=addresses)
        await self._check_alone(host, vm)
        try:
            self._tokens.redeem(token, presented, proof=identity.key_sha256)
        except TokenRefused as refused:
            raise EnrolmentRefused("the token is not accepted") from refused
        name = self._notebook.host(key, host).vrouter_name or self._name_of(host)
        self._notebook.update_host(key, host, vrouter_name=name)
        configuration = self._configuration(key, host, vm)
        self._notebook.update_host(
            key,
            host,
            enrolled=vm,
            enrolled_key=identity.key_sha256,
            next_key="",
            authority=self._authority.fingerprint,
        )
        await self._leave()
        self._enrolled(key)
        return configuration

    async def configuration(self, certificate: ClientCertificate) -> HostConfiguration:
        """For the holder of a certificate, as long as its VM is the one EAM has for the host."""
        key, host, vm = self._holder(certificate)
        record = self._notebook.host(key, host)
        if record.next_key == certificate.key_sha256:
            _LOG.info("%s on %s uses its renewed certificate: the one before is void", vm, host)
            self._notebook.update_host(
                key, host, enrolled_key=record.next_key, authority=record.next_authority, next_key=""
            )
        return self._configuration(key, host, vm)

    def host_of(self, certificate: ClientCertificate) -> HostId:
        """Whose ContrailVM holds the certificate. EnrolmentRefused when none does, or it was replaced."""
        return self._holder(certificate)[1]

    def sign(self, csr_pem: bytes, identity: GuestIdentity) -> bytes:
        """The client certificate (PEM)."""
        issued = self._authority.sign_csr(csr_pem, common_name=identity.common_name)
        for key, host, record in self._certified():
            if record.enrolled_key == identity.key_sha256:
                self._note_end(key, host, issued)
        return issued.cert_pem

    async def renew(self, certificate: ClientCertificate, wanted: RenewalRequest) -> bytes:
        """A certificate (PEM) for the next key of a guest; EnrolmentRefused where the present one is revoked."""
        key, host, _vm = self._holder(certificate)
        issued = self._authority.sign_csr(wanted.csr_pem, common_name=certificate.common_name)
        certified = self._authority.fingerprint
        self._notebook.update_host(key, host, next_key=wanted.key_sha256, next_authority=certified)
        self._note_end(key, host, issued)
        await self._leave()
        return issued.cert_pem

    def _certified(self) -> Iterator[tuple[Key, HostId, HostRecord]]:
        """Every host whose ContrailVM holds a certificate."""
        for key in self._notebook.desired:
            for host, record in self._notebook.memory(key).hosts.items():
                if record.enrolled is not None:
                    yield key, host, record

    def _holder(self, certificate: ClientCertificate) -> tuple[Key, HostId, VmId]:
        """Whose certificate it is, as long as its VM is the one EAM has for the host."""
        for key, host, record in self._certified():
            if certificate.key_sha256 not in (record.enrolled_key, record.next_key) or record.enrolled is None:
                continue
            if self._readings.host_of.get(record.enrolled) != host or record.enrolled not in self._inventory.vms:
                raise EnrolmentRefused("this ContrailVM was replaced")
            return key, host, record.enrolled
        raise EnrolmentRefused("this certificate is not known")

    def _note_end(self, key: Key, host: HostId, issued: Issued) -> None:
        if issued.expires is not None:
            self._notebook.update_host(key, host, certified_until=issued.expires.timestamp())

    async def _check_machine(self, vm: VmId, host: HostId, identity: GuestIdentity, *, bound: str) -> frozenset[str]:
        """Ask vCenter itself, for our inventory is a moment old: the VM is there, on that host, with those NICs.

        ``bound`` are the addresses that were known when the token was minted; a clone elsewhere has others. Returns
        the IP addresses that VMware Tools report from inside the VM.
        """
        paths = ("runtime.host", "runtime.powerState", "config.hardware.device", "guest.ipAddress", "guest.net")
        try:
            found = await self._vcenter.read(vim.VirtualMachine(vm), *paths)
        except NotFound:
            found = {}
        if found.get("runtime.host") is None:
            raise EnrolmentRefused("the ContrailVM that the token was made for is gone")
        if found["runtime.host"]._moId != host:
            raise EnrolmentRefused("the ContrailVM that the token was made for is on another host")
        cards = found.get("config.hardware.device") or ()
        present = {str(each.macAddress).lower() for each in cards if getattr(each, "macAddress", None)}
        shown, due = set(identity.macs), {mac for mac in bound.split(",") if mac}
        if not shown or not shown <= present or not due <= shown:
            raise EnrolmentRefused("the NICs are not those of the ContrailVM that the token was made for")
        if found.get("runtime.powerState") != "poweredOn":
            return frozenset()
        told = [
            found.get("guest.ipAddress"),
            *(ip for nic in found.get("guest.net") or () for ip in nic.ipAddress or ()),
        ]
        return frozenset(_plain(each) for each in told if each)

    async def _check_alone(self, host: HostId, vm: VmId) -> None:
        """NotReadyYet while the ContrailVM before still runs on the host: two that are enrolled would both forward.

        A user may power the new one on at any time; vCenter itself is asked for the old one, as in ``_check_machine``.
        """
        machines = self._inventory.vms
        before = [each for each, at in self._readings.host_of.items() if at == host and each != vm and each in machines]
        for other in before:
            try:
                found = await self._vcenter.read(vim.VirtualMachine(other), "runtime.host", "runtime.powerState")
            except NotFound:
                continue
            there = found.get("runtime.host") is not None and found["runtime.host"]._moId == host
            if there and found.get("runtime.powerState") == "poweredOn":
                raise NotReadyYet(f"VM {other} still runs on host {host}; {vm} is to take its place")

    def _check_origin(self, key: Key, host: HostId, vm: VmId, *, origin: str, addresses: frozenset[str]) -> None:
        """NotReadyYet unless the VM itself has the address the request came from, as far as vCenter knows.

        A guest is asked to come again, for Tools may not have reported all of its addresses yet; so is a thief, who
        never gets further. One that keeps asking is told of.
        """
        if not self._check_address:
            return
        stranger = (vm, _plain(origin))
        if stranger[1] in addresses:
            others = [each for each in self._strangers if each[0] == vm]
            if others:
                self._tell(key, host, f"its bootstrap token was shown from {others[0][1]} before it came itself")
            for each in others:
                del self._strangers[each]
            return
        since = self._strangers.setdefault(stranger, self._now())
        if addresses and self._now() - since >= PATIENCE:
            self._tell(
                key, host, f"its bootstrap token is shown from {origin}, and it has {', '.join(sorted(addresses))}"
            )
        raise NotReadyYet(f"vCenter does not know {origin} as an address of VM {vm}")

    async def _contested(self, bound: Mapping[str, str], identity: GuestIdentity) -> None:
        """All is right but the key, and another was certified. The VM itself says so: then that other was a thief."""
        key, host, vm = Key.parse(bound["key"]), HostId(bound["host"]), VmId(bound["vm"])
        addresses = await self._check_machine(vm, host, identity, bound=bound.get("macs", ""))
        if self._check_address and _plain(identity.address) not in addresses:
            self._tell(key, host, f"its spent bootstrap token was shown from {identity.address}; it opened nothing")
            return
        if self._notebook.host(key, host).enrolled == vm:
            self._tokens.revoke(vm=vm)
            self._notebook.update_host(key, host, enrolled=None, enrolled_key="", next_key="")
            self._tell(
                key, host, "somebody redeemed its bootstrap token before it did: that certificate is revoked, and the"
                " ContrailVM is restarted with a fresh token",
            )  # fmt: skip
            await self._leave()

    def _tell(self, key: Key, host: HostId, what: str) -> None:
        if not self._notebook.host(key, host).intruder:
            _LOG.warning("%s %s: %s", key, host, what)
            self._notebook.update_host(key, host, intruder=what)
            self._enrolled(key)

    def _name_of(self, host: HostId) -> str:
        esxi = self._inventory.hosts.get(host)
        if esxi is None:
            raise NotReadyYet(f"host {host} is not in the inventory yet")
        return esxi.name

    def _configuration(self, key: Key, host: HostId, vm: VmId) -> HostConfiguration:
        desired = self._notebook.desired.get(key)
        machine, esxi = self._inventory.vms.get(vm), self._inventory.hosts.get(host)
        if desired is None or desired.removed:
            raise EnrolmentRefused("the deployment was removed")
        if machine is None or esxi is None:
            raise NotReadyYet(f"VM {vm} or host {host} is not in the inventory yet")
        guest, plugin = desired.guest, self.plugin_of(esxi)
        return HostConfiguration(
            host=host,
            host_name=esxi.name,
            nics=role_nics(desired, machine),
            control_nodes=tuple(with_port(each, XMPP_PORT) for each in guest.controllers),
            vrouter_name=self._notebook.host(key, host).vrouter_name or esxi.name,
            dns_servers=guest.dns,
            collectors=guest.collectors,
            gateway=guest.gateway,
            mode=guest.vmware_mode,
            log_level=_LOG_LEVELS[guest.log_level],
            services=(AGENT_SERVICE, PLUGIN_SERVICE) if plugin is not None else (AGENT_SERVICE,),
            plugin=plugin,
            authority=self._authority.fingerprint,
        )


def role_nics(desired: Desired, vm: VirtualMachine) -> tuple[RoleNic, ...]:
    """The NICs by role as the guest knows roles; MAC addresses tell it which is which."""
    nics = sorted(vm.nics, key=lambda nic: nic.key)
    by_role = {wanted.role: nic for wanted, nic in zip(desired.nics, nics, strict=False)}
    found: tuple[tuple[GuestRole, Nic | None], ...] = (
        ("management", by_role.get("management")),
        ("underlay", by_role.get("control-data") or by_role.get("fabric")),
        ("overlay", by_role.get("overlay")),
    )
    return tuple(RoleNic(role=role, mac=nic.mac.lower(), unit=nic.unit) for role, nic in found if nic is not None)


def _plain(address: str) -> str:
    """One spelling for an address: IPv4 mapped into IPv6 is IPv4, and a scope is left out. What is none stays."""
    try:
        plain = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = plain.ipv4_mapped if isinstance(plain, IPv6Address) else None
    return str(mapped or plain)


def with_port(address: str, port: int) -> str:
    """``HOST`` with the port it lacks; an address in brackets or with a port stays as it is."""
    if address.count(":") > 1 and not address.startswith("["):
        return f"[{address}]:{port}"
    tail = address.rpartition("]")[2]
    return address if ":" in tail else f"{address}:{port}"
