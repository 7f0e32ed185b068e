"""Inventory, tasks and events: what vCenter has and does, followed through everything that can happen to a session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from contrail_vsphere.model.errors import Busy, InvalidState, NotFound
from contrail_vsphere.model.ids import HostId, VmId
from contrail_vsphere.model.inventory import Change, Host, VirtualMachine
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity
from contrail_vsphere.vsphere.events import Event, EventCursor
from contrail_vsphere.vsphere.vcenter import VCenter
from contrail_vsphere.wire.soap.types import vim

pytestmark = pytest.mark.looptime


@pytest.fixture
def vcenter_options() -> dict[str, Any]:
    return {"hosts": 3, "clusters": 2, "vms": 130, "page": 50, "guests": False}


@pytest_asyncio.fixture
async def following(client: VCenter) -> AsyncIterator[tuple[VCenter, list[Change]]]:
    """A client whose inventory is complete, and the changes since."""
    client.inventory.start()
    await asyncio.wait_for(client.inventory.ready(), 30)
    changes: list[Change] = []
    client.inventory.subscribe(changes.append)
    yield client, changes


Following = tuple[VCenter, list[Change]]


async def settled(condition: Callable[[], bool]) -> None:
    """Wait, in virtual time, for what must come about."""
    for _ in range(400):
        if condition():
            return
        await asyncio.sleep(0.25)
    raise AssertionError("it did not come about")


def named(simulator: VCenterSimulator, wsdl: str) -> dict[str, str]:
    """Id -> name of the simulated objects of a type."""
    return {
        each.moid: each.name
        for each in simulator.world.objects.values()
        if isinstance(each, ManagedEntity) and each.wsdl == wsdl
    }


def agrees(client: VCenter, simulator: VCenterSimulator) -> bool:
    inventory = client.inventory
    return (
        {each.id: each.name for each in inventory.vms.values()} == named(simulator, "VirtualMachine")
        and {each.id: each.name for each in inventory.hosts.values()} == named(simulator, "HostSystem")
        and {each.id: each.name for each in inventory.clusters.values()} == named(simulator, "ClusterComputeResource")
    )


async def test_the_whole_inventory_comes_in_pages(vcenter: VCenterSimulator, following: Following) -> None:
    client, _ = following
    inventory = client.inventory
    assert agrees(client, vcenter)
    assert inventory.healthy
    assert client.calls["WaitForUpdatesEx"] > 3
    datacenter = next(iter(inventory.datacenters.values()))
    for cluster in inventory.clusters.values():
        assert cluster.datacenter == datacenter.id
        assert all(inventory.hosts[host].cluster == cluster.id for host in cluster.hosts)
    switch = next(iter(inventory.dvss.values()))
    assert switch.datacenter == datacenter.id
    assert any(network.dvs == switch.id and network.uplink for network in inventory.networks.values())
    for vm in inventory.vms.values():
        assert vm.host in inventory.hosts
        assert vm.nics[0].network in inventory.networks
        assert vm.nics[0].key == 4000


async def test_changes_are_told_before_and_after(vcenter: VCenterSimulator, following: Following) -> None:
    client, changes = following
    vm = next(iter(client.inventory.vms.values()))
    await vcenter.scenario.power_off(vm.name)
    await settled(lambda: client.inventory.vms[vm.id].power == "poweredOff")
    change = next(each for each in changes if each.after is not None and each.after.id == vm.id)
    assert isinstance(change.before, VirtualMachine)
    assert isinstance(change.after, VirtualMachine)
    assert (change.before.power, change.after.power) == ("poweredOn", "poweredOff")
    assert "runtime.powerState" in change.paths
    await vcenter.scenario.delete_vm(vm.name)
    await settled(lambda: vm.id not in client.inventory.vms)
    assert changes[-1].after is None
    host = await vcenter.scenario.add_host("esx-new", "C1")
    await settled(lambda: HostId(host.moid) in client.inventory.hosts)
    assert any(isinstance(each.after, Host) and each.before is None for each in changes)
    assert agrees(client, vcenter)


@pytest.mark.parametrize("trouble", ["expired", "dropped", "both"])
async def test_nothing_is_missed_while_the_session_is_away(
    vcenter: VCenterSimulator, following: Following, trouble: str
) -> None:
    client, changes = following
    vms = list(client.inventory.vms.values())
    if trouble != "dropped":
        vcenter.expire_sessions()
    if trouble != "expired":
        await vcenter.drop_connections()
    await vcenter.scenario.power_off(vms[0].name)
    await vcenter.scenario.delete_vm(vms[0].name)
    await vcenter.scenario.rename_vm(vms[1].name, "renamed")
    await vcenter.scenario.create_vm("fresh")
    await settled(lambda: agrees(client, vcenter) and client.inventory.healthy)
    assert client.inventory.vms[vms[1].id].name == "renamed"
    told = {(each.before or each.after).id for each in changes}  # type: ignore[union-attr]
    assert {vms[0].id, vms[1].id} <= told
    assert len(told) < 20, "only differences are told, not everything again"


async def test_a_version_that_vcenter_forgot_is_read_anew(vcenter: VCenterSimulator, following: Following) -> None:
    client, changes = following
    vcenter.scenario.add_fault(method="WaitForUpdatesEx", fault="InvalidCollectorVersion", times=1)
    vm = next(iter(client.inventory.vms.values()))
    await vcenter.scenario.power_off(vm.name)
    await settled(lambda: client.inventory.resyncs == 2 and client.inventory.healthy)
    await vcenter.scenario.rename_vm(vm.name, "after")
    await settled(lambda: client.inventory.vms[vm.id].name == "after")
    assert agrees(client, vcenter)
    assert changes


async def test_an_unreachable_vcenter_is_unhealthy_and_asked_again(
    vcenter: VCenterSimulator, following: Following
) -> None:
    client, _ = following
    rule = vcenter.scenario.add_fault(method="*", drop=True)
    await vcenter.drop_connections()
    await settled(lambda: not client.inventory.healthy)
    asked = sum(client.calls.values())
    await asyncio.sleep(300)
    assert sum(client.calls.values()) - asked < 60, "no hammering"
    assert "connection broke" in client.inventory.trouble
    vcenter.scenario.remove_fault(rule)
    await settled(lambda: client.inventory.healthy)
    assert agrees(client, vcenter) and not client.inventory.trouble


async def test_an_idle_inventory_costs_one_call_a_minute(following: Following) -> None:
    client, _ = following
    before = sum(client.calls.values())
    await asyncio.sleep(3600)
    assert sum(client.calls.values()) - before <= 61


async def test_a_reply_can_be_folded_in(following: Following) -> None:
    client, changes = following
    vm = next(iter(client.inventory.vms.values()))
    client.inventory.fold(Change(vm, replace(vm, name="known already")))
    assert client.inventory.vms[vm.id].name == "known already"
    client.inventory.fold(Change(vm, replace(vm, name="known already")))
    assert len(changes) == 1


# -- tasks ------------------------------------------------------------------------------------------------------------


async def test_many_tasks_share_one_long_poll(vcenter: VCenterSimulator, client: VCenter) -> None:
    vms = [vim.VirtualMachine(moid) for moid in named(vcenter, "VirtualMachine")][:60]
    await asyncio.gather(*(client.run_task(vm, "PowerOffVM_Task") for vm in vms))
    assert client.calls["PowerOffVM_Task"] == 60
    assert client.calls["CreateFilter"] == 1
    assert client.calls["WaitForUpdatesEx"] <= 60
    assert client.calls["RetrievePropertiesEx"] == 0


async def test_a_task_gives_its_result_or_its_error(vcenter: VCenterSimulator, client: VCenter) -> None:
    vm = vim.VirtualMachine(next(iter(named(vcenter, "VirtualMachine"))))
    assert await client.run_task(vm, "PowerOffVM_Task") is None
    with pytest.raises(InvalidState, match="InvalidPowerState"):
        await client.run_task(vm, "PowerOffVM_Task")
    with pytest.raises(NotFound):
        await client.wait_task(vim.Task("task-404"), deadline=10)


def slow(simulator: VCenterSimulator, **seconds: float) -> None:
    """From now on these steps take that long."""
    simulator.world.services[Timing] = replace(simulator.world.services[Timing], **seconds)


async def test_a_task_that_takes_too_long_is_busy(vcenter: VCenterSimulator, client: VCenter) -> None:
    vm = vim.VirtualMachine(next(iter(named(vcenter, "VirtualMachine"))))
    await client.run_task(vm, "PowerOffVM_Task")
    slow(vcenter, power_on=500.0)
    task = await client.call(vm, "PowerOnVM_Task")
    with pytest.raises(Busy, match="not done after 20 s"):
        await client.wait_task(task, deadline=20)
    assert await client.wait_task(task, deadline=600) is None


async def test_a_task_outlives_the_session_it_is_waited_for_in(vcenter: VCenterSimulator, client: VCenter) -> None:
    moid = next(iter(named(vcenter, "VirtualMachine")))
    vm = vim.VirtualMachine(moid)
    await client.run_task(vm, "PowerOffVM_Task")
    slow(vcenter, power_on=30.0)
    waiting = asyncio.create_task(client.run_task(vm, "PowerOnVM_Task", deadline=120))
    await asyncio.sleep(5)
    vcenter.expire_sessions()
    await vcenter.drop_connections()
    await waiting
    assert vcenter.world.objects[moid].read("runtime.powerState") == "poweredOn"


# -- events -----------------------------------------------------------------------------------------------------------


async def test_every_event_comes_once_and_in_order(
    vcenter: VCenterSimulator, client: VCenter, connect: Callable[..., VCenter]
) -> None:
    seen: list[Event] = []
    saved: list[EventCursor] = []
    vms = sorted(named(vcenter, "VirtualMachine").items())
    client.events.subscribe(seen.append)
    client.events.start(["VmPoweredOffEvent", "VmRenamedEvent"], save=saved.append)
    await asyncio.sleep(1)
    await vcenter.scenario.power_off(vms[0][1])
    await settled(lambda: len(seen) == 1)
    assert (seen[0].type, seen[0].vm) == ("VmPoweredOffEvent", VmId(vms[0][0]))
    vcenter.expire_sessions()
    await vcenter.drop_connections()
    await vcenter.scenario.power_off(vms[1][1])
    await vcenter.scenario.rename_vm(vms[2][1], "other")
    await settled(lambda: len(seen) == 3)
    await client.close()
    await vcenter.scenario.power_off(vms[3][1])
    async with connect() as again:
        again.events.subscribe(seen.append)
        again.events.start(["VmPoweredOffEvent", "VmRenamedEvent"], cursor=saved[-1])
        await settled(lambda: len(seen) == 4)
        await asyncio.sleep(120)
    assert [event.type for event in seen] == ["VmPoweredOffEvent"] * 2 + ["VmRenamedEvent", "VmPoweredOffEvent"]
    assert [event.key for event in seen] == sorted({event.key for event in seen})
    assert all(event.time.tzinfo is not None for event in seen)


@pytest.mark.parametrize(
    "fault", ["InvalidCollectorVersion", "ManagedObjectNotFound", "SystemError", "NotAuthenticated"]
)
async def test_a_vcenter_that_fails_every_other_call_is_not_hammered(
    vcenter: VCenterSimulator, following: Following, fault: str
) -> None:
    client, _ = following
    client.events.start()
    vcenter.scenario.add_fault(method="WaitForUpdatesEx", fault=fault, probability=0.5)
    before = sum(client.calls.values())
    await asyncio.sleep(600)
    assert sum(client.calls.values()) - before < 2500
    vcenter.scenario.clear_faults()
    await settled(lambda: client.inventory.healthy and agrees(client, vcenter))
