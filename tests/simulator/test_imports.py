"""HttpNfcLease: its states, its limits, and what is left behind when an import does not come to its end."""

import asyncio
import io
import ssl
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from contrail_vsphere.model.errors import AlreadyExists, InvalidState
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter.compute_resource import ClusterComputeResource
from contrail_vsphere.simulator.vcenter.network import Network
from contrail_vsphere.vsphere.vcenter import Endpoint, PasswordLogin, VCenter
from contrail_vsphere.wire.soap.types import vim
from contrail_vsphere.wire.soap.values import build

OVF = (Path(__file__).parents[1] / "conformance" / "little.ovf").read_text()

pytestmark = pytest.mark.looptime


def client_of(vcenter):
    host, _, port = vcenter.ready["url"].removeprefix("https://").removesuffix("/sdk").rpartition(":")
    endpoint = Endpoint(host, int(port), ca_file=vcenter.ready["ca_file"])
    return VCenter(endpoint, PasswordLogin(vcenter.ready["username"], vcenter.ready["password"]))


async def begin(vcenter, client, name="imported"):
    """CreateImportSpec and ImportVApp; returns the lease."""
    scenario = vcenter.scenario
    pool = next(iter(vcenter.world.of_type(ClusterComputeResource))).root_pool.ref
    mapping = build(vim.OvfManager.NetworkMapping, name="data", network=scenario.find(Network, "VM Network").ref)
    parameters = build(vim.OvfManager.CreateImportSpecParams, entityName=name, networkMapping=[mapping])
    store = vcenter.inventory["nfs-shared"].ref
    made = await client.call(
        client.content.ovfManager,
        "CreateImportSpec",
        ovfDescriptor=OVF,
        resourcePool=pool,
        datastore=store,
        cisp=parameters,
    )
    return await client.call(pool, "ImportVApp", spec=made.importSpec)


async def state_of(client, lease, *wanted):
    for _ in range(100):
        state = (await client.read(lease, "state"))["state"]
        if state in wanted:
            return state
        await asyncio.sleep(0.1)
    raise AssertionError(state)


async def upload(vcenter, url, data, method="POST"):
    tls = ssl.create_default_context(cafile=vcenter.ready["ca_file"])
    async with aiohttp.ClientSession() as http:
        try:
            async with http.request(method, url, data=data, ssl=tls) as answer:
                return answer.status
        except aiohttp.ClientConnectionError:
            return 0


async def test_a_lease_goes_from_initializing_over_ready_to_done(vcenter):
    vcenter.world.services[Timing] = replace(vcenter.world.services[Timing], create_vm=5.0)
    async with client_of(vcenter) as client:
        lease = await begin(vcenter, client)
        first = await client.read(lease, "state", "info", "initializeProgress")
        assert (first["state"], first["initializeProgress"]) == ("initializing", 0)
        assert "info" not in first
        with pytest.raises(InvalidState):
            await client.call(lease, "HttpNfcLeaseComplete")
        await state_of(client, lease, "ready")
        info = (await client.read(lease, "info"))["info"]
        (url,) = info.deviceUrl
        assert url.importKey.startswith("/imported/")
        assert url.sslThumbprint == vcenter.ready["thumbprint"]
        assert info.leaseTimeout == 300
        assert await upload(vcenter, url.url, b"x" * 5000, "PUT") == 201
        (entry,) = await client.call(lease, "HttpNfcLeaseGetManifest")
        assert (entry.size, entry.key) == (5000, url.key)
        await client.call(lease, "HttpNfcLeaseProgress", percent=70)
        assert (await client.read(lease, "transferProgress"))["transferProgress"] == 70
        await client.call(lease, "HttpNfcLeaseComplete")
        assert await state_of(client, lease, "done", "error") == "done"
        assert vcenter.scenario.vm("imported").disks[0].written == 5000
        assert await upload(vcenter, url.url, b"x") == 404
        with pytest.raises(InvalidState):
            await client.call(lease, "HttpNfcLeaseAbort")
        with pytest.raises(AlreadyExists):
            await begin(vcenter, client)


@pytest.mark.parametrize("end", ["abort", "timeout", "session"])
async def test_an_import_without_its_end_leaves_nothing(vcenter, end):
    store = vcenter.inventory["nfs-shared"]
    free = store.free
    async with client_of(vcenter) as client:
        lease = await begin(vcenter, client)
        await state_of(client, lease, "ready")
        (url,) = (await client.read(lease, "info"))["info"].deviceUrl
        assert "imported" in vcenter.inventory
        if end == "abort":
            await client.call(lease, "HttpNfcLeaseAbort")
        elif end == "timeout":
            await asyncio.sleep(200)
            await client.call(lease, "HttpNfcLeaseProgress", percent=10)
            await asyncio.sleep(200)
            assert (await client.read(lease, "state"))["state"] == "ready"
            await asyncio.sleep(120)
        if end != "session":
            assert await state_of(client, lease, "done", "error") == "error"
            assert (await client.read(lease, "error"))["error"] is not None
    await asyncio.sleep(1)
    assert "imported" not in vcenter.inventory
    assert store.free == free
    assert await upload(vcenter, url.url, b"x") == 404


async def test_a_file_larger_than_its_disk_is_refused(vcenter):
    async with client_of(vcenter) as client:
        lease = await begin(vcenter, client)
        await state_of(client, lease, "ready")
        (url,) = (await client.read(lease, "info"))["info"].deviceUrl

        async def endless():
            for _ in range(100):
                yield bytes(1 << 20)

        assert await upload(vcenter, url.url, io.BytesIO(bytes(40 << 20))) in (413, 0)
        assert await upload(vcenter, url.url, endless()) in (413, 0)
        assert await client.call(lease, "HttpNfcLeaseGetManifest") in (None, [])
        guessed = url.url.replace(url.url.split("/")[-2], "00000000-0000-0000-0000-000000000000")
        assert await upload(vcenter, guessed, b"x") == 404
        assert await upload(vcenter, url.url, b"x", "GET") == 405


async def test_a_machine_that_cannot_be_made_is_an_error_of_the_lease(vcenter):
    async with client_of(vcenter) as client:
        for host in vcenter.scenario.hosts():
            await vcenter.scenario.disconnect_host(host)
        lease = await begin(vcenter, client)
        assert await state_of(client, lease, "ready", "error") == "error"
        error = (await client.read(lease, "error"))["error"]
        assert "NoCompatibleHost" in type(getattr(error, "fault", error)).__name__
