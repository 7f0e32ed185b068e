"""PCI passthrough and SR-IOV by policy; a host that cannot give what is asked for leaves the others alone (F17)."""

import asyncio

import pytest
from scene import DEPLOYMENT

from contrail_vsphere.model.errors import DesiredStateError

pytestmark = pytest.mark.looptime

PCI = DEPLOYMENT + '[deployment.dc1.devices]\npci = ["8086:1583"]\n'
SRIOV = DEPLOYMENT + '[deployment.dc1.devices]\nsriov = "mgmt"\n'


def equip(lab, *hosts, devices=("8086:1583",), functions=0) -> None:
    with lab.world.commit() as tx:
        for host in hosts:
            tx.set(lab.host(host), pci_devices=devices, virtual_functions=functions)


async def test_every_contrailvm_has_its_device_and_all_of_its_memory(scene):
    async with scene(hosts=2, deploy=False) as lab:
        equip(lab, "esx-00", "esx-01")
        lab.apply(PCI)
        await lab.until(lambda: lab.healed() and lab.converged(), seconds=1800)
        for vm in lab.contrailvms():
            assert vm.passthrough == ("8086:1583",)
            assert vm.memory_reservation == vm.memory_mb and vm.memory_locked

        await lab.scenario.delete_vm(lab.on("esx-00"))
        await lab.until(lambda: lab.healed() and lab.converged(), seconds=1800)
        assert lab.on("esx-00").passthrough == ("8086:1583",)


async def test_f17_a_host_without_the_device_is_told_of_and_the_others_serve(scene):
    async with scene(hosts=3, deploy=False) as lab:
        equip(lab, "esx-00", "esx-02")
        lab.apply(PCI)
        await lab.until(lambda: {"esx-00", "esx-02"} <= {h for h in lab.served() if lab.forwarding(h)}, seconds=1800)
        await lab.until(lambda: "No host device matches PCI device 8086:1583" in lab.alarms("esx-01"), seconds=600)
        assert "esx-01" not in lab.served() and lab.alarms("esx-00") == lab.alarms("esx-02") == ""
        assert len(lab.contrailvms()) == 3, "nothing is deployed again and again"

        equip(lab, "esx-01")
        await lab.until(lambda: lab.healed() and lab.converged(), seconds=3600)


async def test_a_virtual_function_carries_the_underlay(scene):
    async with scene(hosts=1, deploy=False) as lab:
        equip(lab, "esx-00", functions=4)
        lab.apply(SRIOV)
        await lab.until(lambda: lab.healed() and lab.converged(), seconds=1800)
        vm = lab.on("esx-00")
        card = next(nic for nic in vm.nics if nic.kind == "VirtualSriovEthernetCard")
        assert card.network.name == "mgmt" and vm.memory_reservation == vm.memory_mb
        (key,) = lab.manager.notebook.desired
        told = lab.manager.office._configuration(key, vm.host.moid, vm.moid)
        assert [nic.mac for nic in told.nics if nic.role == "underlay"] == [card.mac]
        await asyncio.sleep(600)
        assert len(lab.on("esx-00").nics) == len(vm.nics), "it is added once"


async def test_a_wrong_name_of_a_device_is_a_mistake_in_the_file(scene):
    async with scene(hosts=1, deploy=False) as lab:
        with pytest.raises(DesiredStateError, match=r"devices\.pci"):
            lab.apply(PCI.replace("8086:1583", "8086-1583"))
        with pytest.raises(DesiredStateError, match="mgmt"):
            lab.apply(SRIOV.replace('"mgmt"\n', '"mgnt"\n').replace('management = "mgnt"', 'management = "mgmt"'))
