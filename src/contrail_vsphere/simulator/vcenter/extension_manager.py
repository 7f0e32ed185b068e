"""Extensions: the solutions registered with vCenter, their certificates, and what happens when one goes."""

from __future__ import annotations

import base64
import binascii
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vim, vmodl
from contrail_vsphere.wire.soap.values import build

EAM_KEY = "com.vmware.vim.eam"
FORBIDDEN = frozenset('/\\#+><=;"')


@dataclass(slots=True, eq=False, kw_only=True)
class ExtensionManager(Entity):
    """The registered extensions by key; each is a ``vim.Extension`` value that is replaced, never changed."""

    wsdl: ClassVar[str] = "ExtensionManager"
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {"extensions": ("extensionList",)}

    extensions: Mapping[str, Any] = field(default_factory=dict)
    certificates: dict[str, bytes] = field(default_factory=dict, repr=False)
    """Extension key -> DER of the certificate it logs in with."""
    service_accounts: dict[str, str] = field(default_factory=dict)
    on_unregister: list[Callable[[str], None]] = field(default_factory=list, repr=False)
    """Called with the key after an extension is gone; must only mark work."""
    on_certificate: list[Callable[[bytes], None]] = field(default_factory=list, repr=False)
    """Called with the DER of every certificate that is set."""

    def register_own(self) -> None:
        """Register what every vCenter has: EAM."""
        with self.world.commit() as tx:
            tx.set(self, extensions={EAM_KEY: self._eam()})

    def set_certificate(self, key: str, der: bytes) -> None:
        """From now on that certificate, and only that one, logs the extension in."""
        self.certificates[key] = der
        for hook in self.on_certificate:
            hook(der)

    @managed_property("extensionList")
    def extension_list(self) -> list[Any]:
        return list(self.extensions.values())

    @operation("FindExtension")
    def find_extension(self, call: Call, extensionKey: str) -> Any:
        """The extension, or nothing."""
        return self.extensions.get(extensionKey)

    @operation("RegisterExtension")
    def register_extension(self, call: Call, extension: Any) -> None:
        """Refuses a key that exists or has characters the API forbids."""
        self._check(extension)
        if extension.key in self.extensions:
            raise _invalid("extension.key", f"The extension {extension.key} is registered already.")
        self._put(call, extension)

    @operation("UpdateExtension")
    def update_extension(self, call: Call, extension: Any) -> None:
        """Replaces the whole description; the certificate stays."""
        self._check(extension)
        self._existing(extension.key)
        self._put(call, extension)

    @operation("UnregisterExtension")
    def unregister_extension(self, call: Call, extensionKey: str) -> None:
        """EAM destroys every agency of an extension that is unregistered."""
        self._existing(extensionKey)
        with self.world.commit(call.user) as tx:
            tx.set(self, extensions={key: value for key, value in self.extensions.items() if key != extensionKey})
        self.certificates.pop(extensionKey, None)
        self.service_accounts.pop(extensionKey, None)
        for hook in self.on_unregister:
            hook(extensionKey)

    @operation("SetExtensionCertificate")
    def set_extension_certificate(self, call: Call, extensionKey: str, certificatePem: str | None = None) -> None:
        """Without a certificate in the call, the TLS client certificate is taken."""
        self._existing(extensionKey)
        if certificatePem:
            self.set_certificate(extensionKey, _der(certificatePem))
        elif call.certificate:
            self.set_certificate(extensionKey, call.certificate)
        else:
            raise SoapFault(vim.fault.NoClientCertificate(), "The client did not present a certificate.")

    @operation("SetServiceAccount")
    def set_service_account(self, call: Call, extensionKey: str, serviceAccount: str) -> None:
        """Kept, but there is no token login to use it with."""
        self._existing(extensionKey)
        self.service_accounts[extensionKey] = serviceAccount

    @operation("QueryManagedBy")
    def query_managed_by(self, call: Call, extensionKey: str) -> list[Entity]:
        """Virtual machines whose ``config.managedBy`` names the extension."""
        return [
            vm
            for vm in self.world.of_type(VirtualMachine)
            if vm.managed_by is not None and vm.managed_by.extension_key == extensionKey
        ]

    @operation("QueryExtensionIpAllocationUsage", note="extensions allocate no addresses here: always empty")
    def query_ip_allocation_usage(self, call: Call, extensionKeys: list[str] | None = None) -> list[Any]:
        return []

    def _check(self, extension: Any) -> None:
        if not extension.key or FORBIDDEN & set(extension.key) or not extension.key.isprintable():
            raise _invalid("extension.key", "The extension key is empty or has forbidden characters.")
        parts = (extension.version or "").split(".")
        if not all(part.isdigit() for part in parts):
            raise _invalid("extension.version", "The version must be dotted numbers.")

    def _existing(self, key: str) -> Any:
        if key not in self.extensions:
            raise SoapFault(vim.fault.NotFound(), f"The extension {key} is not registered.")
        return self.extensions[key]

    def _put(self, call: Call, extension: Any) -> None:
        extension.lastHeartbeatTime = self.world.clock.now()
        with self.world.commit(call.user) as tx:
            tx.set(self, extensions={**self.extensions, extension.key: extension})

    def _eam(self) -> Any:
        label = build(vim.Description, label="vSphere ESX Agent Manager", summary="vSphere ESX Agent Manager")
        return build(
            vim.Extension,
            description=label,
            key=EAM_KEY,
            company="VMware, Inc.",
            version="8.0.3",
            lastHeartbeatTime=self.world.clock.now(),
            shownInSolutionManager=True,
        )


def _der(pem: str) -> bytes:
    text = pem.strip()
    try:
        if text.startswith("-----BEGIN"):
            return ssl.PEM_cert_to_DER_cert(text)
        return base64.b64decode(text, validate=False)
    except (ValueError, binascii.Error) as error:
        raise _invalid("certificatePem", "The certificate cannot be read.") from error


def _invalid(name: str, message: str) -> SoapFault:
    return SoapFault(vmodl.fault.InvalidArgument(invalidProperty=name), message)
