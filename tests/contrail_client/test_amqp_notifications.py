"""Notifications over a real RabbitMQ: nothing is missed over restarts of the broker, and no secret shows."""

import asyncio
import logging
import random
from datetime import UTC, datetime
from uuid import UUID

import pytest

from contrail_vsphere.contrail.config_api import ConfigApi
from contrail_vsphere.contrail.inventory import ContrailInventory
from contrail_vsphere.contrail.notifications import AmqpNotifications
from contrail_vsphere.contrail.writer import ContrailWriter
from contrail_vsphere.model.contrail import ContrailVm
from contrail_vsphere.model.errors import SettingsError
from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.identity import client_context
from contrail_vsphere.pki.secrets import Secret
from contrail_vsphere.simulator.contrail.simulator import ContrailSimulator


def real(test):
    """Marks of a test that uses RabbitMQ."""
    return pytest.mark.process(pytest.mark.xdist_group("rabbitmq")(test))


async def until(condition, *, within: float = 20.0) -> float:
    """Seconds until it holds."""
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - real time, and nobody to tell us
            await asyncio.sleep(0.005)
    return asyncio.get_running_loop().time() - began


def known(inventory, contrail):
    return {str(uuid) for uuid in inventory.networks} == {one.uuid for one in contrail.scenario.all("virtual-network")}


@real
async def test_changes_come_at_once_and_none_is_missed_over_a_restart(real_rabbitmq, caplog):
    caplog.set_level(logging.DEBUG)
    async with (
        ContrailSimulator(amqp=real_rabbitmq.url_with_credentials) as contrail,
        ConfigApi(contrail.ready["urls"]) as api,
    ):
        source = AmqpNotifications(real_rabbitmq.url, random=random.Random(1))
        inventory = ContrailInventory(api, source, poll=3600.0)
        inventory.start()
        try:
            await asyncio.wait_for(inventory.ready(), 20)
            await until(lambda: inventory.healthy)
            contrail.scenario.create_network("blue", "10.1.0.0/16")
            assert await until(lambda: known(inventory, contrail)) < 1.0

            writer = ContrailWriter(api, inventory)
            before = api.calls.copy()
            await writer.create_vm(ContrailVm(UUID(int=7), str(UUID(int=7))))
            await asyncio.sleep(0.5)
            assert sum((api.calls - before).values()) == 1  # our own echo is not read again

            real_rabbitmq.kill()
            await until(lambda: not inventory.healthy)
            assert not inventory.complete
            contrail.scenario.create_network("red", "10.2.0.0/16")
            await asyncio.to_thread(real_rabbitmq.start)
            await until(lambda: known(inventory, contrail) and inventory.healthy and inventory.complete, within=40)
            contrail.scenario.delete_network("red")
            await until(lambda: known(inventory, contrail))
        finally:
            await inventory.stop()


@real
async def test_a_wrong_password_is_said_and_not_shown(real_rabbitmq, caplog):
    caplog.set_level(logging.DEBUG)
    canary = "canary-8f3a"
    source = AmqpNotifications(real_rabbitmq.url, username="nobody", password=Secret(canary))
    async with ContrailSimulator() as contrail, ConfigApi(contrail.ready["urls"]) as api:
        inventory = ContrailInventory(api, source)
        inventory.start()
        try:
            await asyncio.wait_for(inventory.ready(), 20)  # by polling
            assert not inventory.healthy
            assert "RabbitMQ" in inventory.error
            assert canary not in caplog.text + inventory.error
        finally:
            await inventory.stop()


@pytest.mark.parametrize("url", ["", "http://x", "amqp://", "amqp://u:p@h", "amqp://h:99999999"])
def test_an_address_with_credentials_or_none_is_refused_without_being_shown(url):
    with pytest.raises(SettingsError) as refused:
        AmqpNotifications(url)
    assert "u:p" not in str(refused.value)


@real
async def test_notifications_over_tls_come_from_the_right_broker_or_not_at_all(real_rabbitmq, tmp_path):
    stranger = CertificateAuthority.create(tmp_path / "ca", name="another CA", now=lambda: datetime.now(UTC))
    (tmp_path / "other.pem").write_text(stranger.trust_bundle)
    async with (
        ContrailSimulator(amqp=real_rabbitmq.url_with_credentials) as contrail,
        ConfigApi(contrail.ready["urls"]) as api,
    ):
        trusted = client_context(ca_file=real_rabbitmq.ca_file)
        source = AmqpNotifications(real_rabbitmq.tls_url, tls=trusted, random=random.Random(1))
        inventory = ContrailInventory(api, source, poll=3600.0)
        wrong = AmqpNotifications(real_rabbitmq.tls_url, tls=client_context(ca_file=tmp_path / "other.pem"))
        deaf = ContrailInventory(api, wrong, poll=3600.0)
        inventory.start()
        deaf.start()
        try:
            await until(lambda: inventory.healthy)
            contrail.scenario.create_network("green", "10.3.0.0/16")
            await until(lambda: known(inventory, contrail))
            assert not deaf.healthy
        finally:
            await inventory.stop()
            await deaf.stop()
