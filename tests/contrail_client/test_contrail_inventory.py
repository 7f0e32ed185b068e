"""The inventory shows what is in Contrail, whatever happens to notifications and servers."""

import asyncio
from ipaddress import ip_address, ip_network
from uuid import UUID

import pytest
from contrail_stand import contrail_stand

from contrail_vsphere.contrail.config_api import ConfigApi
from contrail_vsphere.contrail.inventory import ContrailInventory, Selection
from contrail_vsphere.contrail.notifications import BusNotifications
from contrail_vsphere.simulator.contrail.simulator import ContrailSimulator
from contrail_vsphere.simulator.core.faults import FaultRule

pytestmark = pytest.mark.looptime


async def test_what_was_there_and_what_comes_is_known_within_a_second():
    async with contrail_stand() as stand:
        blue = stand.contrail.scenario.create_network("blue", "10.1.0.0/24")
        await asyncio.wait_for(stand.inventory.ready(), 30)
        network = stand.inventory.networks[UUID(blue.uuid)]
        assert network.fq_name == ("default-domain", "vCenter", "blue")
        assert [subnet.prefix for subnet in network.subnets] == [ip_network("10.1.0.0/24")]
        assert network.subnets[0].gateway == ip_address("10.1.0.1")
        assert network.subnets[0].uuid

        changes = []
        stand.inventory.subscribe(changes.append)
        _vm, vmi, ip = stand.contrail.scenario.create_port(blue, mac="00:50:56:AA:00:01", creator="other")
        await asyncio.sleep(1)
        assert stand.known == stand.world
        assert stand.inventory.vmis[UUID(vmi.uuid)].macs == ("00:50:56:aa:00:01",)
        assert stand.inventory.vmis[UUID(vmi.uuid)].creator == "other"
        assert stand.inventory.instance_ips[UUID(ip.uuid)].address == ip_address(ip.properties["instance_ip_address"])
        assert len(changes) == 3

        stand.contrail.scenario.rename_network("blue", "azure")
        stand.contrail.scenario.delete(ip)
        await asyncio.sleep(1)
        assert stand.inventory.networks[UUID(blue.uuid)].display_name == "azure"
        assert stand.known == stand.world
        assert stand.inventory.complete


async def test_a_burst_costs_one_request_per_type():
    async with contrail_stand() as stand:
        blue = stand.contrail.scenario.create_network("blue", "10.1.0.0/16")
        await asyncio.wait_for(stand.inventory.ready(), 30)
        await asyncio.sleep(1)
        before = stand.api.calls.copy()
        for number in range(200):
            stand.contrail.scenario.create_port(blue, mac=f"00:50:56:00:00:{number:02x}")
        await asyncio.sleep(1)
        assert stand.known == stand.world
        assert sum((stand.api.calls - before).values()) <= 6


async def test_nothing_is_missed_while_the_broker_is_away():
    async with contrail_stand() as stand:
        await asyncio.wait_for(stand.inventory.ready(), 30)
        await asyncio.sleep(1)
        stand.contrail.scenario.stop_broker()
        await asyncio.sleep(0.1)
        assert not stand.inventory.healthy
        assert not stand.inventory.complete
        stand.contrail.scenario.create_network("blue", "10.1.0.0/16")
        await asyncio.sleep(25)
        assert stand.known == stand.world  # by polling
        assert stand.inventory.complete
        stand.contrail.scenario.delete_network("blue")
        stand.contrail.outbox.lose = -1
        stand.contrail.scenario.start_broker()
        await asyncio.sleep(20)
        assert stand.known == stand.world
        assert stand.inventory.healthy


async def test_lost_messages_are_made_up_for_by_the_periodic_reading():
    async with contrail_stand(inventory={"resync": 60.0}) as stand:
        await asyncio.wait_for(stand.inventory.ready(), 30)
        stand.contrail.scenario.lose_messages()
        stand.contrail.scenario.create_network("blue", "10.1.0.0/16")
        await asyncio.sleep(30)
        assert stand.known != stand.world
        await asyncio.sleep(40)
        assert stand.known == stand.world


async def test_a_server_that_comes_back_empty_is_believed_only_after_a_whole_reading():
    async with contrail_stand(inventory={"resync": 60.0}) as stand:
        stand.contrail.scenario.create_network("blue", "10.1.0.0/16")
        await asyncio.wait_for(stand.inventory.ready(), 30)
        known = len(stand.inventory.networks)
        await stand.contrail.scenario.stop_api()
        await asyncio.sleep(65)
        assert len(stand.inventory.networks) == known
        assert not stand.inventory.complete
        stand.contrail.forget()
        await stand.contrail.scenario.start_api(starting=5.0)
        await asyncio.sleep(61)
        assert stand.known == stand.world
        assert stand.inventory.complete


async def test_without_a_broker_it_polls():
    async with contrail_stand(bus=False) as stand:
        await asyncio.wait_for(stand.inventory.ready(), 30)
        stand.contrail.scenario.create_network("blue", "10.1.0.0/16")
        await asyncio.sleep(11)
        assert stand.known == stand.world
        assert stand.inventory.healthy
        assert stand.inventory.complete


@pytest.mark.parametrize(
    "effect", [{"truncate": 200}, {"drop": True}, {"http_status": 500}, {"http_status": 503}, {"delay": 3600.0}]
)
@pytest.mark.parametrize("skip", [0, 1, 3])
async def test_a_list_that_breaks_off_anywhere_removes_nothing(effect, skip):
    async with contrail_stand(inventory={"resync": 60.0}, page=10, timeout=5.0, deadline=20.0) as stand:
        blue = stand.contrail.scenario.create_network("blue", "10.1.0.0/16")
        stand.contrail.builder.ports(blue, 50)
        await asyncio.wait_for(stand.inventory.ready(), 30)
        changes = []
        stand.inventory.subscribe(changes.append)
        stand.contrail.faults.add(FaultRule(method="list*", skip=skip, **effect))
        await asyncio.sleep(120)
        assert not stand.inventory.complete
        assert changes == []
        stand.contrail.faults.clear()
        await asyncio.sleep(120)
        assert stand.inventory.complete
        assert stand.known == stand.world


async def test_projects_can_be_selected():
    async with ContrailSimulator() as contrail, ConfigApi(contrail.ready["urls"]) as api:
        red = contrail.scenario.create_network("red", "10.1.0.0/16", project="one")
        contrail.scenario.create_network("blue", "10.1.0.0/16", project="two")
        selection = Selection(projects=frozenset({UUID(red.parent_uuid)}))
        inventory = ContrailInventory(api, BusNotifications(contrail.bus), selection=selection)
        inventory.start()
        await asyncio.wait_for(inventory.ready(), 30)
        contrail.scenario.create_network("green", "10.2.0.0/16", project="two")
        contrail.scenario.create_network("pink", "10.2.0.0/16", project="one")
        await asyncio.sleep(2)
        assert {network.fq_name[-1] for network in inventory.networks.values()} == {"red", "pink"}
        await inventory.stop()


async def test_a_subscriber_that_fails_does_not_fail_silently():
    async with ContrailSimulator() as contrail, ConfigApi(contrail.ready["urls"]) as api:
        inventory = ContrailInventory(api, BusNotifications(contrail.bus))
        inventory.start()
        await asyncio.wait_for(inventory.ready(), 30)
        inventory.subscribe(lambda change: 1 / 0)
        contrail.scenario.create_network("blue", "10.1.0.0/16")
        await asyncio.sleep(2)
        assert not inventory.healthy
        assert not inventory.complete
        assert "ZeroDivisionError" in inventory.error
        with pytest.raises(ZeroDivisionError):
            await inventory.stop()
