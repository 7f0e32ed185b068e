"""The client of the config API: pages, failover, tokens, back-pressure, and answers that break off."""

import asyncio
import logging
import random
import socket
from uuid import UUID

import pytest

from contrail_vsphere.contrail.config_api import ConfigApi
from contrail_vsphere.contrail.keystone import KeystoneUser, KeystoneV3
from contrail_vsphere.model.errors import (
    AuthenticationFailed,
    Busy,
    InvalidArgument,
    NoPermission,
    NotFound,
    OutcomeUnknown,
    ProtocolError,
    SettingsError,
    Unreachable,
    Untrusted,
)
from contrail_vsphere.pki.identity import client_context
from contrail_vsphere.pki.secrets import Secret
from contrail_vsphere.simulator.contrail.simulator import ContrailSimulator
from contrail_vsphere.simulator.core.faults import FaultRule

pytestmark = pytest.mark.looptime
VM = UUID(int=7)
BODY = {"uuid": str(VM), "fq_name": [str(VM)], "display_name": None}


def client(contrail, **options):
    return ConfigApi(contrail.ready["urls"], random=random.Random(3), **options)


async def test_a_list_comes_in_pages_and_only_of_what_was_asked():
    async with ContrailSimulator() as contrail, client(contrail, page=7) as api:
        blue = contrail.scenario.create_network("blue", "10.1.0.0/16")
        ports = contrail.builder.ports(blue, 30)
        pages = [page async for page in api.list("virtual-machine", fields=["display_name"])]
        assert sum(map(len, pages)) == 30
        assert max(map(len, pages)) <= 7
        assert {row["uuid"] for page in pages for row in page} == {port.vm.uuid for port in ports}
        some = [UUID(port.vmi.uuid) for port in ports[:9]]
        assert len(await api.collect("virtual-machine-interface", uuids=[*some, UUID(int=1)])) == 9
        assert await api.collect("virtual-machine-interface", uuids=[]) == []
        assert len(await api.collect("instance-ip", back_ref_ids=[UUID(blue.uuid)])) == 30
        assert len(await api.collect("virtual-machine-interface", parent_ids=[UUID(blue.parent_uuid)])) == 30
        assert len(await api.collect("virtual-machine", filters={"display_name": "vm-00003"})) == 1
        assert await api.fq_name_to_id("virtual-network", blue.fq_name) == UUID(blue.uuid)
        assert await api.fq_name_to_id("virtual-network", ["no", "such", "one"]) is None


async def test_errors_say_what_may_be_done():
    async with ContrailSimulator() as contrail, client(contrail) as api:
        with pytest.raises(NotFound):
            await api.read("virtual-network", VM)
        with pytest.raises(InvalidArgument):
            await api.create("virtual-machine", {"fq_name": ["x"]})
        with pytest.raises(ProtocolError):
            await api.collect("no-such-type")
        contrail.faults.add(
            FaultRule(method="create", http_status=500, message="Too many pending updates to RabbitMQ: 1")
        )
        with pytest.raises(Busy):
            await api.create("virtual-machine", BODY)
        assert api.pace.rate < 10
        contrail.faults.clear()
        contrail.faults.add(FaultRule(method="create", http_status=403))
        with pytest.raises(NoPermission):
            await api.create("virtual-machine", BODY)
        assert api.health.reachable


async def test_another_server_takes_over_and_keeps_the_work():
    async with ContrailSimulator(servers=3) as contrail, client(contrail) as api:
        await api.create("virtual-machine", BODY)
        first = contrail.calls.copy()
        await contrail.scenario.stop_api(0)
        began = asyncio.get_running_loop().time()
        for _ in range(5):
            await api.collect("virtual-machine")
        assert asyncio.get_running_loop().time() - began < 1
        assert sum((contrail.calls - first).values()) == 5
        assert not api.servers[contrail.ready["urls"][0]].reachable or api.health.reachable
        await contrail.scenario.stop_api(1)
        await contrail.scenario.stop_api(2)
        with pytest.raises(Unreachable):
            await api.collect("virtual-machine")


async def test_a_server_that_starts_is_waited_for_within_the_deadline():
    async with ContrailSimulator() as contrail, client(contrail) as api:
        contrail.service.state = "starting"
        task = asyncio.create_task(api.create("virtual-machine", BODY))
        await asyncio.sleep(1.0)
        contrail.service.state = "running"
        assert (await task).uuid == VM


async def test_a_server_that_hangs_is_given_up():
    async with ContrailSimulator() as contrail, client(contrail, timeout=5.0, deadline=12.0) as api:
        contrail.faults.add(FaultRule(method="list*", delay=3600.0))
        began = asyncio.get_running_loop().time()
        with pytest.raises(Unreachable):
            await api.collect("virtual-machine")
        assert asyncio.get_running_loop().time() - began <= 12.0
        contrail.faults.add(FaultRule(method="create", delay=3600.0))
        with pytest.raises(OutcomeUnknown):
            await api.create("virtual-machine", BODY)


async def test_a_renewed_token_is_asked_for_once_and_no_work_is_lost(caplog):
    caplog.set_level(logging.DEBUG)
    async with ContrailSimulator(auth="keystone") as contrail:
        ready = contrail.ready
        user = KeystoneUser(ready["keystone_url"], ready["username"], Secret(ready["password"]))
        auth = KeystoneV3(user)
        async with client(contrail, auth=auth) as api:
            await asyncio.gather(*(api.collect("virtual-machine") for _ in range(20)))
            assert auth.renewals == 1
            contrail.scenario.expire_tokens()
            await asyncio.gather(*(api.collect("virtual-machine") for _ in range(20)))
            assert auth.renewals == 2
            await asyncio.sleep(24 * 3600)
            await api.collect("virtual-machine")
            token = (await auth.headers(api._session))["X-Auth-Token"]
        assert ready["password"] not in caplog.text + repr(auth) + repr(user)
        assert token not in caplog.text
        wrong = KeystoneV3(KeystoneUser(ready["keystone_url"], ready["username"], Secret('canary"\\x')))
        async with client(contrail, auth=wrong) as api:
            with pytest.raises(AuthenticationFailed) as refused:
                await api.collect("virtual-machine")
            assert "canary" not in str(refused.value)


async def test_tls_is_verified(tmp_path):
    async with ContrailSimulator(ca_dir=tmp_path) as contrail:
        async with client(contrail) as api:
            with pytest.raises(Untrusted):
                await api.collect("project")
        async with client(contrail, tls=client_context(ca_file=contrail.ready["ca_file"])) as api:
            assert await api.collect("project")


async def test_writes_are_spaced():
    async with ContrailSimulator() as contrail, client(contrail, rate=10.0) as api:
        began = asyncio.get_running_loop().time()
        ids = [UUID(int=number) for number in range(1, 165)]
        await asyncio.gather(*(api.create("virtual-machine", {"uuid": one, "fq_name": [str(one)]}) for one in ids))
        assert asyncio.get_running_loop().time() - began > 8
        assert contrail.most_concurrent <= 16


@pytest.mark.parametrize("url", ["", "api:8082", "ftp://x", "http://u:p@x", "http://x:0", "http://x?a=b"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(SettingsError):
        ConfigApi([url])


@pytest.mark.looptime(False)
async def test_an_answer_in_two_segments_does_not_wait_for_a_delayed_acknowledgement():
    def sockets():
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        return listener

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = writer.get_extra_info("socket")
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                await reader.readexactly(length)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n")
                await asyncio.sleep(0)
                writer.write(b'{"projects":[]}')
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(serve, sock=sockets())
    port = server.sockets[0].getsockname()[1]
    async with ConfigApi([f"http://127.0.0.1:{port}"]) as api:
        took = []
        for _ in range(15):
            began = asyncio.get_running_loop().time()
            await api.collect("project")
            took.append(asyncio.get_running_loop().time() - began)
    server.close()
    await server.wait_closed()
    assert sorted(took)[7] < 0.030
