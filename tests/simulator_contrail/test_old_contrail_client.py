"""The published Contrail client, release 2005 and unmodified, drives the simulator; it has never heard of us."""

import asyncio
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from contrail_vsphere.simulator.contrail.simulator import ContrailSimulator

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    vnc = pytest.importorskip("vnc_api.vnc_api", reason="contrail-api-client 2005 is not installed")
    errors = pytest.importorskip("vnc_api.exceptions")


async def in_thread(story: Callable, **options):
    """Run blocking code beside the simulator's loop."""
    async with ContrailSimulator(**options) as contrail:
        host, port = contrail.ready["url"].removeprefix("http://").split(":")
        with ThreadPoolExecutor(1) as pool:
            await asyncio.get_running_loop().run_in_executor(pool, story, contrail, host, int(port))
        assert contrail.defects == []


def connect(host, port, **more):
    return vnc.VncApi(api_server_host=host, api_server_port=port, auth_type="noauth", **more)


async def test_a_port_from_project_to_address_and_back():
    def story(_contrail, host, port):
        api = connect(host, port)
        project = vnc.Project("vCenter", parent_obj=api.domain_read(["default-domain"]))
        api.project_create(project)
        ipam = vnc.NetworkIpam("vCenter-ipam", parent_obj=project)
        api.network_ipam_create(ipam)
        group = vnc.SecurityGroup("default", parent_obj=project)
        api.security_group_create(group)
        network = vnc.VirtualNetwork("blue", parent_obj=project)
        subnet = vnc.IpamSubnetType(subnet=vnc.SubnetType("10.1.0.0", 24), addr_from_start=True)
        network.add_network_ipam(ipam, vnc.VnSubnetsType([subnet]))
        api.virtual_network_create(network)
        assert network.get_virtual_network_network_id() is None
        assert api.virtual_network_read(id=network.uuid).get_virtual_network_network_id() == 5

        machine = vnc.VirtualMachine("11111111-2222-4333-8444-555555555555")
        machine.uuid = machine.name
        api.virtual_machine_create(machine)
        interface = vnc.VirtualMachineInterface("eth0", parent_obj=project)
        interface.set_virtual_machine(machine)
        interface.set_virtual_network(network)
        interface.set_security_group(group)
        interface.set_virtual_machine_interface_mac_addresses(vnc.MacAddressesType(["00:50:56:00:00:01"]))
        api.virtual_machine_interface_create(interface)
        address = vnc.InstanceIp("one")
        address.set_virtual_network(network)
        address.set_virtual_machine_interface(interface)
        api.instance_ip_create(address)
        assert api.instance_ip_read(id=address.uuid).get_instance_ip_address() == "10.1.0.3"

        read = api.virtual_machine_interface_read(id=interface.uuid)
        assert read.get_instance_ip_back_refs()[0]["uuid"] == address.uuid
        assert read.get_routing_instance_refs()[0]["to"][-2:] == ["blue", "blue"]
        with pytest.raises(errors.RefsExistError):
            api.virtual_network_delete(id=network.uuid)
        for delete, gone in (
            (api.instance_ip_delete, address),
            (api.virtual_machine_interface_delete, interface),
            (api.virtual_machine_delete, machine),
            (api.virtual_network_delete, network),
            (api.network_ipam_delete, ipam),
            (api.security_group_delete, group),
            (api.project_delete, project),
        ):
            delete(id=gone.uuid)
        with pytest.raises(errors.NoIdError):
            api.virtual_network_read(id=network.uuid)

    await in_thread(story)


async def test_lists_updates_and_annotations():
    def story(contrail, host, port):
        network = contrail.scenario.create_network("blue", "10.1.0.0/16")
        ports = contrail.builder.ports(network, 60, creator="somebody")
        api = connect(host, port)
        assert (
            len(api.virtual_machine_interfaces_list(parent_id=network.parent_uuid)["virtual-machine-interfaces"]) == 60
        )
        many = [item.vmi.uuid for item in ports[:40]]  # more than 25 go by POST
        found = api.virtual_machine_interfaces_list(obj_uuids=many, detail=True)
        assert {item.uuid for item in found} == set(many)
        assert found[0].get_id_perms().get_creator() == "somebody"
        wanted = {"instance_ip_address": ports[7].ip.properties["instance_ip_address"]}
        (address,) = api.instance_ips_list(filters=wanted)["instance-ips"]
        assert address["uuid"] == ports[7].ip.uuid
        assert api.virtual_machines_list(count=True)["virtual-machines"]["count"] == 60

        read = api.virtual_network_read(id=network.uuid)
        read.set_display_name("azure")
        read.add_annotations(vnc.KeyValuePair("moref", "dvportgroup-9"))
        api.virtual_network_update(read)
        shown = contrail.store[network.uuid].properties
        assert shown["display_name"] == "azure"
        assert shown["annotations"]["key_value_pair"] == [{"key": "moref", "value": "dvportgroup-9"}]
        group = contrail.scenario.create("security-group", (*network.fq_name[:-1], "web"))
        api.ref_update("virtual-machine-interface", ports[0].vmi.uuid, "security-group", group.uuid, None, "ADD")
        assert contrail.store[ports[0].vmi.uuid].referred("security_group_refs") == [group.uuid]
        assert api.fq_name_to_id("virtual-network", list(network.fq_name)) == network.uuid

    await in_thread(_on_loop(story))


def _on_loop(story):
    """The simulator's own methods belong to its loop; the story's calls of them go there."""

    def run(contrail, host, port):
        story(_Proxy(contrail, contrail_loop), host, port)

    contrail_loop = asyncio.get_running_loop()
    return run


class _Proxy:
    """Calls methods of the simulator on its loop, from another thread."""

    def __init__(self, target, loop):
        self._target, self._loop = target, loop

    def __getattr__(self, name):
        found = getattr(self._target, name)
        if name in {"scenario", "builder"}:
            return _Proxy(found, self._loop)
        if not callable(found):
            return found

        def call(*args, **kwargs):
            async def there():
                return found(*args, **kwargs)

            return asyncio.run_coroutine_threadsafe(there(), self._loop).result(10)

        return call


async def test_it_logs_in_with_keystone():
    def story(contrail, host, port):
        keystone = contrail.ready["keystone_url"].removeprefix("http://").removesuffix("/v3")
        api = vnc.VncApi(
            api_server_host=host,
            api_server_port=port,
            username="admin",
            password=contrail.ready["password"],
            tenant_name="admin",
            auth_type="keystone",
            auth_protocol="http",
            auth_host=keystone.split(":")[0],
            auth_port=keystone.split(":")[1],
            auth_url="/v3/auth/tokens",
            domain_name="Default",
        )
        assert api.projects_list()["projects"]
        contrail.scenario.expire_tokens()
        assert api.projects_list()["projects"]
        assert contrail.keystone.logins == 2

    await in_thread(story, auth="keystone")
