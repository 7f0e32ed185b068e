"""Certificates that are renewed on disk are presented without a restart; half-written ones are not."""

import asyncio
import ssl
from datetime import UTC, datetime

import pytest

from contrail_vsphere.app.certificates import PERIOD, CertificateWatch
from contrail_vsphere.config.settings import Address, PublishSettings
from contrail_vsphere.contrailvm.publish import Publisher
from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.identity import Identity
from contrail_vsphere.pki.secrets import write_private


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return CertificateAuthority.create(tmp_path_factory.mktemp("ca"), name="operator", now=lambda: datetime.now(UTC))


async def presented(publisher, authority):
    context = ssl.create_default_context(cadata=authority.cert_pem)
    address = publisher.address
    _, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return ssl.DER_cert_to_PEM_cert(der)


@pytest.mark.looptime
async def test_renewed_files_are_presented_within_a_minute(tmp_path, authority):
    old, new = authority.issue_server(["127.0.0.1"]), authority.issue_server(["127.0.0.1"])
    files = {"key_file": tmp_path / "own.key", "cert_file": tmp_path / "own.crt"}
    identity = Identity.install(old.key_pem, old.cert_pem, **files)
    publisher = Publisher(tmp_path / "shelf", listen=Address("127.0.0.1", 0), tls=identity)
    watch = CertificateWatch({"publish": identity})
    await publisher.start()
    watch.start()
    try:
        assert await presented(publisher, authority) == old.cert_pem.decode()
        write_private(files["cert_file"], new.cert_pem)
        await asyncio.sleep(PERIOD + 1)
        assert await presented(publisher, authority) == old.cert_pem.decode(), "the key is not there yet"
        write_private(files["key_file"], new.key_pem)
        await asyncio.sleep(PERIOD + 1)
        assert await presented(publisher, authority) == new.cert_pem.decode()
        assert publisher.certificate_pem == new.cert_pem.decode(), "what EAM is to pin"
    finally:
        await watch.stop()
        await publisher.stop()


def test_a_certificate_without_its_key_is_refused():
    with pytest.raises(ValueError, match="cert_file and key_file go together"):
        PublishSettings(cert_file="own.crt")
