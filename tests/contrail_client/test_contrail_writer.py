"""Objects are made once and deleted for good, whatever is lost on the way; foreign ones are left alone."""

import asyncio
from ipaddress import ip_address
from uuid import UUID, uuid5

import pytest
from contrail_stand import Stand, contrail_stand

from contrail_vsphere.contrail.writer import ContrailWriter
from contrail_vsphere.model.contrail import ContrailVm, InstanceIp, Vmi
from contrail_vsphere.model.errors import AlreadyExists, Busy, Conflict, OutcomeUnknown, OutOfResources
from contrail_vsphere.simulator.core.faults import FaultRule

pytestmark = pytest.mark.looptime
SPACE = UUID(int=77)


class Port:
    """What makes one port in a network."""

    def __init__(self, stand: Stand, network, *, number: int = 1) -> None:
        self.project = UUID(stand.contrail.scenario.find("project", "vCenter").uuid)
        vm, vmi, ip = (uuid5(SPACE, f"{what}{number}") for what in ("vm", "vmi", "ip"))
        self.vm = ContrailVm(vm, str(vm), f"vm-{number}", owner=self.project.hex, annotations={"moref": "vm-7"})
        fq_name = ("default-domain", "vCenter", str(vmi))
        group = stand.writer.default_group(self.project)
        mac = f"00:50:56:00:00:{number:02x}"
        self.vmi = Vmi(vmi, fq_name, self.project, f"vmi-{number}", UUID(network.uuid), vm, (mac,), (group,))
        self.ip = InstanceIp(ip, str(ip), network=UUID(network.uuid), vmis=(vmi,))

    async def make(self, writer: ContrailWriter) -> InstanceIp:
        await writer.create_vm(self.vm)
        await writer.create_vmi(self.vmi)
        return await writer.create_instance_ip(self.ip)


async def ready(stand: Stand, **network):
    made = stand.contrail.scenario.create_network("blue", **{"prefix": "10.1.0.0/24", **network})
    await asyncio.wait_for(stand.inventory.ready(), 30)
    await asyncio.sleep(1)
    return made


async def test_a_port_costs_four_requests_and_is_known_at_once():
    async with contrail_stand() as stand:
        port = Port(stand, await ready(stand))
        before = stand.contrail.calls.copy()
        ip = await port.make(stand.writer)
        assert ip.address == ip_address("10.1.0.3")
        assert stand.known == stand.world
        folded = (*stand.inventory.vms.values(), *stand.inventory.vmis.values(), *stand.inventory.instance_ips.values())
        await asyncio.sleep(5)
        assert sum((stand.contrail.calls - before).values()) == 4
        changes = []
        stand.inventory.subscribe(changes.append)
        stand.inventory.read_again()
        await asyncio.sleep(5)
        assert changes == []  # what was folded is what is there
        assert {value.creator for value in folded} == {"contrail-vsphere"}


async def test_everything_may_be_done_twice():
    async with contrail_stand() as stand:
        network = await ready(stand)
        port = Port(stand, network)
        first = await port.make(stand.writer)
        assert await port.make(stand.writer) == first
        for _ in range(2):
            await stand.writer.delete_port(port.vmi.uuid)
            await stand.writer.delete_vm(port.vm.uuid)
        assert stand.known == stand.world
        assert stand.world["virtual-machine"] == stand.world["instance-ip"] == set()


@pytest.mark.parametrize("verb", ["create", "delete", "update"])
@pytest.mark.parametrize("effect", [{"drop": True}, {"drop_reply": True}, {"http_status": 502}, {"http_status": 504}])
async def test_a_lost_answer_neither_doubles_nor_loses(verb, effect):
    async with contrail_stand() as stand:
        port = Port(stand, await ready(stand))
        for kind in ("virtual-machine", "virtual-machine-interface", "instance-ip"):
            stand.contrail.faults.add(FaultRule(method=verb, type=kind, times=1, **effect))
        await port.make(stand.writer)
        await stand.writer.rename(port.vm, "another")
        assert stand.known == stand.world
        assert len(stand.world["instance-ip"]) == 1
        assert (
            stand.contrail.scenario.find("virtual-machine", str(port.vm.uuid)).properties["display_name"] == "another"
        )
        await stand.writer.delete_port(port.vmi.uuid)
        await stand.writer.delete_vm(port.vm.uuid)
        await asyncio.sleep(2)
        assert stand.known == stand.world
        assert stand.world["virtual-machine"] == set()


async def test_a_create_that_never_gets_an_answer_ends_and_is_looked_at_again():
    async with contrail_stand(timeout=5.0) as stand:
        port = Port(stand, await ready(stand))
        stand.contrail.faults.add(FaultRule(method="create", type="virtual-machine", drop=True))
        with pytest.raises(OutcomeUnknown):
            await stand.writer.create_vm(port.vm)
        assert stand.contrail.calls["create", "virtual-machine"] <= 3


async def test_what_somebody_else_made_is_not_ours():
    async with contrail_stand() as stand:
        port = Port(stand, await ready(stand))
        stand.contrail.scenario.create(
            "virtual-machine",
            (port.vm.name,),
            uuid=port.vm.name,
            id_perms={"enable": True, "creator": "vcenter-manager"},
        )
        with pytest.raises(AlreadyExists, match="vcenter-manager"):
            await stand.writer.create_vm(port.vm)
        adopting = ContrailWriter(stand.api, stand.inventory, adopts={"vcenter-manager"})
        assert (await adopting.create_vm(port.vm)).creator == "vcenter-manager"


async def test_a_floating_ip_is_detached_and_stays():
    async with contrail_stand() as stand:
        network = await ready(stand)
        port = Port(stand, network)
        await port.make(stand.writer)
        scenario = stand.contrail.scenario
        pool = scenario.create("floating-ip-pool", (*network.fq_name, "pool"))
        vmi = scenario.find("virtual-machine-interface", str(port.vmi.uuid))
        floating = scenario.create(
            "floating-ip",
            (*pool.fq_name, "f"),
            floating_ip_address="10.1.0.77",
            virtual_machine_interface_refs=[{"to": list(vmi.fq_name), "uuid": vmi.uuid}],
            project_refs=[{"to": ["default-domain", "vCenter"]}],
        )
        await stand.writer.delete_port(port.vmi.uuid)
        assert str(port.vmi.uuid) not in stand.world["virtual-machine-interface"]
        assert scenario.find("floating-ip", floating.uuid)


async def test_an_interface_with_addresses_is_not_deleted():
    async with contrail_stand() as stand:
        port = Port(stand, await ready(stand))
        await port.make(stand.writer)
        with pytest.raises(Busy):
            await stand.writer.delete_vmi(port.vmi.uuid)
        assert stand.known == stand.world


async def test_addresses_run_out_and_collide_with_words():
    async with contrail_stand() as stand:
        network = await ready(stand, prefix="10.1.0.0/29")
        for number in range(4):
            await Port(stand, network, number=number).make(stand.writer)
        with pytest.raises(OutOfResources):
            await Port(stand, network, number=9).make(stand.writer)
        port = Port(stand, network, number=10)
        await stand.writer.create_vm(port.vm)
        await stand.writer.create_vmi(port.vmi)
        taken = InstanceIp(UUID(int=5), "x", ip_address("10.1.0.4"), network=port.ip.network, vmis=port.ip.vmis)
        with pytest.raises(AlreadyExists):
            await stand.writer.create_instance_ip(taken)


async def test_an_unknown_network_is_a_conflict_and_nothing_is_sent():
    async with contrail_stand() as stand:
        port = Port(stand, await ready(stand))
        before = stand.contrail.calls.total()
        with pytest.raises(Conflict):
            await stand.writer.create_vmi(Vmi(UUID(int=4), ("a", "b", "c"), port.project, network=UUID(int=99)))
        assert stand.contrail.calls.total() == before


async def test_a_project_is_made_whole_and_by_two_at_once():
    async with contrail_stand() as stand:
        await asyncio.wait_for(stand.inventory.ready(), 30)
        name = ("default-domain", "estate")
        other = ContrailWriter(stand.api, stand.inventory)
        one, two = await asyncio.gather(stand.writer.ensure_project(name), other.ensure_project(name))
        assert one.uuid == two.uuid
        assert stand.writer.default_group(one.uuid)
        assert stand.contrail.scenario.find("network-ipam", "estate-ipam")
        owner = (await stand.api.read("project", one.uuid, fields=["perms2"]))["perms2"]["owner"]
        assert owner == one.uuid.hex  # never "None"


async def test_annotations_of_others_stay():
    async with contrail_stand() as stand:
        port = Port(stand, await ready(stand))
        vm = await stand.writer.create_vm(port.vm)
        stand.contrail.scenario.update(
            stand.contrail.scenario.find("virtual-machine", port.vm.name),
            annotations={"key_value_pair": [{"key": "theirs", "value": "x"}, {"key": "moref", "value": "vm-7"}]},
        )
        await stand.writer.annotate(vm, {"host": "esx1"}, drop=["moref"])
        await asyncio.sleep(2)
        stand.inventory.read_again()
        await asyncio.sleep(2)
        assert stand.inventory.vms[port.vm.uuid].annotations == {"theirs": "x", "host": "esx1"}
