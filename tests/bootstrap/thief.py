"""Somebody who wants a ContrailVM's certificate and knows of it whatever vCenter shows to readers."""

from __future__ import annotations

import json
import ssl

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from contrail_vsphere.contrailvm.bootstrap.request import either_order


def request_of(key, name: str) -> str:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, SHA256())
    return csr.public_bytes(Encoding.PEM).decode()


class Thief:
    """Knows what anybody with the right to read a VM knows, and says what it likes."""

    def __init__(self, lab, vm, *, address=""):
        self.lab = lab
        self.address = address or vm.guest_ip
        """Where it connects from; it has taken the ContrailVM's own unless told otherwise."""
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = b""
        self.token = vm.vapp_properties["bootstrap_token"]
        self.claims = {
            "instance_uuid": "",
            "bios_uuid": vm.bios_uuid,
            "vm_id": vm.moid,
            "agency_id": vm.vapp_properties["agency_id"],
            "macs": [nic.mac for nic in vm.nics],
        }

    async def redeem(self, token="", **changes) -> int:
        claims = self.claims | changes
        name = claims["instance_uuid"] or claims["bios_uuid"]
        body = {"version": 1, "token": token or self.token, "csr": request_of(self.key, name), "identity": claims}
        status, answer = await self._ask("POST", "/v1/bootstrap", body=body)
        if status == 200:
            self.certificate = answer["certificate"].encode()
        return status

    async def configuration(self) -> int:
        """With the certificate it got."""
        return (await self._ask("GET", "/v1/configuration"))[0]

    async def _ask(self, method, path, *, body=None):
        trust = ssl.create_default_context(cadata=self.lab.authority.cert_pem)
        if self.certificate:
            held = self.lab.directory / "thief.pem"
            key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            held.write_bytes(self.certificate + key)
            trust.load_cert_chain(held)
        host, port = self.lab.bootstrap.address
        connector = aiohttp.TCPConnector(ssl=trust, force_close=True, local_addr=(self.address, 0))
        data = json.dumps(body) if body else None
        async with (
            aiohttp.ClientSession(connector=connector) as http,
            http.request(method, f"https://{host}:{port}{path}", data=data) as answer,
        ):
            return answer.status, await answer.json()


def bound_to(lab, vm) -> dict[str, str]:
    """What the manager binds the token of a VM to."""
    (key,) = lab.manager.notebook.desired
    return {
        "key": str(key),
        "host": vm.host.moid,
        "vm": vm.moid,
        "firmware": either_order(vm.bios_uuid),
        "agency": vm.vapp_properties["agency_id"],
        "macs": ",".join(sorted(nic.mac for nic in vm.nics)),
    }
