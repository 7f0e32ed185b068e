"""A bootstrap server on loopback with a real CA, a real token store and a real journal."""

import hashlib
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from contrail_vsphere.contrailvm.bootstrap.host_configuration import HostConfiguration, RoleNic
from contrail_vsphere.contrailvm.bootstrap.request import EnrolmentRefused
from contrail_vsphere.contrailvm.bootstrap.server import BootstrapServer, RateLimit
from contrail_vsphere.contrailvm.notices.health_document import HealthNode
from contrail_vsphere.engine.journal import Journal
from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.identity import Identity
from contrail_vsphere.pki.tokens import TokenStore

BIOS = "42214f3e-1111-2222-3333-444455556666"
MAC = "00:50:56:80:00:01"


@dataclass
class Manager:
    """What the ContrailVM Manager does behind the server, in its simplest form."""

    ca: CertificateAuthority
    tokens: TokenStore
    moment: datetime = field(default_factory=lambda: datetime.now(UTC))
    certified: dict[str, str] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    configuration_ = HostConfiguration(
        host="host-12",
        host_name="esx-00",
        nics=(RoleNic("management", unit=7), RoleNic("overlay", unit=8)),
        control_nodes=("10.0.0.11:5269",),
    )
    trouble: Exception | None = None
    health_ = HealthNode("net.example.manager", "Manager")

    def mint(self, **changes):
        return self.tokens.mint({"bios_uuid": BIOS, "agency_id": "agency-1", **changes}).reveal()

    @property
    def ca_sha256(self):
        der = x509.load_pem_x509_certificate(self.ca.cert_pem.encode()).public_bytes(Encoding.DER)
        return hashlib.sha256(der).hexdigest()

    async def redeem(self, token, identity):
        if self.trouble is not None:
            raise self.trouble
        claims = {"bios_uuid": identity.bios_uuid, "agency_id": identity.agency_id}
        self.tokens.redeem(token, claims, proof=identity.key_sha256)
        self.certified[identity.common_name] = identity.key_sha256
        return self.configuration_

    async def configuration(self, certificate):
        if certificate.common_name in self.revoked:
            raise EnrolmentRefused("the VM was redeployed")
        assert self.certified[certificate.common_name] == certificate.key_sha256
        return self.configuration_

    def sign(self, csr, identity):
        return self.ca.sign_csr(csr, common_name=identity.common_name).cert_pem

    def health(self):
        return self.health_


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return CertificateAuthority.create(
        tmp_path_factory.mktemp("pki") / "ca", name="test CA", now=lambda: datetime.now(UTC)
    )


@pytest.fixture
def manager(authority, tmp_path):
    journal = Journal(tmp_path / "journal.db", now=lambda: datetime.now(UTC))
    made = Manager(authority, None)
    made.tokens = TokenStore(journal, now=lambda: made.moment, ttl=timedelta(minutes=30))
    yield made
    journal.close()


@pytest.fixture
async def server(manager, tmp_path):
    issued = manager.ca.issue_server(["127.0.0.1"])
    cert, key = tmp_path / "server.pem", tmp_path / "server.key"
    identity = Identity.install(issued.key_pem, issued.chain_pem, key_file=key, cert_file=cert)
    server = BootstrapServer(
        tls=identity.server_context(client_ca_pem=manager.ca.trust_bundle, clients="optional"),
        ca_pem=lambda: manager.ca.trust_bundle.encode(),
        redeem=manager.redeem,
        configuration=manager.configuration,
        sign=manager.sign,
        health=manager.health,
        listen="127.0.0.1:0",
        limit=RateLimit(burst=3, every=10),
    )
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def url(server):
    return f"https://127.0.0.1:{server.address[1]}"


@pytest.fixture
def audit_log(caplog):
    caplog.set_level(logging.INFO, logger="contrail_vsphere.audit.bootstrap")
    return caplog
