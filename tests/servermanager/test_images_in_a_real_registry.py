"""add image and delete image against Debian's docker-registry, over TLS with a password."""

import asyncio
import contextlib
import gzip
import os
import shutil
import socket
import subprocess
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

import pytest
from image_kit import bundle, docker_archive
from sm_stand import ACTOR, free_port, missing, now

from contrail_vsphere.config.settings import Address
from contrail_vsphere.model.errors import (
    AlreadyExists,
    AuthenticationFailed,
    InvalidState,
    SettingsError,
    Unreachable,
    Untrusted,
)
from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.identity import client_context
from contrail_vsphere.pki.secrets import Secret
from contrail_vsphere.servermanager.catalogue import catalogue
from contrail_vsphere.servermanager.embedded_registry import EmbeddedRegistry
from contrail_vsphere.servermanager.image_rows import shown_image
from contrail_vsphere.servermanager.images import Images
from contrail_vsphere.servermanager.registry import Registry
from contrail_vsphere.servermanager.tables import Image

HOST = "127.61.0.1"


def today():
    return datetime.now(UTC)


@asynccontextmanager
async def running(tmp_path):
    if shutil.which("docker-registry") is None:
        missing("docker-registry")
    authority = CertificateAuthority.load_or_create(tmp_path / "ca", name="test", now=today)
    registry = EmbeddedRegistry(tmp_path / "registry", Address(HOST, free_port(HOST)), authority=authority)
    await registry.start()
    try:
        yield registry
    finally:
        await registry.stop()


def images_of(store, registry, tmp_path, client=None):
    return Images(store, catalogue=catalogue(), registries=client or registry.client, address=registry.address,
                  scratch=tmp_path / "scratch")  # fmt: skip


async def add(images, store, document):
    with store.writing() as session:
        images.register(session, ACTOR, document)
    images.begin(document["id"])
    await images.settled(document["id"])
    return shown(store, document["id"])


def shown(store, image_id):
    with store.reading() as session:
        row = session.get(Image, image_id)
        return shown_image(row) if row is not None else None


def document(tmp_path, roles=("control", "analytics"), image_id="contrail-container", **more):
    containers = []
    for role in roles:
        path = tmp_path / f"{image_id}-{role}.tar.gz"
        path.write_bytes(gzip.compress(docker_archive(role)))
        containers.append({"role": role, "container_path": str(path)})
    return {"id": image_id, "category": "container", "type": "contrail-container-ubuntu",
            "version": "liberty:3.1.1.0-29", "parameters": {"containers": containers}, **more}  # fmt: skip


async def test_an_image_lands_pinned_and_a_second_push_sends_nothing(sqlite_store, tmp_path):
    async with running(tmp_path) as registry:
        images = images_of(sqlite_store, registry, tmp_path)
        await images.resume()
        made = await add(images, sqlite_store, document(tmp_path))
        assert made["state"] == "ready", made["reason"]
        first = {each["role"]: each for each in made["containers"]}
        name = f"{registry.address}/contrail-container-controller-liberty:3.1.1.0-29"
        assert first["controller"]["container_image"] == name
        async with registry.client() as client:
            digest = await client.digest("contrail-container-controller-liberty", "3.1.1.0-29")
        assert digest == first["controller"]["digest"]
        assert 0 < first["controller"]["sent_bytes"] <= first["controller"]["total_bytes"]
        with pytest.raises(AlreadyExists):
            await add(images, sqlite_store, document(tmp_path))
        # The job died before it could say that it was ready: the next process takes it up.
        with sqlite_store.writing() as session:
            session.get(Image, "contrail-container").state = "adding"
        again = images_of(sqlite_store, registry, tmp_path)
        assert await again.resume() == ["contrail-container"]
        await again.settled("contrail-container")
        second = shown(sqlite_store, "contrail-container")
        assert second["state"] == "ready"
        assert sum(each["sent_bytes"] for each in second["containers"]) == 0
        assert list((tmp_path / "scratch").iterdir()) == []


async def test_a_bundle_and_its_deletion(sqlite_store, tmp_path):
    path = tmp_path / "contrail-cloud-docker_4.1.1.0-1-mitaka.tgz"
    path.write_bytes(bundle(["controller", "agent", "vcenter-plugin"]))
    asked = {"id": "ct_4_1", "category": "package", "type": "contrail-ubuntu-package", "version": "4.1.1.0-1",
             "path": str(path), "parameters": {"openstack_sku": "vcenter"}}  # fmt: skip
    async with running(tmp_path) as registry:
        images = images_of(sqlite_store, registry, tmp_path)
        await images.resume()
        made = await add(images, sqlite_store, asked)
        assert made["state"] == "ready", made["reason"]
        assert {each["role"] for each in made["containers"]} == {"controller", "agent", "vcenter-plugin"}
        with sqlite_store.writing() as session:
            images.mark_deleting(session, ACTOR, "ct_4_1")
        images.begin("ct_4_1")
        await images.settled("ct_4_1")
        assert shown(sqlite_store, "ct_4_1") is None
        async with registry.client() as client:
            assert await client.digest("ct_4_1-agent", "4.1.1.0-1") is None
        assert await registry.collect_garbage() > 0
        data = tmp_path / "registry" / "data"
        assert [each for each in data.rglob("data") if each.is_file() and "blobs" in each.parts] == []


async def test_14_an_image_in_use_stays(sqlite_store, tmp_path, objects):
    async with running(tmp_path) as registry:
        images = images_of(sqlite_store, registry, tmp_path)
        await images.resume()
        await add(images, sqlite_store, document(tmp_path, roles=["lb"]))
    with sqlite_store.writing() as session:
        objects.put_cluster(session, ACTOR, {"id": "c1", "package_image_id": "contrail-container"})
    with pytest.raises(InvalidState, match="used by cluster c1"), sqlite_store.writing() as session:
        images.mark_deleting(session, ACTOR, "contrail-container")


async def test_12_each_way_to_fail_has_its_own_reason_and_can_be_repeated(sqlite_store, tmp_path):
    async with running(tmp_path) as registry:
        good = document(tmp_path, roles=["lb"])
        cut = tmp_path / "cut.tar"
        cut.write_bytes(docker_archive("lb")[:3000])
        bad = {**good, "parameters": {"containers": [{"role": "lb", "container_path": str(cut)}]}}
        absent = {**good, "parameters": {"containers": [{"role": "lb"}]}}

        def wrong_password():
            tls = client_context(ca_file=None, ca_pem=registry._authority.trust_bundle)
            return Registry(registry.address, tls=tls, username="server-manager", password=Secret("wrong"))

        def untrusted():
            return Registry(registry.address, tls=client_context(), username="x", password=Secret("y"))

        def nobody():
            return Registry(f"{HOST}:{free_port(HOST)}", tls=client_context())

        cases = [(bad, None, "cut off"), (absent, None, "not in the registry"),
                 (good, wrong_password, "does not know us"),
                 (good, untrusted, "certificate"), (good, nobody, "does not answer")]  # fmt: skip
        for asked, client, reason in cases:
            images = images_of(sqlite_store, registry, tmp_path, client)
            await images.resume()
            made = await add(images, sqlite_store, asked)
            assert made["state"] == "failed"
            assert reason in made["reason"]
            assert list((tmp_path / "scratch").iterdir()) == []
        made = await add(images_of(sqlite_store, registry, tmp_path), sqlite_store, good)
        assert made["state"] == "ready"


@contextmanager
def small_disk(place, size):
    """A file system of that size there."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tests", place], check=True, timeout=20)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True, timeout=20)


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk has to be mounted")
@pytest.mark.parametrize(("full", "reason"), [("scratch", "No space left on device"), ("registry", "has a full disk")])
async def test_a_full_disk_is_told_here_and_there_and_leaves_nothing(sqlite_store, tmp_path, full, reason):
    path = tmp_path / "lb.tar"
    path.write_bytes(docker_archive("lb", layers=[os.urandom(3 * 2**20)]))
    asked = {**document(tmp_path, roles=["lb"]), "parameters": {"containers": [
        {"role": "lb", "container_path": str(path)}]}}  # fmt: skip
    place = tmp_path / "scratch" if full == "scratch" else tmp_path / "registry" / "data"
    async with running(tmp_path) as registry:
        images = images_of(sqlite_store, registry, tmp_path)
        await images.resume()
        with small_disk(place, 2 * 2**20):
            made = await add(images, sqlite_store, asked)
            assert (made["state"], reason in made["reason"]) == ("failed", True), made
            assert list((tmp_path / "scratch").iterdir()) == []
            async with registry.client() as client:
                assert await client.digest("contrail-container-lb-liberty", "3.1.1.0-29") is None
        await images.resume()
        assert (await add(images, sqlite_store, asked))["state"] == "ready"


async def test_the_registry_is_closed_to_strangers_and_comes_back_when_killed(tmp_path):
    async with running(tmp_path) as registry:
        tls = client_context(ca_pem=registry._authority.trust_bundle)
        async with Registry(registry.address, tls=tls) as stranger:
            with pytest.raises(AuthenticationFailed):
                await stranger.ping()
        async with Registry(registry.address, tls=client_context()) as client:
            with pytest.raises(Untrusted):
                await client.ping()
        registry._process.kill()
        async with registry.client() as client, asyncio.timeout(10):
            while True:
                try:
                    await client.ping()
                    break
                except Unreachable:
                    await asyncio.sleep(0.2)


async def test_an_upload_that_breaks_goes_on_where_it_was(tmp_path, sqlite_store):
    """A relay cuts the line once, in the middle of a layer."""
    async with running(tmp_path) as registry:
        cuts = [300_000]
        port = int(registry.address.rpartition(":")[2])

        async def relay(reader, writer):
            up_reader, up_writer = await asyncio.open_connection(HOST, port)

            async def pump(source, target, *, limited):
                with contextlib.suppress(OSError):
                    while data := await source.read(65536):
                        if limited and cuts:
                            cuts[0] -= len(data)
                            if cuts[0] < 0:
                                cuts.clear()
                                writer.transport.abort()
                                up_writer.transport.abort()
                                return
                        target.write(data)
                        await target.drain()
                target.close()

            await asyncio.gather(pump(reader, up_writer, limited=True), pump(up_reader, writer, limited=False))

        server = await asyncio.start_server(relay, HOST, 0, family=socket.AF_INET)
        relay_port = server.sockets[0].getsockname()[1]
        layer = os.urandom(1_000_000)
        path = tmp_path / "lb.tar"
        path.write_bytes(docker_archive("lb", layers=[layer]))
        asked = document(tmp_path, roles=[])
        asked["parameters"] = {"containers": [{"role": "lb", "container_path": str(path)}]}

        def client():
            tls = client_context(ca_pem=registry._authority.trust_bundle)
            return Registry(f"{HOST}:{relay_port}", tls=tls, username=registry.username, password=registry.password(),
                            piece=200_000, pause=0.01)  # fmt: skip

        images = Images(sqlite_store, catalogue=catalogue(), registries=client, address=f"{HOST}:{relay_port}",
                        scratch=tmp_path / "scratch")  # fmt: skip
        await images.resume()
        made = await add(images, sqlite_store, asked)
        server.close()
        assert made["state"] == "ready", made["reason"]
        assert cuts == []


async def test_an_image_can_be_deleted_while_it_is_added(sqlite_store, tmp_path):
    """The registry never answers the add; nothing was pushed, so the deletion needs nothing of it."""
    entered = asyncio.Event()

    @asynccontextmanager
    async def silent():
        if not entered.is_set():
            entered.set()
            await asyncio.Event().wait()
        yield None

    images = Images(sqlite_store, catalogue=catalogue(), registries=silent, address="127.0.0.1:1",
                    scratch=tmp_path / "scratch")  # fmt: skip
    await images.resume()
    with sqlite_store.writing() as session:
        images.register(session, ACTOR, document(tmp_path, roles=["lb"]))
    images.begin("contrail-container")
    await entered.wait()
    with sqlite_store.writing() as session:
        images.mark_deleting(session, ACTOR, "contrail-container")
    images.begin("contrail-container")
    await images.settled("contrail-container")
    assert shown(sqlite_store, "contrail-container") is None


async def test_a_registry_that_cannot_start_says_why(tmp_path):
    if shutil.which("docker-registry") is None:
        missing("docker-registry")
    authority = CertificateAuthority.load_or_create(tmp_path / "ca", name="test", now=now)
    with socket.create_server((HOST, 0)) as taken:
        registry = EmbeddedRegistry(tmp_path / "r", Address(HOST, taken.getsockname()[1]), authority=authority)
        with pytest.raises(SettingsError, match="does not come up"):
            await registry.start()
