"""The VRouterAgent's traps, from the client's side: what was plugged is plugged, and a silent agent costs little."""

import asyncio
from uuid import UUID

import aiohttp
import pytest

from contrail_vsphere.contrail.introspect import Introspect, parse_port_subscriptions
from contrail_vsphere.contrail.vrouter_agent import VRouterAgentClient, VRouterPort
from contrail_vsphere.model.errors import ProtocolError, Unreachable
from contrail_vsphere.simulator.vrouter.fleet import VRouterFleet

pytestmark = pytest.mark.looptime


def port(number, *, vlan=None, **changes):
    values = {"id": UUID(int=number), "vm": UUID(int=1000 + number), "network": UUID(int=5), "project": UUID(int=6)}
    mac = f"00:50:56:00:{number >> 8:02x}:{number & 255:02x}"
    return VRouterPort(**{**values, "name": f"vm {number}", "mac": mac, "vlan": vlan or 100 + number, **changes})


@pytest.fixture
async def fleet():
    fleet = VRouterFleet()
    await fleet.start()
    yield fleet
    await fleet.stop()


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


async def test_many_ports_take_few_requests_and_are_looked_at_afterwards(fleet, http):
    agent = await fleet.add("vm-1", connect_after=0)
    client = VRouterAgentClient(http)
    ports = [port(number) for number in range(1, 251)]
    assert await client.add_all(agent.address, ports) == {}
    assert set(agent.table.ports) == {str(one.id) for one in ports}
    assert {int(text.tx_vlan) for text in agent.table.ports.values()} == {one.vlan for one in ports}


async def test_what_an_array_left_out_or_left_old_is_repaired(fleet, http):
    agent = await fleet.add("vm-1", connect_after=0)
    client = VRouterAgentClient(http)
    await client.add(agent.address, port(1, vlan=7))  # a second POST would change nothing
    assert await client.add_all(agent.address, [port(1, vlan=8), port(2)]) == {}
    assert agent.table.ports[str(UUID(int=1))].tx_vlan == 8
    assert '"tx-vlan-id": 8' in agent.table.files[str(UUID(int=1))]


async def test_a_full_disk_is_named_for_each_port(fleet, http):
    agent = await fleet.add("vm-1", connect_after=0)
    agent.table.reject = "Writing of Json string to file failed"
    client = VRouterAgentClient(http)
    with pytest.raises(ProtocolError, match="Writing"):
        await client.add_all(agent.address, [port(1), port(2)])


async def test_a_replacement_is_finished_even_if_its_caller_is_gone(fleet, http):
    agent = await fleet.add("vm-1", connect_after=0)
    client = VRouterAgentClient(http)
    await client.add(agent.address, port(1, vlan=7))
    task = asyncio.create_task(client.replace(agent.address, port(1, vlan=8)))
    while str(UUID(int=1)) in agent.table.ports:  # noqa: ASYNC110 - until the DELETE is through
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(1)
    assert agent.table.ports[str(UUID(int=1))].tx_vlan == 8
    assert agent.table.ports[str(UUID(int=1))].link_up


async def test_two_replacements_of_a_port_do_not_mix(fleet, http):
    agent = await fleet.add("vm-1", connect_after=0)
    client = VRouterAgentClient(http)
    await asyncio.gather(*(client.replace(agent.address, port(1, vlan=vlan)) for vlan in range(10, 30)))
    left = agent.table.ports[str(UUID(int=1))]
    assert f'"tx-vlan-id": {left.tx_vlan}' in agent.table.files[str(UUID(int=1))]
    assert left.tx_vlan == 29
    assert client._busy == {}


async def test_an_agent_that_is_away_is_left_alone_and_taken_up_again(fleet, http):
    agent, other = await fleet.add("vm-1", connect_after=0), await fleet.add("vm-2", connect_after=0)
    client = VRouterAgentClient(http)
    await fleet.kill("vm-1")
    for _ in range(3):
        with pytest.raises(Unreachable):
            await client.add(agent.address, port(1))
    with pytest.raises(Unreachable, match="does not answer"):
        await client.add(agent.address, port(1))
    await client.add(other.address, port(1))
    assert {address: health.reachable for address, health in client.health.items()} == {
        agent.address: False,
        other.address: True,
    }
    await fleet.restart("vm-1")
    await asyncio.sleep(6)
    await client.add(agent.address, port(1))
    assert await Introspect(http).plugged(agent.address.partition(":")[0]) == {UUID(int=1): (UUID(int=1001), 101)}


@pytest.mark.parametrize(
    "document",
    [b"", b"<x/>", b"<VmiPortSubscriptionRsp><VmiPortSubscription/></VmiPortSubscriptionRsp>", b"\xff<a>"],
)
def test_introspect_that_makes_no_sense_is_an_error(document):
    with pytest.raises(ProtocolError):
        parse_port_subscriptions(document)
