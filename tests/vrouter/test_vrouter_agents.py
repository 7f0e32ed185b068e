"""VRouterAgents over real sockets: what our clients make of them, and what the port API does to the unwary."""

import asyncio
import json
from uuid import UUID

import aiohttp
import pytest

from contrail_vsphere.contrail.introspect import Introspect, parse_drops
from contrail_vsphere.contrail.vrouter_agent import VRouterAgentClient, VRouterPort
from contrail_vsphere.model.errors import InvalidArgument, InvalidState, NotFound, ProtocolError, Unreachable
from contrail_vsphere.simulator.vrouter.fleet import VRouterFleet

pytestmark = pytest.mark.looptime

VMI = UUID("cdaa4be4-a5fd-3925-8239-2ce2669718ae")
VM = UUID("6d236419-f27b-5422-9d28-49f7df5be7dc")
VN = UUID("80ac9f7b-f8a8-4255-936d-9d0059cde723")
PROJECT = UUID("22dbf697-20e7-498b-b53d-19167efa4ce3")


def port(**changes):
    values = {"id": VMI, "vm": VM, "network": VN, "project": PROJECT, "name": "vm-0", "mac": "00:50:56:00:00:64"}
    return VRouterPort(**{**values, "vlan": 1204, **changes})


class Nothing:
    """A control node that knows of nothing."""

    delay = 0.0

    def facts(self, vmi):
        return None


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


async def test_an_agent_forwards_once_a_controller_answers(fleet, http):
    agent = await fleet.add("vm-1", controllers=("10.0.0.1:5269", "10.0.0.2:5269"), connect_after=5)
    introspect = Introspect(http)
    assert not await introspect.forwards(agent.address)
    assert {session.last_state for session in await introspect.xmpp_sessions(agent.address)} == {"Active"}
    await asyncio.sleep(6)
    first, second = await introspect.xmpp_sessions(agent.address)
    assert (first.controller, first.established, first.configures) == ("10.0.0.1", True, True)
    assert (second.controller, second.established, second.configures) == ("10.0.0.2", True, False)


async def test_one_controller_is_enough_and_flaps_are_counted(fleet, http):
    agent = await fleet.add("vm-1", connect_after=0)
    await asyncio.sleep(1)
    introspect = Introspect(http)
    fleet.xmpp("vm-1", "down", controller="10.0.0.11")
    assert await introspect.forwards(agent.address)
    fleet.xmpp("vm-1", "down")
    assert not await introspect.forwards(agent.address)
    assert [session.flaps for session in await introspect.xmpp_sessions(agent.address)] == [1, 1]
    fleet.xmpp("vm-1", "connecting")
    assert not await introspect.forwards(agent.address)


async def test_frames_that_are_dropped_are_counted_until_the_vrouter_starts_again(fleet, http):
    agent = await fleet.add("vm-1", connect_after=0)
    introspect = Introspect(http)
    assert await introspect.dropped(agent.address) == 0
    await fleet.act("vm-1", "lossy")
    await asyncio.sleep(10)
    assert await introspect.dropped(agent.address) == pytest.approx(1000, abs=100)
    await fleet.act("vm-1", "lossless")
    counted = await introspect.dropped(agent.address)
    await asyncio.sleep(10)
    assert await introspect.dropped(agent.address) == counted
    await fleet.restart("vm-1")
    assert await introspect.dropped(agent.address) == 0


def test_what_every_vrouter_drops_is_not_counted_and_what_we_do_not_know_is():
    answer = "<KDropStatsResp><ds_rid>0</ds_rid>{}<more>false</more></KDropStatsResp>"
    counts = "<ds_flow_action_drop>70</ds_flow_action_drop><ds_discard>3</ds_discard><ds_new_in_9>4</ds_new_in_9>"
    assert parse_drops(answer.format(counts).encode()) == 7
    for wrong in (answer.format("<ds_pull>-1</ds_pull>"), "<ErrResp><resp>no vRouter</resp></ErrResp>"):
        with pytest.raises(ProtocolError):
            parse_drops(wrong.encode())


async def test_agents_do_not_mix(fleet, http):
    one, two = await fleet.add("one", connect_after=None), await fleet.add("two", connect_after=0)
    await asyncio.sleep(1)
    assert one.address != two.address
    assert not await Introspect(http).forwards(one.address)
    assert await Introspect(http).forwards(two.address)


async def test_a_killed_agent_refuses_and_comes_back_at_its_address(fleet, http):
    agent = await fleet.add("vm-1", connect_after=0)
    introspect, client = Introspect(http), VRouterAgentClient(http)
    await client.add(agent.address, port())
    address = agent.address
    await fleet.kill("vm-1")
    with pytest.raises(Unreachable):
        await introspect.forwards(address)
    again = await fleet.add("vm-1", connect_after=0)
    assert again.address == address
    await asyncio.sleep(1)
    assert await introspect.forwards(address)
    assert (await client.read(address, VMI))["tx-vlan-id"] == 1204


async def test_a_hung_agent_costs_a_timeout_and_no_more(fleet, http):
    agent = await fleet.add("vm-1")
    fleet.hang("vm-1")
    started = asyncio.get_running_loop().time()
    with pytest.raises(Unreachable, match="in time"):
        await Introspect(http, timeout=3).forwards(agent.address)
    assert asyncio.get_running_loop().time() - started < 4


async def test_two_fleets_of_one_process_never_meet():
    fleets = [VRouterFleet() for _ in range(2)]
    for fleet in fleets:
        for number in range(5):
            await fleet.add(f"vm-{number}")
    addresses = [agent.address for fleet in fleets for agent in fleet.agents.values()]
    assert len(set(addresses)) == 10
    for fleet in fleets:
        await fleet.stop()


async def test_plug_change_and_unplug(fleet, http):
    agent = await fleet.add("vm-1")
    client = VRouterAgentClient(http)
    await client.add(agent.address, port())
    await client.add(agent.address, port(vlan=77))
    assert agent.table.ports[str(VMI)].rx_vlan == 1204, "a second POST changes nothing"
    await client.replace(agent.address, port(vlan=77))
    plugged = agent.table.ports[str(VMI)]
    assert (plugged.rx_vlan, plugged.tx_vlan, plugged.kind, plugged.link_up) == (77, 77, 2, True)
    await client.disable(agent.address, VMI)
    assert not agent.table.ports[str(VMI)].link_up
    await client.enable(agent.address, VMI)
    assert agent.table.ports[str(VMI)].link_up
    await client.remove(agent.address, VMI)
    await client.remove(agent.address, VMI)
    assert await client.read(agent.address, VMI) is None
    with pytest.raises(NotFound):
        await client.enable(agent.address, VMI)
    assert agent.table.files == {}


async def test_a_port_of_another_type_cannot_be_enabled(fleet, http):
    agent = await fleet.add("vm-1")
    agent.table.post(json.dumps({**port().body(), "type": 0}).encode())
    with pytest.raises(InvalidState):
        await VRouterAgentClient(http).enable(agent.address, VMI)


async def test_read_is_no_proof_of_absence(fleet, http):
    agent = await fleet.add("vm-1")
    client = VRouterAgentClient(http)
    await client.add(agent.address, port())
    agent.control_node = Nothing()
    assert await client.read(agent.address, VMI) is None
    assert str(VMI) in agent.table.ports


async def test_after_a_sync_only_replayed_ports_stay(fleet, http):
    agent = await fleet.add("vm-1")
    client = VRouterAgentClient(http)
    other = UUID(int=7)
    await client.add(agent.address, port())
    await client.add(agent.address, port(id=other))
    await client.begin_sync(agent.address)
    await client.add(agent.address, port())
    await asyncio.sleep(59)
    assert len(agent.table.ports) == 2
    await asyncio.sleep(2)
    assert set(agent.table.ports) == {str(VMI)} == set(agent.table.files)


async def test_what_aborts_the_agent_leaves_it_dead(fleet, http):
    agent = await fleet.add("vm-1", connect_after=0)
    url = fleet.ready["vm-1"]["port_url"] + "/port"
    with pytest.raises(aiohttp.ClientError):
        await http.post(url, json={**port().body(), "rx-vlan-id": -1})
    assert (agent.life, agent.aborted) == ("dead", "vm_interface_utils.cc: rx_vlan_id != kInvalidVlanId")
    with pytest.raises(Unreachable):
        await Introspect(http).forwards(agent.address)


async def test_paths_are_lower_case_and_nothing_is_listed(fleet, http):
    await fleet.add("vm-1")
    url = fleet.ready["vm-1"]["port_url"]
    for method, path in (("DELETE", f"/port/{str(VMI).upper()}"), ("GET", "/ports"), ("GET", "/port")):
        async with http.request(method, url + path) as reply:
            assert (reply.status, await reply.json()) == (404, {"error": "Unknown Request"})


async def test_the_agent_is_believed_when_it_refuses(fleet, http):
    agent = await fleet.add("vm-1")
    agent.table.reject = "disk full"
    with pytest.raises(InvalidArgument, match="disk full"):
        await VRouterAgentClient(http).add(agent.address, port())


async def test_an_answer_without_end_is_cut_off(http):
    async def endless(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with pytest.raises(ProtocolError, match="longer"):
        await Introspect(http).forwards(address)
    server.close()
