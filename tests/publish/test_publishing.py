"""The publishing server over real TLS: exact bytes at lasting URLs, and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contrail_vsphere.config.settings import Address
from contrail_vsphere.contrailvm.package import make_demo_package
from contrail_vsphere.contrailvm.publish import PackageStore, Publisher
from contrail_vsphere.contrailvm.publish import server as server_module
from contrail_vsphere.contrailvm.publish.conditions import answer
from contrail_vsphere.model.errors import NotFound, PackageError, SettingsError
from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.identity import Identity
from contrail_vsphere.pki.pins import pinned_context

LOOPBACK = Address("127.0.0.1", 0)


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return CertificateAuthority.create(
        tmp_path_factory.mktemp("ca"), name="test", now=lambda: datetime(2026, 1, 1, tzinfo=UTC)
    )


@pytest.fixture(scope="session")
def identity(authority, tmp_path_factory):
    return issue(authority, tmp_path_factory.mktemp("tls"))


def issue(authority, directory: Path, *hosts: str) -> Identity:
    issued = authority.issue_server(hosts or ("127.0.0.1", "localhost"))
    return Identity.install(
        issued.key_pem, issued.cert_pem, key_file=directory / "key.pem", cert_file=directory / "cert.pem"
    )


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    return make_demo_package(tmp_path_factory.mktemp("package") / "one")


@pytest.fixture(scope="session")
def newer(tmp_path_factory):
    return make_demo_package(tmp_path_factory.mktemp("package") / "two", version="1.1.0")


@pytest.fixture
async def publisher(tmp_path, identity):
    publisher = Publisher(tmp_path / "published", listen=LOOPBACK, tls=identity)
    await publisher.start()
    yield publisher
    await publisher.stop()


@pytest.fixture
async def client(identity):
    context = pinned_context(identity.thumbprint("sha256"))
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context), timeout=aiohttp.ClientTimeout(10), auto_decompress=False
    ) as session:
        yield session


async def fetch(client, url, method="GET", **headers):
    async with client.request(method, url, headers=headers, allow_redirects=False) as response:
        return response.status, response.headers, await response.read()


async def test_every_file_of_a_package_is_served_whole(publisher, package, client):
    url = await publisher.publish(package)
    assert url.endswith(f"/ovf/{package.digest[:12]}/1.0.0/contrailvm.ovf")
    for file in package.files:
        status, headers, body = await fetch(client, f"{url.rpartition('/')[0]}/{file.name}")
        assert (status, hashlib.sha256(body).hexdigest()) == (200, file.sha256)
        assert headers["Content-Length"] == str(file.size)
        assert "Transfer-Encoding" not in headers
        assert "Content-Encoding" not in headers
        status, head, body = await fetch(client, f"{url.rpartition('/')[0]}/{file.name}", "HEAD")
        assert (status, head["Content-Length"], head["ETag"], body) == (200, str(file.size), headers["ETag"], b"")
    disk = publisher.counts[f"/ovf/{package.digest[:12]}/1.0.0/contrailvm-disk1.vmdk"]
    assert (disk.downloads, disk.bytes, disk.aborted) == (1, package.files[-1].size, 0)


async def test_ranges_and_conditions(publisher, package, client):
    url = (await publisher.publish(package)).replace("contrailvm.ovf", "contrailvm-disk1.vmdk")
    _, headers, whole = await fetch(client, url)
    size, etag = len(whole), headers["ETag"]
    status, headers, body = await fetch(client, url, Range="bytes=100-299")
    assert (status, headers["Content-Range"], body) == (206, f"bytes 100-299/{size}", whole[100:300])
    assert (await fetch(client, url, Range="bytes=-5"))[2] == whole[-5:]
    assert (await fetch(client, url, Range=f"bytes={size - 1}-"))[2] == whole[-1:]
    status, headers, _ = await fetch(client, url, Range=f"bytes={size}-")
    assert (status, headers["Content-Range"]) == (416, f"bytes */{size}")
    assert (await fetch(client, url, Range="bytes=5-9", **{"If-Range": etag}))[0] == 206
    assert (await fetch(client, url, Range="bytes=5-9", **{"If-Range": '"other"'}))[0] == 200
    assert (await fetch(client, url, Range="bytes=1-2,4-5"))[0] == 200
    status, headers, body = await fetch(client, url, **{"If-None-Match": f'"x", {etag}'})
    assert (status, headers["ETag"], body) == (304, etag, b"")
    assert (await fetch(client, url, "HEAD", Range="bytes=5-9"))[0] == 200


async def test_a_broken_download_resumes(publisher, package, client):
    url = (await publisher.publish(package)).replace("contrailvm.ovf", "contrailvm-disk1.vmdk")
    async with client.get(url) as response:
        start = await response.content.read(1000)
        etag = response.headers["ETag"]
        response.close()
    _, _, rest = await fetch(client, url, Range=f"bytes={len(start)}-", **{"If-Range": etag})
    assert hashlib.sha256(start + rest).hexdigest() == package.files[-1].sha256


async def test_only_reading_is_allowed(publisher, package, client):
    url = await publisher.publish(package)
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        status, headers, _ = await fetch(client, url, method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")


async def raw(publisher, identity, target: bytes) -> bytes:
    """A request with a target no well-bred client would send; the first line of the answer."""
    context = pinned_context(identity.thumbprint("sha256"))
    reader, writer = await asyncio.open_connection("127.0.0.1", publisher.address.port, ssl=context)
    try:
        writer.write(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_nothing_outside_the_package_is_served(publisher, package, identity):
    url = await publisher.publish(package)
    base = urlsplit(url).path.rpartition("/")[0]
    publisher.store.data_dir.joinpath("secret").write_text("secret")
    targets = [
        "/", "/ovf", "/ovf/", base, f"{base}/", f"{base}/../../../secret", f"{base}/package.json", "/package.json",
        f"{base}/%2e%2e/%2e%2e/secret", f"{base}/..%2f..%2fsecret", f"{base}//contrailvm.ovf/",
        f"{base}/CONTRAILVM.OVF",
        "//etc/passwd", "/../../../../etc/passwd", "/%00", f"{base}/contrailvm.ovf%00.txt", f"{base}/contrailvm.ovf/",
        f"/ovf/{package.digest[:12]}/9.9.9/contrailvm.ovf", f"/ovf/{package.digest}/1.0.0/contrailvm.ovf", "*",
    ]  # fmt: skip
    for target in targets:
        reply = await raw(publisher, identity, target.encode())
        assert reply.split(b" ")[1] in {b"404", b"400"}, (target, reply)
        assert b"secret" not in reply.partition(b"\r\n\r\n")[2]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=20), st.sampled_from(["%2e%2e/", "../", "/", "./", ""])
)
def test_fuzzed_paths_find_nothing(served, text, prefix):
    loop, publisher, identity, base = served
    target = f"{base}/{prefix}{quote(text)}"
    reply = loop.run_until_complete(raw(publisher, identity, target.encode()))
    assert reply.split(b" ")[1] in {b"404", b"400"}


@pytest.fixture
def served(tmp_path, identity, package):
    loop = asyncio.new_event_loop()
    publisher = Publisher(tmp_path / "published", listen=LOOPBACK, tls=identity)
    loop.run_until_complete(publisher.start())
    url = loop.run_until_complete(publisher.publish(package))
    yield loop, publisher, identity, urlsplit(url).path.rpartition("/")[0]
    loop.run_until_complete(publisher.stop())
    loop.close()


async def test_urls_outlive_a_restart_and_old_versions_stay(tmp_path, identity, package, newer, client):
    first = Publisher(tmp_path / "data", listen=LOOPBACK, tls=identity)
    await first.start()
    old, new = await first.publish(package), await first.publish(newer)
    assert old != new
    assert await first.publish(package) == old
    port = first.address.port
    await first.stop()

    second = Publisher(tmp_path / "data", listen=Address("127.0.0.1", port), tls=identity)
    await second.start()
    assert second.url(package.digest) == old
    assert {found.version for found in second.store.packages.values()} == {"1.0.0", "1.1.0"}
    assert second.store.packages[package.digest].descriptor == package.descriptor
    assert (await fetch(client, old))[0] == (await fetch(client, new))[0] == 200
    assert second.retire([package.digest, "0" * 64]) == (package.digest,)
    assert (await fetch(client, old))[0] == 404
    assert (await fetch(client, new))[0] == 200
    with pytest.raises(NotFound, match="no published package"):
        second.url(package.digest)
    await second.stop()


async def test_an_interrupted_import_leaves_nothing(tmp_path, package):
    store = PackageStore(tmp_path)
    store.load()
    task = asyncio.ensure_future(store.add(package))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".partial-dead").mkdir()
    (tmp_path / ".partial-dead" / "x").write_text("half")
    store.load()
    assert list(tmp_path.iterdir()) == []
    assert (await store.add(package)).digest == package.digest


async def test_an_import_of_another_process_is_left_alone(tmp_path, package):
    """`package publish` fills the shelf while the manager starts, or loads it anew for an apply."""
    ours, theirs = PackageStore(tmp_path / "shelf"), PackageStore(tmp_path / "shelf")
    importing = asyncio.create_task(theirs.add(package))
    await asyncio.sleep(0)
    assert list((tmp_path / "shelf").glob(".partial-*")) and not importing.done()
    ours.load()
    assert await importing
    ours.load()
    assert list(ours.packages) == [package.digest]
    assert not list((tmp_path / "shelf").glob(".partial-*"))


async def test_files_that_changed_since_verification_are_refused(tmp_path):
    package = make_demo_package(tmp_path / "package")
    (tmp_path / "package" / "contrailvm.mf").write_text("x" * package.files[1].size)
    store = PackageStore(tmp_path / "store")
    store.load()
    with pytest.raises(PackageError, match=r"contrailvm.mf changed since it was verified"):
        await store.add(package)
    assert list((tmp_path / "store").iterdir()) == []


async def test_damage_at_rest_is_seen_at_start_and_healed_by_publishing_again(tmp_path, package):
    store = PackageStore(tmp_path)
    store.load()
    await store.add(package)
    with (tmp_path / package.digest / "contrailvm-disk1.vmdk").open("ab") as disk:
        disk.write(b"x")
    store.load()
    assert not store.packages
    assert "contrailvm-disk1.vmdk is not as published" in store.damaged[package.digest]
    await store.add(package)
    store.load()
    assert list(store.packages) == [package.digest]
    assert not store.damaged


async def test_a_file_that_shrinks_while_served_is_cut_off_not_padded(publisher, package, client, monkeypatch):
    url = (await publisher.publish(package)).replace("contrailvm.ovf", "contrailvm-disk1.vmdk")
    with (publisher.store.data_dir / package.digest / "contrailvm-disk1.vmdk").open("r+b") as disk:
        disk.truncate(1000)
    monkeypatch.setattr(server_module, "_damage", lambda _file: "")  # it was whole when the request came in
    with pytest.raises(aiohttp.ClientError):
        await fetch(client, url)
    assert publisher.counts[urlsplit(url).path].aborted == 1


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("damage", ["shorter", "gone"])
async def test_what_is_no_longer_as_published_is_not_promised(publisher, package, client, method, damage):
    url = (await publisher.publish(package)).replace("contrailvm.ovf", "contrailvm-disk1.vmdk")
    disk = publisher.store.data_dir / package.digest / "contrailvm-disk1.vmdk"
    if damage == "gone":
        disk.unlink()
    else:
        with disk.open("r+b") as file:
            file.truncate(1000)
    async with client.request(method, url) as response:
        assert response.status == 503


async def test_downloads_are_bounded_and_all_served(tmp_path, identity, package, client, monkeypatch):
    publisher = Publisher(tmp_path / "data", listen=LOOPBACK, tls=identity, most_downloads=2)
    await publisher.start()
    url = (await publisher.publish(package)).replace("contrailvm.ovf", "contrailvm-disk1.vmdk")
    monkeypatch.setattr(server_module, "CHUNK", 1 << 12)
    most = 0

    async def watched():
        nonlocal most
        status, _, body = await fetch(client, url)
        most = max(most, publisher.active)
        return status, len(body)

    results = await asyncio.gather(*(watched() for _ in range(12)))
    assert set(results) == {(200, package.files[-1].size)}
    assert most <= 2
    await publisher.stop()


@pytest.mark.looptime
async def test_a_download_that_gets_no_turn_is_sent_away(tmp_path, identity, package, client):
    publisher = Publisher(tmp_path / "data", listen=LOOPBACK, tls=identity, most_downloads=1)
    await publisher.start()
    url = await publisher.publish(package)
    await publisher._turns.acquire()
    assert (await fetch(client, url, "HEAD"))[0] == 200
    async with client.get(url, timeout=aiohttp.ClientTimeout(total=None)) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "10")
    await publisher.stop()


async def test_connections_are_kept_alive(publisher, package, identity):
    url = await publisher.publish(package)
    context = pinned_context(identity.thumbprint("sha256"))
    reader, writer = await asyncio.open_connection("127.0.0.1", publisher.address.port, ssl=context)
    for _ in range(3):
        writer.write(f"GET {urlsplit(url).path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            await reader.readexactly(package.files[0].size)
    writer.close()
    await writer.wait_closed()


async def test_certificates_change_without_a_gap(publisher, package, authority, identity, tmp_path):
    url = await publisher.publish(package)
    fresh = issue(authority, tmp_path)

    async def presented():
        context = ssl.create_default_context(cadata=authority.cert_pem)
        _, writer = await asyncio.open_connection("127.0.0.1", publisher.address.port, ssl=context)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        await writer.wait_closed()
        return ssl.DER_cert_to_PEM_cert(der)

    before = publisher.certificate_pem
    assert await presented() == before
    publisher.stage(fresh)
    assert publisher.staged and len(publisher.certificates) == 2
    assert await presented() == publisher.certificate_pem == before, "EAM fetches before it takes a new pin"
    await publisher.probe(url)
    publisher.switch()
    assert await presented() == publisher.certificate_pem != before
    assert len(publisher.certificates) == 1 and not publisher.staged
    await publisher.probe(url)


async def test_a_taken_port_is_named(publisher, tmp_path, identity):
    other = Publisher(tmp_path / "other", listen=publisher.address, tls=identity)
    with pytest.raises(SettingsError, match=r"publish.listen 127.0.0.1:\d+: .*in use"):
        await other.start()


async def test_old_vcenters_can_have_plain_http(tmp_path, package):
    publisher = Publisher(tmp_path / "data", listen=LOOPBACK, tls=None)
    await publisher.start()
    url = await publisher.publish(package)
    assert url.startswith("http://127.0.0.1:")
    assert publisher.certificate_pem == ""
    assert (await publisher.probe(url)).files == 3
    await publisher.stop()


@given(
    st.integers(0, 50),
    st.integers(0, 60),
    st.none() | st.integers(0, 60),
    st.booleans(),
    st.sampled_from(["GET", "HEAD"]),
)
def test_ranges_follow_the_rfc(size, first, last, suffix, method):
    header = f"bytes=-{first}" if suffix else f"bytes={first}-{'' if last is None else last}"
    found = answer({"Range": header}, method=method, size=size, etag='"e"')
    content = bytes(range(size))
    if method == "HEAD" or (not suffix and last is not None and last < first):
        assert (found.status, found.start, found.length) == (200, 0, size)
        return
    wanted = content[size - min(first, size) :] if suffix else content[first : None if last is None else last + 1]
    assert found.status == (206 if wanted else 416)
    assert content[found.start : found.start + found.length] == wanted


@given(st.text(max_size=30))
def test_noise_as_range_is_ignored(header):
    assert answer({"Range": header}, method="GET", size=10, etag='"e"').status in {200, 206, 416}
