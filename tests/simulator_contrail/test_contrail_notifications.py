"""What a change tells whoever listens, over the bus in the process and over a real RabbitMQ."""

import asyncio
import json

import aio_pika
import pytest
from contrail_desk import desk

from contrail_vsphere.simulator.contrail.answers import RefusedError
from contrail_vsphere.wire.contrail.messages import EXCHANGE, MalformedNotificationError, Notification


def take(inbox):
    """What lies in an inbox, short."""
    found = []
    while not inbox.empty():
        message = Notification.decode(inbox.get_nowait())
        found.append((message.operation, message.type))
    return found


@pytest.mark.looptime
async def test_one_call_tells_of_everything_it_did():
    async with desk() as at:
        inbox = asyncio.Queue()
        at.contrail.bus.subscribe(inbox)
        scenario = at.contrail.scenario
        project = scenario.create("project", ("default-domain", "p"))
        await asyncio.sleep(1)
        assert take(inbox) == [("CREATE", "project"), ("CREATE", "application_policy_set"), ("UPDATE", "project")]
        network = scenario.create_network("blue", "10.1.0.0/24", project="p")
        await asyncio.sleep(1)
        assert take(inbox)[-2:] == [("CREATE", "virtual_network"), ("CREATE", "routing_instance")]
        _vm, vmi, ip = scenario.create_port(network, mac="00:50:56:00:00:01")
        await asyncio.sleep(1)
        assert take(inbox) == [
            ("CREATE", "virtual_machine"),
            ("CREATE", "virtual_machine_interface"),
            ("UPDATE", "virtual_machine_interface"),
            ("CREATE", "instance_ip"),
        ]
        for gone in (ip, vmi, network):
            scenario.delete(gone)
        await asyncio.sleep(1)
        assert take(inbox) == [
            ("DELETE", "instance_ip"),
            ("DELETE", "virtual_machine_interface"),
            ("DELETE", "virtual_network"),
            ("DELETE", "routing_instance"),
        ]
        assert project.uuid in at.contrail.store.objects


@pytest.mark.looptime
async def test_create_shows_what_was_allocated_and_update_shows_nothing():
    async with desk() as at:
        network = at.contrail.scenario.create_network("blue", "10.1.0.0/24")
        await asyncio.sleep(1)
        inbox = asyncio.Queue()
        at.contrail.bus.subscribe(inbox)
        body = {"instance-ip": {"fq_name": ["a"], "virtual_network_refs": [{"to": list(network.fq_name)}]}}
        _status, answer = await at.ask("POST", "/instance-ips", body, **{"X-Request-Id": "req-mine"})
        uuid = answer["instance-ip"]["uuid"]
        await at.ask("PUT", f"/instance-ip/{uuid}", {"instance-ip": {"display_name": "b"}})
        await asyncio.sleep(1)
        created, updated = (json.loads(inbox.get_nowait()) for _ in range(2))
        assert created["request-id"] == "req-mine"
        assert created["obj_dict"]["instance_ip_address"] == "10.1.0.3"
        assert created["obj_dict"]["virtual_network_refs"][0]["uuid"] == network.uuid
        assert set(updated) == {"request-id", "oper", "type", "uuid", "fq_name"}


@pytest.mark.looptime
async def test_a_refused_call_changes_nothing_and_tells_nobody():
    async with desk() as at:
        network = at.contrail.scenario.create_network("blue", "10.1.0.0/30")
        await asyncio.sleep(1)
        inbox = asyncio.Queue()
        at.contrail.bus.subscribe(inbox)
        before = set(at.contrail.store.objects)
        with pytest.raises(RefusedError):
            at.contrail.builder.ports(network, 5)
        await asyncio.sleep(1)
        assert set(at.contrail.store.objects) == before
        assert inbox.empty()


@pytest.mark.looptime
async def test_messages_get_lost_late_and_out_of_order():
    async with desk() as at:
        inbox = asyncio.Queue()
        at.contrail.bus.subscribe(inbox)
        scenario = at.contrail.scenario
        scenario.lose_messages(1)
        scenario.create("domain", ("one",))
        scenario.create("domain", ("two",))
        await asyncio.sleep(1)
        assert [Notification.decode(inbox.get_nowait()).fq_name for _ in range(inbox.qsize())] == [("two",)]
        scenario.delay_messages(10.0)
        scenario.create("domain", ("three",))
        await asyncio.sleep(9)
        assert inbox.empty()
        await asyncio.sleep(2)
        assert inbox.qsize() == 1
        inbox.get_nowait()
        scenario.delay_messages(0.0, jitter=5.0)
        for number in range(30):
            scenario.create("domain", (f"d{number:02}",))
        await asyncio.sleep(6)
        names = [Notification.decode(inbox.get_nowait()).fq_name for _ in range(30)]
        assert names != sorted(names)


@pytest.mark.looptime
async def test_a_broker_that_goes_away_takes_the_queues_and_the_server_keeps_what_it_has():
    async with desk() as at:
        inbox, scenario = asyncio.Queue(), at.contrail.scenario
        at.contrail.bus.subscribe(inbox)
        at.contrail.switches.max_pending = 3
        scenario.stop_broker()
        assert inbox.get_nowait() is None
        with pytest.raises(ConnectionRefusedError):
            at.contrail.bus.subscribe(inbox)
        for name in ("a", "b", "c"):
            await at.create("domain", [name])
        await asyncio.sleep(1)
        status, text = await at.ask("POST", "/domains", {"domain": {"fq_name": ["d"]}})
        assert (status, text) == (500, "Too many pending updates to RabbitMQ: 3")
        assert (await at.ask("GET", "/domains"))[0] == 200
        late = asyncio.Queue()
        scenario.start_broker()
        at.contrail.bus.subscribe(late)
        await at.create("domain", ["d"])
        await asyncio.sleep(1)
        assert take(late) == [("CREATE", "domain")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"oper": "CREATE"}',
        b'{"oper":"FROB","type":"a","uuid":"b"}',
        b'{"oper":1,"type":2}',
    ],
)
def test_what_is_no_notification(body):
    with pytest.raises(MalformedNotificationError):
        Notification.decode(body)


@pytest.mark.process
@pytest.mark.xdist_group("rabbitmq")
async def test_a_real_broker_gets_the_same_messages(real_rabbitmq):
    async with desk(amqp=real_rabbitmq.url) as at:
        connection = await aio_pika.connect(real_rabbitmq.url, timeout=10)
        async with connection:
            channel = await connection.channel()
            exchange = await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.FANOUT, durable=False)
            queue = await channel.declare_queue(exclusive=True, auto_delete=True)
            await queue.bind(exchange)
            network = at.contrail.scenario.create_network("blue", "10.1.0.0/24")
            found = []
            async with asyncio.timeout(20), queue.iterator() as messages:
                async for message in messages:
                    await message.ack()
                    assert message.content_type == "application/json"
                    found.append(Notification.decode(message.body))
                    if found[-1].type == "routing_instance":
                        break
            created = next(message for message in found if message.type == "virtual_network")
            assert (created.operation, created.uuid) == ("CREATE", network.uuid)
            assert at.contrail.outbox.pending == 0
