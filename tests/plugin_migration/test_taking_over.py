"""From the Java plugin and contrail-vcenter-manager to ours: what they made is taken over, and nobody notices."""

import asyncio
from uuid import NAMESPACE_DNS, uuid3

import pytest
from plugin_stand import PluginStand
from predecessors import CVM, JAVA, PORT, FormerSite

from contrail_vsphere.vcenter_plugin.plan.migration import migration

pytestmark = pytest.mark.looptime


async def site(stand, *, creator, vlans):
    """VMs of a predecessor in a port group of its making: with VLANs, objects and plugs."""
    network = stand.contrail.scenario.create_network("red", "10.1.0.0/24")
    await stand.left_group("red")
    vms = []
    for number, vlan in enumerate(vlans):
        vm = await stand.vm(f"vm-{number}", "red", host=number % 2)
        _, interface, ip = stand.left_objects(vm, network, creator=creator)
        if vlan:
            await stand.left_vlan(vm, vlan)
            await stand.left_plug(vm, interface, ip, vlan=vlan)
        vms.append(vm)
    return vms


def watch_reach(stand, vms, cut):
    """Note every VM that, having been open with a VLAN, is shut or without one, at any commit."""

    def look(_done):
        for vm in vms:
            port = stand.port(vm)
            shut = getattr(port.override, "blocked", None)
            closed = shut.value if shut is not None and not shut.inherited else stand.group("red").setting.blocked.value
            if closed or not stand.vlan(port):
                cut.append((vm.name, stand.vlan(port), closed))

    return stand.vcenter.world.observe(look)


@pytest.mark.parametrize("creator", [JAVA, CVM])
async def test_objects_addresses_and_vlans_stay_and_no_guest_is_cut_off(tmp_path, creator):
    async with FormerSite(tmp_path / "site", migrate=True) as stand:
        # Both hosts use VLANs 1 and 2, in an order in which ours would have given them otherwise.
        vms = await site(stand, creator=creator, vlans=[2, 2, 1, 1])
        await asyncio.sleep(30)
        assert not stand.groups(), "nothing is made or marked before somebody says so"
        objects = {kind: stand.made_by(kind, creator).keys() for kind in ("virtual-machine-interface", "instance-ip")}
        addresses, before = stand.addresses(), stand.calls()
        cut = []
        look_no_more = watch_reach(stand, vms, cut)

        found = await stand.plugin.adopt()
        assert [each.group.name for each in found.groups] == ["red"]
        assert {(each.vm, each.vlan) for each in found.interfaces} == {
            ("vm-0", 2), ("vm-1", 2), ("vm-2", 1), ("vm-3", 1)
        }  # fmt: skip
        await stand.settle()
        await stand.until(lambda: stand.group("red").setting.blocked.value is True)

        look_no_more()
        assert cut == []
        assert [stand.vlan(stand.port(vm)) for vm in vms] == [2, 2, 1, 1]
        assert all(stand.is_open(stand.port(vm)) for vm in vms)
        assert stand.addresses() == addresses
        for kind, uuids in objects.items():
            assert stand.made_by(kind, creator).keys() == uuids
            assert not stand.objects(kind)
        plugged = [vmi for host in stand.vcenter.scenario.hosts() for vmi in stand.plugged(host)]
        assert sorted(plugged) == sorted(objects["virtual-machine-interface"])
        assert not [call for call in stand.written(before) if "delete" in call or "create" in call]
        names = {each.properties["display_name"] for each in stand.made_by("virtual-machine", creator).values()}
        assert names == {vm.name for vm in vms}

        before = stand.calls()
        await stand.plugin.resync()
        await stand.settle()
        assert stand.written(before) == {}

        # From now on they are ours: what vCenter deletes, Contrail loses too, restart or not.
        await stand.crash()
        await stand.resume()
        await stand.vcenter.scenario.delete_vm(vms[0])
        await stand.until(lambda: len(stand.made_by("virtual-machine", creator)) == 3)
        assert len(stand.made_by("virtual-machine-interface", creator)) == len(stand.addresses()) == 3


async def test_a_vlan_that_an_unadopted_port_has_is_given_to_nobody_else(tmp_path):
    async with FormerSite(tmp_path / "site", migrate=True) as stand:
        (old,) = await site(stand, creator=CVM, vlans=[1])
        stand.network("blue", "10.2.0.0/24")
        await stand.until(lambda: "blue" in stand.groups())
        await stand.plugin.resync()
        new = await stand.vm("new", "blue")
        await stand.until(lambda: stand.is_open(stand.port(new)))
        assert new.host is old.host
        assert stand.vlan(stand.port(new)) != 1

        # The predecessor still works, and takes the VLAN that would have been next.
        taken = stand.vlan(stand.port(new)) + 1
        await stand.left_vlan(old, taken)
        await asyncio.sleep(1)
        late = await stand.vm("late", "blue")
        await stand.until(lambda: stand.is_open(stand.port(late)))
        assert stand.vlan(stand.port(late)) not in (taken, stand.vlan(stand.port(new)))


async def test_private_vlans_of_the_central_plugin_give_way_port_by_port(tmp_path):
    async with FormerSite(tmp_path / "site", migrate=True) as stand:
        network = stand.contrail.scenario.create_network("red", "10.1.0.0/24")
        await stand.left_group("red", vlan=PORT.VlanIdSpec(inherited=False, vlanId=300), override=False)
        vms = [await stand.vm(f"vm-{number}", "red", host=number % 2) for number in range(3)]
        for vm in vms:
            _, interface, ip = stand.left_objects(vm, network, creator=JAVA)
            await stand.left_plug(vm, interface, ip, vlan=300)
        await asyncio.sleep(10)
        await stand.plugin.adopt(["red"])
        await stand.settle()
        await stand.until(lambda: stand.group("red").setting.vlan.vlanId == 0)
        for vm in vms:
            (plugged,) = [each for each in stand.plugged(vm.host).values() if each.mac == vm.nics[0].mac]
            assert plugged.rx_vlan == stand.vlan(stand.port(vm)) not in (0, 300)
        stand.check()


async def test_a_port_group_stays_open_as_long_as_a_guest_depends_on_it(tmp_path):
    async with FormerSite(tmp_path / "site", migrate=True) as stand:
        vms = await site(stand, creator=JAVA, vlans=[0, 0])
        stand.vcenter.vrouters.xmpp(vms[1].host.moid, "down")
        await asyncio.sleep(60)
        await stand.plugin.adopt()
        await stand.until(lambda: stand.is_open(stand.port(vms[0])))
        await asyncio.sleep(600)
        assert stand.group("red").setting.blocked.value is False
        (reason,) = stand.plugin.controller.pending_deletes.values()
        assert "vm-1" in reason
        assert "vm-0" not in reason
        stand.vcenter.vrouters.xmpp(vms[1].host.moid, "established")
        await stand.until(lambda: stand.group("red").setting.blocked.value is True, seconds=400)
        stand.check()


async def test_what_nothing_stands_behind_and_what_is_no_ones_is_left_alone(tmp_path):
    async with FormerSite(tmp_path / "site", migrate=True) as stand:
        vms = await site(stand, creator=JAVA, vlans=[0, 0])
        await stand.vcenter.scenario.delete_vm(vms[1])
        await stand.left_group("people's own")
        network = stand.contrail.scenario.find("virtual-network", "red")
        _, foreign, _ = stand.contrail.scenario.create_port(network, mac="00:50:56:00:00:99", creator="somebody")
        await asyncio.sleep(10)
        before = stand.calls()
        found = migration(stand.plugin.observed)
        assert stand.written(before) == {}
        assert {(each.kind, each.name) for each in found.leftovers} == {
            ("interface", "vmi-red-vm-1"), ("virtual machine", "10.84.0.7"),
        }  # fmt: skip
        await stand.plugin.adopt()
        await stand.settle()
        await asyncio.sleep(120)
        assert set(stand.groups()) == {"red"}
        assert foreign.uuid in {each.uuid for each in stand.contrail.scenario.all("virtual-machine-interface")}
        assert len(stand.made_by("virtual-machine", JAVA)) == 2


async def test_with_compat_ids_objects_are_the_ones_that_contrail_vcenter_manager_would_make(tmp_path):
    async with PluginStand(tmp_path, scheme="cvm") as stand:
        stand.network("blue")
        await stand.until(lambda: "blue" in stand.groups())
        vm, both = await stand.vm("web", "blue"), await stand.vm("two", "blue", "blue")
        await stand.settle()
        assert len({plug.rx_vlan for plug in stand.plugged(vm.host).values()}) == 3
        interfaces = {each.uuid for each in stand.objects("virtual-machine-interface")}
        assert interfaces == {str(uuid3(NAMESPACE_DNS, nic.mac)) for each in (vm, both) for nic in each.nics}
        addresses = {each.uuid for each in stand.objects("instance-ip")}
        assert len(addresses) == 3, "its id of an address is the same for both cards of a VM: one gets another"
        assert {str(uuid3(NAMESPACE_DNS, f"ip-blue-{each.name}")) for each in (vm, both)} <= addresses
        # A VM is renamed and another one takes its name: the id of the first one's address stays the first one's.
        await stand.vcenter.scenario.rename_vm(vm, "old")
        await stand.settle()
        again = await stand.vm("web", "blue")
        await stand.settle()
        assert len({plug.ip for plug in stand.plugged(vm.host).values()}) == 4
        for each in (both, again):
            await stand.vcenter.scenario.delete_vm(each)
        await stand.until(lambda: len(stand.objects("instance-ip")) == 1)
        await stand.settle()
