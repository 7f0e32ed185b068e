"""What an agent knows of its ports through the control node, and what its port files bring back."""

import asyncio
import json
from uuid import UUID

import aiohttp
import pytest

from contrail_vsphere.simulator.contrail.simulator import ContrailSimulator
from contrail_vsphere.simulator.vrouter.fleet import VRouterFleet
from contrail_vsphere.wire.contrail.port_api import PortDocument

pytestmark = pytest.mark.looptime


class Bench:
    """One agent under one Contrail, spoken to over its socket."""

    async def __aenter__(self):
        self.contrail = await ContrailSimulator().__aenter__()
        self.network = self.contrail.scenario.create_network("blue", "10.1.0.0/24")
        self.fleet = VRouterFleet(clock=self.contrail.clock)
        self.fleet.control_node = self.contrail.control_node
        self.agent = await self.fleet.add("esx-1", connect_after=1.0)
        self.http = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_):
        await self.http.close()
        await self.fleet.stop()
        await self.contrail.stop()

    async def ask(self, method, path, body=None, *, introspect=False):
        urls = self.fleet.ready["esx-1"]
        url = urls["introspect_url" if introspect else "port_url"] + path
        async with self.http.request(method, url, json=body) as reply:
            return reply.status, await (reply.text() if introspect else reply.json())

    def made(self, **more):
        return self.contrail.scenario.create_port(self.network, mac="00:50:56:00:00:01", **more)

    def document(self, vm, vmi, **changes):
        values = {"id": vmi.uuid, "vm": vm.uuid, "network": self.network.uuid, "project": self.network.parent_uuid}
        values |= {"name": "web", "mac": "00:50:56:00:00:01", "rx_vlan": 7, "tx_vlan": 7, "ip": "10.1.0.3"}
        return PortDocument(**{**values, "link_up": True, **changes}).encode()


async def test_a_port_is_known_once_control_node_and_plugin_both_told():
    async with Bench() as bench:
        vm, vmi, _ip = bench.made()
        assert await bench.ask("POST", "/port", bench.document(vm, vmi)) == (200, {})
        assert (await bench.ask("GET", f"/port/{vmi.uuid}"))[0] == 404  # no control node yet
        await asyncio.sleep(1.1)
        assert (await bench.ask("GET", f"/port/{vmi.uuid}"))[0] == 404  # connected, not told yet
        await asyncio.sleep(0.2)
        status, shown = await bench.ask("GET", f"/port/{vmi.uuid}")
        assert status == 200
        assert (shown["plen"], shown["gateway"], shown["dns-server"]) == (24, "10.1.0.1", "10.1.0.2")
        assert not {"type", "link-state", "display-name"} & set(shown)
        assert [port.id for port in bench.agent.active_ports()] == [vmi.uuid]


async def test_objects_may_come_after_the_port():
    async with Bench() as bench:
        bench.contrail.control_node.delay = 5.0
        await asyncio.sleep(10)
        later = bench.contrail.store.new_uuid()
        body = {**bench.document(*bench.made()[:2]), "id": later}
        await bench.ask("POST", "/port", body)
        await asyncio.sleep(60)
        assert (await bench.ask("GET", f"/port/{later}"))[0] == 404
        bench.contrail.scenario.create(
            "virtual-machine-interface",
            (*bench.network.fq_name[:-1], later),
            uuid=later,
            virtual_network_refs=[{"to": list(bench.network.fq_name)}],
            virtual_machine_refs=[{"to": [body["instance-id"]]}],
        )
        await asyncio.sleep(4)
        assert (await bench.ask("GET", f"/port/{later}"))[0] == 404
        await asyncio.sleep(1.1)
        assert (await bench.ask("GET", f"/port/{later}"))[0] == 200


@pytest.mark.parametrize("missing", ["interface", "vm", "ipam"])
async def test_something_missing_keeps_it_unknown(missing):
    async with Bench() as bench:
        scenario = bench.contrail.scenario
        vm, vmi, ip = bench.made()
        if missing == "interface":
            scenario.delete(ip)
            scenario.delete(vmi)
        elif missing == "vm":
            scenario.update(vmi, virtual_machine_refs=[])
        else:
            scenario.delete(ip)
            scenario.update(bench.network, network_ipam_refs=[])
        await bench.ask("POST", "/port", bench.document(vm, vmi))
        await asyncio.sleep(60)
        assert (await bench.ask("GET", f"/port/{vmi.uuid}"))[0] == 404
        assert bench.agent.active_ports() == []
        _status, page = await bench.ask("GET", "/Snh_ItfReq", introspect=True)
        assert "Inactive &lt;no-vn/no-vm-config&gt;" in page


async def test_an_agent_subscribes_to_the_vm_it_was_told():
    async with Bench() as bench:
        _vm, vmi, _ip = bench.made()
        other, *_ = bench.made(name="other")
        await bench.ask("POST", "/port", bench.document(other, vmi))
        await asyncio.sleep(60)
        assert (await bench.ask("GET", f"/port/{vmi.uuid}"))[0] == 404


async def test_ports_outlive_the_process_by_their_files():
    async with Bench() as bench:
        vm, vmi, _ip = bench.made()
        await bench.ask("POST", "/port", bench.document(vm, vmi))
        await bench.ask("PUT", f"/disable-port/{vmi.uuid}")
        await bench.ask("POST", "/port", bench.document(vm, vmi, rx_vlan=9, tx_vlan=9))  # changes nothing
        await bench.fleet.restart("esx-1")
        port = bench.agent.table.ports[vmi.uuid]
        assert (port.rx_vlan, port.link_up, port.version) == (7, False, 0)
        assert json.loads(bench.agent.table.files[vmi.uuid])["link-state"] == 0
        await asyncio.sleep(5)
        assert (await bench.ask("GET", f"/port/{vmi.uuid}"))[0] == 200
        _status, page = await bench.ask("GET", "/Snh_ItfReq", introspect=True)
        assert "Inactive &lt;admin-down&gt;" in page


async def test_what_is_not_posted_again_after_a_sync_is_dropped_with_its_file():
    async with Bench() as bench:
        vm, vmi, _ip = bench.made()
        other = bench.document(vm, vmi, id=str(UUID(int=77)))
        await bench.ask("POST", "/port", [bench.document(vm, vmi), other])
        await bench.ask("POST", "/syncports", {})
        await bench.ask("POST", "/port", other)
        await asyncio.sleep(59)
        assert len(bench.agent.table.ports) == 2
        await asyncio.sleep(2)
        assert set(bench.agent.table.ports) == set(bench.agent.table.files) == {str(UUID(int=77))}


@pytest.mark.parametrize(
    ("changes", "trunk"), [({"rx_vlan": -1}, True), ({}, False)], ids=["one VLAN of two", "no trunk interface"]
)
async def test_what_the_agent_dies_of(changes, trunk):
    async with Bench() as bench:
        vm, vmi, _ip = bench.made()
        bench.agent.table.trunk_active = trunk
        with pytest.raises(aiohttp.ClientError):
            await bench.ask("POST", "/port", bench.document(vm, vmi, **changes))
        assert bench.agent.life == "dead"
        with pytest.raises(aiohttp.ClientError):
            await bench.ask("GET", f"/port/{vmi.uuid}")


async def test_refusals_bear_the_agents_texts():
    async with Bench() as bench:
        vm, vmi, _ip = bench.made()
        body = bench.document(vm, vmi, kind=0)
        assert (await bench.ask("PUT", f"/enable-port/{vmi.uuid}")) == (
            500,
            {"error": f"{{ Port Not found {vmi.uuid} }}"},
        )
        await bench.ask("POST", "/port", body)
        told = {"error": f"{{ Incorrect Port type for {vmi.uuid} }}"}
        assert (await bench.ask("PUT", f"/enable-port/{vmi.uuid}")) == (500, told)
        for method, path in (("GET", f"/port/{vmi.uuid.upper()}"), ("GET", "/port"), ("PUT", f"/port/{vmi.uuid}")):
            assert await bench.ask(method, path) == (404, {"error": "Unknown Request"})
        assert await bench.ask("DELETE", f"/port/{UUID(int=5)}") == (200, {})
