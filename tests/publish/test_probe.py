"""The probe names what is wrong with a URL before EAM can only say InvalidUrl."""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import UTC, datetime

import pytest
from aiohttp import web

from contrail_vsphere.config.settings import Address
from contrail_vsphere.contrailvm.package import make_demo_package
from contrail_vsphere.contrailvm.publish import Publisher, probe
from contrail_vsphere.model.errors import NotFound, UrlRefused
from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.identity import Identity
from contrail_vsphere.pki.pins import pinned_context

LOOPBACK = Address("127.0.0.1", 0)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return make_demo_package(tmp_path_factory.mktemp("package") / "one")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return CertificateAuthority.create(
        tmp_path_factory.mktemp("ca"), name="test", now=lambda: datetime(2026, 1, 1, tzinfo=UTC)
    )


@pytest.fixture
def identity(authority, tmp_path):
    return issue(authority, tmp_path, "127.0.0.1")


def issue(authority, directory, *hosts):
    issued = authority.issue_server(hosts)
    directory.mkdir(exist_ok=True)
    return Identity.install(
        issued.key_pem, issued.cert_pem, key_file=directory / "key.pem", cert_file=directory / "cert.pem"
    )


@pytest.fixture
async def publisher(tmp_path, identity, package):
    publisher = Publisher(tmp_path / "data", listen=LOOPBACK, tls=identity)
    await publisher.start()
    yield publisher
    await publisher.stop()


async def test_a_sound_publication_passes(publisher, package):
    result = await publisher.probe(await publisher.publish(package))
    assert (result.files, result.bytes) == (3, package.size)


async def test_a_url_that_is_not_ours_is_named(publisher):
    with pytest.raises(NotFound, match="not one of the published packages"):
        await publisher.probe("https://127.0.0.1:1/x.ovf")


async def test_a_lost_file_is_named(publisher, package):
    url = await publisher.publish(package)
    (publisher.store.data_dir / package.digest / "contrailvm.ovf").unlink()
    with pytest.raises(UrlRefused, match=r"contrailvm\.ovf: answered 503"):
        await publisher.probe(url)


@pytest.mark.parametrize(
    ("advertise", "complaint"),
    [
        ("https://127.0.0.1:1", "127.0.0.1:1: connection refused .*check publish.listen"),
        ("https://127.0.0.2:1", "the certificate is for 127.0.0.1, not for 127.0.0.2"),
    ],
)
async def test_a_wrong_advertised_url_is_named(tmp_path, identity, package, advertise, complaint):
    publisher = Publisher(tmp_path / "data", listen=LOOPBACK, tls=identity, advertised_url=advertise)
    await publisher.start()
    url = await publisher.publish(package)
    assert url.startswith(advertise)
    with pytest.raises(UrlRefused, match=complaint):
        await publisher.probe(url)
    await publisher.stop()


async def test_an_unknown_name_is_named(package, monkeypatch):
    async def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    with pytest.raises(UrlRefused, match=r"the name no-such-host\.invalid is not known"):
        await probe("http://no-such-host.invalid/contrailvm.ovf", package, context=None)


async def test_an_expired_certificate_is_named(tmp_path, identity, package):
    publisher = Publisher(
        tmp_path / "data", listen=LOOPBACK, tls=identity, now=lambda: datetime(2099, 1, 1, tzinfo=UTC)
    )
    await publisher.start()
    with pytest.raises(UrlRefused, match="the certificate is not valid now"):
        await publisher.probe(await publisher.publish(package))
    await publisher.stop()


async def test_another_certificate_is_named(publisher, package, authority, tmp_path):
    url = await publisher.publish(package)
    other = issue(authority, tmp_path / "other", "127.0.0.1")
    with pytest.raises(UrlRefused, match=r"TLS with 127.0.0.1:\d+ failed: .*not pinned"):
        await probe(url, package, context=pinned_context(other.thumbprint("sha256")))


async def test_a_server_without_tls_is_named(package):
    async with impostor(handler_of(status=200)) as base:
        with pytest.raises(UrlRefused, match=r"TLS with .* failed"):
            url = base.replace("http:", "https:") + "/contrailvm.ovf"
            await probe(url, package, context=ssl.create_default_context())


def handler_of(*, status=200, headers=None, body=None, wait=0.0):
    async def handle(request):
        await asyncio.sleep(wait)
        return web.Response(status=status, headers=headers, body=body)

    return handle


class impostor:
    """Something else that answers at the advertised URL."""

    def __init__(self, handler):
        self.handler = handler

    async def __aenter__(self):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handler)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def __aexit__(self, *_):
        await self.runner.cleanup()


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        ({"status": 404}, "answered 404 Not Found"),
        ({"status": 302, "headers": {"Location": "/x"}}, "redirected, which EAM does not follow"),
        ({"status": 401}, "answered 401"),
        ({"body": b"short"}, "5 bytes, should be"),
    ],
)
async def test_what_an_impostor_answers_is_named(package, reply, complaint):
    async with impostor(handler_of(**reply)) as base:
        with pytest.raises(UrlRefused, match=complaint):
            await probe(f"{base}/contrailvm.ovf", package, context=None)


async def test_other_content_of_the_same_size_is_named(package):
    async with impostor(handler_of(body=b"x" * package.files[0].size)) as base:
        with pytest.raises(UrlRefused, match="other content than was published"):
            await probe(f"{base}/contrailvm.ovf", package, context=None)


async def test_chunked_answers_are_named(package):
    async def chunked(request):
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        if request.method == "GET":
            await response.write(b"x")
        return response

    async with impostor(chunked) as base:
        with pytest.raises(UrlRefused, match="no exact length"):
            await probe(f"{base}/contrailvm.ovf", package, context=None)


async def test_a_cut_off_answer_is_named(package):
    async def cut(request):
        response = web.StreamResponse()
        response.content_length = package.files[0].size
        await response.prepare(request)
        if request.method == "GET":
            await response.write(b"<?xml")
            request.transport.abort()
        return response

    async with impostor(cut) as base:
        with pytest.raises(UrlRefused, match=r"cut off|closed the connection"):
            await probe(f"{base}/contrailvm.ovf", package, context=None)


@pytest.mark.looptime
async def test_a_slow_answer_is_named(package):
    async with impostor(handler_of(wait=300)) as base:
        with pytest.raises(UrlRefused, match="no answer within 20 s"):
            await probe(f"{base}/contrailvm.ovf", package, context=None)
