"""The certificate authority and what it issues, judged by OpenSSL over real sockets."""

import asyncio
import ssl
import stat
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from contrail_vsphere.model.errors import AlreadyExists, InvalidArgument, InvalidState, SettingsError
from contrail_vsphere.pki.ca import SKEW, CertificateAuthority
from contrail_vsphere.pki.identity import Identity, check_pair, client_context
from contrail_vsphere.pki.pins import pinned_context, thumbprint


def now():
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def authority(tmp_path):
    return CertificateAuthority.create(tmp_path / "ca", name="test authority", now=now)


def installed(tmp_path, issued, name="server"):
    return Identity.install(
        issued.key_pem, issued.chain_pem, key_file=tmp_path / f"{name}.key", cert_file=tmp_path / f"{name}.crt"
    )


@pytest.fixture
async def serve():
    """Serve HTTPS with a context; answers the client certificate's common name, or "nobody"."""
    runners = []

    async def start(context):
        async def who(request):
            subject = (request.transport.get_extra_info("peercert") or {}).get("subject", ())
            return web.Response(text=dict(pair for rdn in subject for pair in rdn).get("commonName", "nobody"))

        app = web.Application()
        app.router.add_get("/", who)
        runner = web.AppRunner(app)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        return runner.addresses[0][1]

    yield start
    for runner in runners:
        await runner.cleanup()


async def ask(port, context, host="127.0.0.1"):
    timeout = aiohttp.ClientTimeout(total=5)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(f"https://{host}:{port}/", ssl=context) as answer,
    ):
        return await answer.text()


async def test_a_server_and_a_client_of_the_authority_trust_each_other(tmp_path, authority, serve):
    server = installed(tmp_path, authority.issue_server(["manager.test", "127.0.0.1"]))
    client = installed(tmp_path, authority.issue_client("contrailvm-7"), "client")
    port = await serve(server.server_context(clients="required", client_ca_pem=authority.trust_bundle))
    assert await ask(port, client.client_context(ca_pem=authority.trust_bundle)) == "contrailvm-7"
    with pytest.raises(aiohttp.ClientError):
        await ask(port, client_context(ca_pem=authority.trust_bundle))


@pytest.mark.parametrize("key_kind", ["ec", "rsa"])
async def test_names_are_checked_for_both_kinds_of_keys(tmp_path, authority, serve, key_kind):
    server = installed(tmp_path, authority.issue_server(["manager.test"], key_kind=key_kind))
    expected = ec.EllipticCurvePublicKey if key_kind == "ec" else rsa.RSAPublicKey
    assert isinstance(server.certificate.public_key(), expected)
    port = await serve(server.server_context())
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await ask(port, client_context(ca_pem=authority.trust_bundle))


async def test_another_authority_is_not_trusted(tmp_path, authority, serve):
    other = CertificateAuthority.create(tmp_path / "other", name="test authority", now=now)
    port = await serve(installed(tmp_path, other.issue_server(["127.0.0.1"])).server_context())
    for context in (client_context(ca_pem=authority.trust_bundle), client_context()):
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await ask(port, context)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
async def test_a_pin_accepts_that_certificate_and_no_other(tmp_path, authority, serve, algorithm):
    server = installed(tmp_path, authority.issue_server(["anything"]))
    other = installed(tmp_path, authority.issue_server(["anything"]), "other")
    port = await serve(server.server_context())
    pin = server.thumbprint(algorithm)
    assert await ask(port, pinned_context(pin)) == "nobody"
    assert await ask(port, pinned_context(other.thumbprint(), pin.lower().replace(":", ""))) == "nobody"
    with pytest.raises(aiohttp.ClientConnectorCertificateError, match="is not pinned"):
        await ask(port, pinned_context(other.thumbprint(algorithm)))


async def test_a_pinned_client_can_present_its_own_certificate(tmp_path, authority, serve):
    server = installed(tmp_path, authority.issue_server(["sdkTunnel"]))
    client = installed(tmp_path, authority.issue_client("net.juniper.contrail", key_kind="rsa"), "client")
    port = await serve(server.server_context(clients="required", client_ca_pem=authority.trust_bundle))
    assert await ask(port, client.client_context(thumbprints=(server.thumbprint(),))) == "net.juniper.contrail"


async def test_a_wrong_pin_stops_blocking_clients_too(tmp_path, authority, serve):
    server = installed(tmp_path, authority.issue_server(["127.0.0.1"]))
    port = await serve(server.server_context())
    good, bad = pinned_context(server.thumbprint()), pinned_context("AB" * 20)

    def connect(context):
        import socket

        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain, context.wrap_socket(plain) as tls:
            return tls.version()

    assert await asyncio.to_thread(connect, good) in ("TLSv1.2", "TLSv1.3")
    with pytest.raises(ssl.SSLCertVerificationError, match="not pinned"):
        await asyncio.to_thread(connect, bad)


async def test_renewed_files_are_presented_without_a_restart(tmp_path, authority, serve):
    server = installed(tmp_path, authority.issue_server(["127.0.0.1"]))
    port = await serve(server.server_context())
    before = server.thumbprint()
    assert await ask(port, pinned_context(before)) == "nobody"
    assert server.reload() is False
    installed(tmp_path, authority.issue_server(["127.0.0.1"]))
    assert server.reload() is True
    assert server.thumbprint() != before
    assert await ask(port, pinned_context(server.thumbprint())) == "nobody"
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await ask(port, pinned_context(before))


async def test_files_that_do_not_match_leave_the_old_ones_in_use(tmp_path, authority, serve):
    server = installed(tmp_path, authority.issue_server(["127.0.0.1"]))
    port = await serve(server.server_context())
    server.cert_file.write_bytes(authority.issue_server(["127.0.0.1"]).chain_pem)
    with pytest.raises(SettingsError, match="do not belong together"):
        server.reload()
    assert await ask(port, pinned_context(server.thumbprint())) == "nobody"


def test_no_copy_of_a_key_lies_about_while_it_is_checked(tmp_path, authority, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    seen = []

    class Context(ssl.SSLContext):
        def load_cert_chain(self, *files):
            seen.extend(scratch.iterdir())
            super().load_cert_chain(*files)

    monkeypatch.setattr(ssl, "SSLContext", Context)
    issued = authority.issue_server(["127.0.0.1"])
    check_pair(issued.key_pem, issued.chain_pem)
    assert seen == []


async def test_rotation_with_overlap_cuts_off_nobody(tmp_path, authority, serve):
    old_server = installed(tmp_path, authority.issue_server(["127.0.0.1"]), "old")
    bundle_of_slow_peer = authority.trust_bundle
    bundle = authority.prepare()
    assert authority.prepare() == bundle
    still_old = installed(tmp_path, authority.issue_server(["127.0.0.1"]), "still-old")
    authority.activate()
    reloaded = CertificateAuthority.load(tmp_path / "ca", now=now)
    assert reloaded.cert_pem == authority.cert_pem
    new_server = installed(tmp_path, reloaded.issue_server(["127.0.0.1"]), "new")
    for server in (old_server, still_old, new_server):
        port = await serve(server.server_context())
        assert await ask(port, client_context(ca_pem=bundle)) == "nobody"
        assert await ask(port, client_context(ca_pem=reloaded.trust_bundle)) == "nobody"
    assert await ask(port, client_context(ca_pem=bundle_of_slow_peer)) == "nobody", "its CA vouches for the new one"
    assert reloaded.retire() == 1
    alone = installed(tmp_path, reloaded.issue_server(["127.0.0.1"]), "alone")
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await ask(await serve(alone.server_context()), client_context(ca_pem=bundle_of_slow_peer))
    port = await serve(old_server.server_context())
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await ask(port, client_context(ca_pem=reloaded.trust_bundle))
    with pytest.raises(InvalidState, match="prepare"):
        reloaded.activate()


def test_the_directory_and_its_files_are_the_owners_alone(tmp_path, authority):
    directory = tmp_path / "ca"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    with pytest.raises(AlreadyExists):
        CertificateAuthority.create(directory, name="x", now=now)
    same = CertificateAuthority.load_or_create(directory, name="x", now=now)
    assert same.cert_pem == authority.cert_pem
    (directory / "issuer.pem").chmod(0o644)
    with pytest.raises(SettingsError, match="others can read it"):
        CertificateAuthority.load(directory, now=now)
    directory.chmod(0o755)
    with pytest.raises(SettingsError, match="others can enter it"):
        CertificateAuthority.load(directory, now=now)


def test_openssl_verifies_what_is_issued(tmp_path, authority):
    (tmp_path / "bundle.pem").write_text(authority.trust_bundle)
    for purpose, issued in (
        ("sslserver", authority.issue_server(["a.test", "10.0.0.1", "::1"])),
        ("sslclient", authority.issue_client("b")),
    ):
        (tmp_path / "leaf.pem").write_bytes(issued.cert_pem)
        command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", "bundle.pem", "leaf.pem"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=10, check=False)
        assert done.returncode == 0, done.stderr


def test_certificates_start_before_now_and_end_with_their_authority(tmp_path):
    time = datetime(2026, 1, 1, tzinfo=UTC)
    authority = CertificateAuthority.create(tmp_path / "ca", name="x", now=lambda: time)
    leaf = x509.load_pem_x509_certificate(authority.issue_client("a").cert_pem)
    assert leaf.not_valid_before_utc == time - SKEW
    assert leaf.not_valid_after_utc == time + timedelta(days=397)
    time = authority.expires - timedelta(days=1)
    assert authority.issue_client("a").expires == authority.expires
    time = authority.expires
    with pytest.raises(InvalidState, match="rotate"):
        authority.issue_client("a")


def request(common_name="vm-1", *, key=None, extra=()):
    key = key or ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.COMMON_NAME, common_name), *extra]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, SHA256())


def test_a_request_gets_a_client_certificate_and_nothing_it_asks_beyond(authority):
    csr = request()
    issued = authority.sign_csr(csr.public_bytes(Encoding.PEM), common_name="vm-1")
    certificate = x509.load_pem_x509_certificate(issued.cert_pem)
    assert certificate.public_key() == csr.public_key()
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]
    assert issued.key_pem == b""
    assert "PRIVATE" not in repr(authority.issue_client("x"))


@pytest.mark.parametrize(
    ("csr", "says"),
    [
        (request("vm-2").public_bytes(Encoding.PEM), "is for CN=vm-2, not vm-1"),
        (
            request(extra=[x509.NameAttribute(NameOID.ORGANIZATION_NAME, "admins")]).public_bytes(Encoding.PEM),
            "not vm-1",
        ),
        (request(key=ec.generate_private_key(ec.SECP192R1())).public_bytes(Encoding.PEM), "too weak"),
        (request(key=rsa.generate_private_key(65537, 1024)).public_bytes(Encoding.PEM), "too weak"),
        (b"nonsense", "not a certificate request"),
    ],
)
def test_a_request_that_is_not_ours_to_sign(authority, csr, says):
    with pytest.raises(InvalidArgument, match=says):
        authority.sign_csr(csr, common_name="vm-1")


def test_a_tampered_request(authority):
    der = bytearray(request().public_bytes(Encoding.DER))
    at = der.index(b"vm-1")
    der[at : at + 4] = b"vm-9"
    csr = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    with pytest.raises(InvalidArgument, match="not signed by its own key"):
        authority.sign_csr(csr, common_name="vm-9")


def test_thumbprints_are_openssls(tmp_path, authority):
    path = tmp_path / "ca.crt"
    path.write_text(authority.cert_pem)
    for algorithm in ("sha1", "sha256"):
        command = ["openssl", "x509", "-noout", "-fingerprint", f"-{algorithm}", "-in", str(path)]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
        assert shown.strip().split("=")[1] == thumbprint(authority.cert_pem, algorithm)
    der = x509.load_pem_x509_certificate(authority.cert_pem.encode()).public_bytes(Encoding.DER)
    assert thumbprint(der) == thumbprint(authority.cert_pem)


@pytest.mark.parametrize("text", ["", "AB:CD", "zz" * 20, "AB" * 21])
def test_what_is_no_thumbprint(text):
    with pytest.raises(SettingsError, match="is not a thumbprint"):
        pinned_context(text)


def test_a_ca_file_without_certificates_is_named(tmp_path):
    path = tmp_path / "empty.pem"
    path.write_text("nothing")
    with pytest.raises(SettingsError, match=r"empty\.pem.*PEM certificates"):
        client_context(ca_file=path)
    with pytest.raises(SettingsError, match=r"absent\.pem"):
        client_context(ca_file=tmp_path / "absent.pem")
