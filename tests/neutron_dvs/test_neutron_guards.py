"""What a worker will not do, and what it tells of itself: narrow switches, many orphans at once, metrics, opIDs."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from neutron_stand import BOOKED, NeutronStand
from prometheus_client.parser import text_string_to_metric_families
from pyVmomi import vim
from real_neutron import RealNeutron
from real_process import free_port

from contrail_vsphere.simulator.dispatch import Dispatcher

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("neutron"), pytest.mark.asyncio(loop_scope="module")]
NARROW, WIDE = 1400, 9000


class Guarded(NeutronStand):
    """On vC2; its worker refuses what does not fit, keeps no orphan for long, and tells what it counts."""

    async def start(self) -> None:
        with self.ini.open("a") as file:
            file.write("orphan_seconds = 0\n[vmware_dvs]\nmtu_policy = refuse\n")
        self.metrics_port = free_port()
        await self.widen(NARROW)
        await self.start_worker("--metrics", f"127.0.0.1:{self.metrics_port}")

    async def widen(self, mtu: int) -> None:
        spec = vim.dvs.VmwareDistributedVirtualSwitch.ConfigSpec(configVersion=str(self.dvs.config_version), maxMtu=mtu)
        switch = vim.dvs.VmwareDistributedVirtualSwitch(self.dvs.moid)
        await self.client.run_task(switch, "ReconfigureDvs_Task", spec=spec)

    async def counted(self) -> dict[str, float]:
        """``/metrics``, as Prometheus reads them."""

        def read() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=60) as answer:
                return answer.read().decode()

        families = text_string_to_metric_families(await asyncio.to_thread(read))
        samples = [sample for family in families for sample in family.samples]
        assert {sample.labels["vcenter"] for sample in samples} == {"vC2"}
        return {sample.name.removeprefix("vmware_dvs_").removesuffix("_total"): sample.value for sample in samples}

    def marked(self) -> set[str]:
        """Port groups with the mark of this cloud."""
        return {
            group.name
            for group in self.dvs.portgroups
            for blob in group.vendor
            if blob.opaqueData.startswith("test-cloud/")
        }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(real_neutron: RealNeutron, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    async with Guarded(tmp_path_factory.mktemp("guarded"), real_neutron, vcenter="vC2", vms=4) as stand:
        await stand.start()
        yield stand


async def test_a_network_that_is_too_wide_gets_no_port_group_until_the_switch_is_wide_enough(guarded: Guarded):
    wide = await guarded.network("wide", "10.40.0.0/24", mtu=1500)
    narrow = await guarded.network("narrow", "10.41.0.0/24", mtu=1300)
    await guarded.port_group_of(narrow)

    def said():
        return [words for words in guarded.state().get("warnings", ()) if wide.id in words and "carries 1400" in words]

    await guarded.look_again()
    await guarded.until(said, "it is said which network does not fit")
    assert guarded.port_group(wide) is None
    await guarded.widen(WIDE)
    await guarded.look_again()
    await guarded.port_group_of(wide)


async def test_a_request_can_be_followed_from_neutron_to_vcenter(guarded: Guarded, monkeypatch):
    heard = []
    begin = Dispatcher.begin

    def listening(self, caller, decoded):
        heard.append((decoded.name, decoded.operation_id))
        return begin(self, caller, decoded)

    monkeypatch.setattr(Dispatcher, "begin", listening)

    def create() -> tuple[str, str]:
        body = json.dumps({"network": {"name": "followed", "tenant_id": "tenant"}}).encode()
        request = urllib.request.Request(
            f"{guarded.neutron.url}/v2.0/networks", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.headers["X-Openstack-Request-Id"], json.load(answer)["network"]["id"]

    request_id, network_id = await asyncio.to_thread(create)
    await guarded.until(lambda: any(network_id in name for name in guarded.marked()), "its port group")
    made = [operation for name, operation in heard if name == "AddDVPortgroup_Task"]
    assert made
    assert all(operation.startswith(f"{request_id}-") for operation in made)
    await guarded.until(lambda: f"{request_id}: 1 created" in guarded.log(), "the worker's log names it")


async def test_prometheus_is_told_what_vcenter_has(guarded: Guarded):
    async def agreed():
        found = await guarded.counted()
        return found if found["created"] == len(guarded.marked()) else None

    counted = await guarded.until(agreed, "every port group is counted")
    assert (counted["working"], counted["vcenter_reached"], counted["orphans"]) == (1, 1, 0)
    await guarded.network("counted", "10.42.0.0/24")
    await guarded.until(lambda: len(guarded.marked()) == counted["created"] + 1, "one more port group")
    more = await guarded.until(agreed, "it is counted")
    assert more["passes"] > counted["passes"]


async def test_many_orphans_at_once_are_kept_and_a_few_go(guarded: Guarded):
    ours = guarded.marked()
    orphans = [f"os-lost-{number}" for number in range(len(ours) // 3 + 6)]
    specs = [
        vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
            name=name, type="earlyBinding", numPorts=1,
            vendorSpecificConfig=[
                vim.dvs.KeyedOpaqueBlob(key="vmware-dvs.segment", opaqueData=f"test-cloud/{name}/segment")
            ],
        )
        for name in orphans
    ]  # fmt: skip
    switch = vim.dvs.VmwareDistributedVirtualSwitch(guarded.dvs.moid)
    await guarded.client.run_task(switch, "AddDVPortgroup_Task", spec=specs)
    await guarded.look_again()

    async def counted():
        return (await guarded.counted())["orphans"] == len(orphans)

    await guarded.until(counted, "the orphans are counted")
    assert guarded.marked() == ours | set(orphans)

    for group in [group for group in guarded.dvs.portgroups if group.name in orphans[3:]]:
        await guarded.client.run_task(vim.dvs.DistributedVirtualPortgroup(group.moid), "Destroy_Task")
    await guarded.look_again()
    await guarded.until(lambda: guarded.marked() == ours, "three are no more than a few")


async def test_ports_are_booked_by_key(guarded: Guarded):
    network = await guarded.network("booked", "10.28.0.0/24")
    group = await guarded.port_group_of(network)

    async def booked():
        port = await guarded.port(network, host=BOOKED)
        if "dvs_port_key" in port.binding_vif_details:
            return port
        await guarded.api("delete_port", port.id)
        return None

    first = await guarded.until(booked, "a port with a key")
    second = await guarded.port(network, host=BOOKED)
    keys = [port.binding_vif_details["dvs_port_key"] for port in (first, second)]
    assert len(set(keys)) == 2
    await guarded.until(lambda: guarded.dvs.ports.get(keys[0]).name == first.id, "its rules are there before its VM")
    assert await guarded.status(first) == "DOWN"
    nic = await guarded.boot(first)
    assert nic.state.port_key == keys[0]
    assert nic.state.network is group
    await guarded.active(first)
    await guarded.unplug(nic)
    await guarded.api("delete_port", first.id)
    await guarded.until(lambda: guarded.dvs.ports.get(keys[0]).name == "", "the port is given back")
