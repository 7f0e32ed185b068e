"""What CreateAgency refuses before anything happens, against real HTTP and TLS servers on loopback."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp.abc import AbstractResolver

from contrail_vsphere.simulator.eam.fetch import Fetcher, FetchError, Limits
from contrail_vsphere.wire.ovf.descriptor import parse
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import eam, vim, vmodl


class Nowhere(AbstractResolver):
    async def resolve(self, host, port=0, family=socket.AF_INET):
        raise OSError("no such host")

    async def close(self):
        pass


async def refused(site, config, *, goal="enabled"):
    with pytest.raises(SoapFault) as caught:
        await site.eam.manager.CreateAgency(site.solution, agencyConfigInfo=config, initialGoalState=goal)
    assert list(site.eam.agencies()) == []
    return caught.value.fault


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("changes", "kind", "field"),
    [
        ({"agencyName": None}, vmodl.fault.InvalidArgument, "agencyName"),
        ({"agentName": "x" * 71}, vmodl.fault.InvalidArgument, "agentName"),
        ({"agentName": "x" * 44, "useUuidVmName": True}, vmodl.fault.InvalidArgument, "agentName"),
        ({"agentName": "", "useUuidVmName": True}, vmodl.fault.InvalidArgument, "agentName"),
        ({"manuallyMonitored": True}, vmodl.fault.InvalidArgument, "manuallyMonitored"),
    ],
)
async def test_names_and_flags(make_site, changes, kind, field):
    async with make_site(hosts=1) as site:
        fault = await refused(site, site.config(**changes))
        assert isinstance(fault, kind)
        assert fault.invalidProperty == field


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        (None, "agentConfig"),
        ({"ovfPackageUrl": None}, "ovfPackageUrl"),
        ({"vibUrl": "http://127.0.0.1/x.zip", "vibName": "x"}, "vibName"),
        ({"ovfDiskProvisioning": "fat"}, "ovfDiskProvisioning"),
        ({"hostVersion": "eight"}, "hostVersion"),
    ],
)
async def test_agent_configurations(make_site, entry, field):
    async with make_site(hosts=1) as site:
        config = site.config()
        if entry is None:
            config.agentConfig = []
        for name, value in (entry or {}).items():
            setattr(config.agentConfig[0], name, value)
        fault = await refused(site, config)
        assert isinstance(fault, eam.fault.InvalidAgentConfiguration)
        assert fault.invalidField == field


async def test_scope_that_does_not_exist(make_site):
    async with make_site(hosts=1) as site:
        gone = vim.ClusterComputeResource("domain-c4711")
        scope = eam.Agency.ComputeResourceScope(computeResource=[site.cluster.ref, gone])
        fault = await refused(site, site.config(scope=scope))
        assert isinstance(fault, eam.fault.InvalidAgencyScope)
        assert [ref._moId for ref in fault.unknownComputeResource] == ["domain-c4711"]


async def test_pool_folder_network_and_goal_that_do_not_exist(make_site):
    async with make_site(hosts=1) as site:
        pool = eam.Agency.VMResourcePool(
            resourcePoolId=vim.ResourcePool("resgroup-4711"), computeResourceId=site.cluster.ref
        )
        assert isinstance(await refused(site, site.config(resourcePools=[pool])), eam.fault.InvalidAgencyScope)
        folder = eam.Agency.VMFolder(folderId=vim.Folder("group-v4711"), datacenterId=site.inventory.datacenter.ref)
        assert isinstance(await refused(site, site.config(folders=[folder])), eam.fault.InvalidAgencyScope)
        network = site.config(agentVmNetwork=[vim.Network("network-4711")])
        assert isinstance(await refused(site, network), vmodl.fault.ManagedObjectNotFound)
        assert isinstance(await refused(site, site.config(), goal="happy"), vmodl.fault.InvalidArgument)


async def test_disabled_cluster_is_refused(make_site):
    async with make_site(hosts=1) as site:
        with site.world.commit() as tx:
            tx.set(site.cluster, disabled=True)
        fault = await refused(site, site.config())
        assert isinstance(fault, eam.fault.DisabledClusterFault)
        assert fault.disabledComputeResource[0]._moId == site.cluster.moid


@pytest.mark.parametrize("url", ["contrailvm.ovf", "ftp://127.0.0.1/x.ovf", "http://", "http://127.0.0.1:port/x.ovf"])
async def test_malformed_url(make_site, url):
    async with make_site(hosts=1) as site:
        fault = await refused(site, site.config(url))
        assert isinstance(fault, eam.fault.InvalidUrl)
        assert (fault.url, fault.malformedUrl, fault.unknownHost, fault.connectionRefused) == (url, True, False, False)


async def test_unknown_host_refused_connection_and_status(make_site):
    async with make_site(hosts=1, resolver=Nowhere()) as site:
        fault = await refused(site, site.config("http://nowhere.invalid/x.ovf"))
        assert (fault.unknownHost, fault.connectionRefused) == (True, False)
        fault = await refused(site, site.config(f"http://127.0.0.1:{unused_port()}/x.ovf"))
        assert (fault.unknownHost, fault.connectionRefused) == (False, True)
        fault = await refused(site, site.config(f"{site.depot.url}/v9/none.ovf"))
        assert (fault.connectionRefused, fault.responseCode) == (False, 404)


async def test_pinned_certificate(make_site, tls_depot):
    async with make_site(hosts=1, depot=tls_depot) as site:
        agency = await site.create()
        for _ in range(50):
            await site.settle()
            if agency.status == "green":
                break
        assert agency.status == "green"


async def test_certificate_that_is_not_the_pinned_one(make_site, tls_depot, authority):
    tls_depot.pem = authority.cert_pem
    async with make_site(hosts=1, depot=tls_depot) as site:
        fault = await refused(site, site.config())
        assert isinstance(fault, eam.fault.CertificateNotTrustedFault)
        assert fault.url.startswith("https://127.0.0.1")


async def test_pin_that_is_no_certificate(make_site, tls_depot):
    tls_depot.pem = "-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n"
    async with make_site(hosts=1, depot=tls_depot) as site:
        assert isinstance(await refused(site, site.config()), eam.fault.CertificateNotTrustedFault)


async def test_trust_store(make_site, tls_depot):
    tls_depot.pem = ""
    async with make_site(hosts=1, depot=tls_depot) as site:
        await site.eam.validate(site.config())
    tls_depot.trust = None
    async with make_site(hosts=1, depot=tls_depot) as site:
        assert isinstance(await refused(site, site.config()), eam.fault.CertificateNotTrustedFault)
        config = site.config()
        config.agentConfig[0].ovfSslTrust = eam.Agent.AnyCertificate()
        await site.eam.validate(config)
    async with make_site(hosts=1, depot=tls_depot, profile="vc70") as site:
        await site.eam.validate(site.config())


async def test_certificate_that_changes_after_creation(make_site, tls_depot):
    async with make_site(hosts=1, depot=tls_depot) as site:
        agency = await site.create(goal="enabled")
        for _ in range(50):
            await site.settle()
            if agency.status == "green":
                break
        config = agency.QueryConfig(site.solution)
        config.agentConfig[0].ovfSslTrust = None
        site.eam.fetcher._trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        await site.delete(agency.agents[0].vm)
        await site.resolve_all(agency)
        assert site.issues(agency) == ["CertificateNotTrusted"]


@asynccontextmanager
async def raw_server(answer: bytes):
    """Reads one request, sends these bytes, and without any waits for the client to give up; gives a URL."""
    handlers = []

    async def serve(reader, writer):
        handlers.append(asyncio.current_task())
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            if answer == SILENCE:
                await reader.read()
            await writer.drain()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x.ovf"
    finally:
        server.close()
        await asyncio.gather(*handlers, return_exceptions=True)


SILENCE = b""


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "wrong-size"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", "status"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 5_000_000, "wrong-size"),
        (b"not HTTP at all\r\n\r\n", "refused"),
    ],
)
async def test_servers_that_misbehave(answer, reason):
    fetcher = Fetcher(trust=None)
    async with raw_server(answer) as url:
        with pytest.raises(FetchError) as caught:
            await fetcher.read(url)
        await fetcher.close()
    assert caught.value.reason == reason


async def test_a_silent_server_is_given_up():
    fetcher = Fetcher(trust=None, limits=Limits(read=0.1))
    async with raw_server(SILENCE) as url:
        with pytest.raises(FetchError) as caught:
            await fetcher.read(url)
        await fetcher.close()
    assert caught.value.reason == "timeout"


async def test_localhost_needs_no_resolver(depot):
    fetcher = Fetcher(trust=None)
    url = depot.package("v1").replace("127.0.0.1", "localhost")
    try:
        package = parse(await fetcher.read(url))
        assert await fetcher.disks(url, package) == package.files[0].size
    finally:
        await fetcher.close()
