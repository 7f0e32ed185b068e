"""Simulated guests: whatever runs in the world boots, and a ContrailVM enrols with a real bootstrap server."""

import asyncio

import aiohttp
import pytest

from contrail_vsphere.contrail.introspect import Introspect
from contrail_vsphere.model.errors import Unreachable
from contrail_vsphere.simulator.core.faults import FaultBook, FaultRule
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.core.world import World
from contrail_vsphere.simulator.guest.runtime import GuestRuntime
from contrail_vsphere.simulator.vcenter import host_life, vm_life
from contrail_vsphere.simulator.vcenter.compute_resource import ClusterComputeResource
from contrail_vsphere.simulator.vcenter.devices import NicState
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.network import Network
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.simulator.vcenter.vm_wiring import attach
from contrail_vsphere.simulator.vrouter.fleet import VRouterFleet
from contrailvm_guest.firstboot import CERTIFICATE, ENROLMENT, KEY

pytestmark = pytest.mark.looptime

BIOS = "42214f3e-1111-2222-3333-444455556666"


class Lab:
    """One cluster with one host, guests that boot, and verbs for what vCenter does to VMs."""

    def __init__(self, timing):
        self.world = World(seed=1)
        self.world.services[Timing] = timing
        self.faults = self.world.services[FaultBook] = FaultBook(self.world.random)
        self.fleet = VRouterFleet(clock=self.world.clock)
        self.runtime = GuestRuntime(self.world, self.fleet)
        with self.world.commit() as tx:
            cluster = tx.add(ClusterComputeResource(world=self.world, moid="domain-c1", name="C0"))
            self.host = tx.add(HostSystem(world=self.world, moid="host-1", name="esx-00", uuid="h", parent=cluster))
            tx.set(cluster, hosts=(self.host,))
            self.networks = [tx.add(Network(world=self.world, moid=f"network-{n}", name=f"net-{n}")) for n in (1, 2)]

    def vm(self, *, moid="vm-1", bios=BIOS, **properties):
        nics = tuple(
            NicState(key=4000 + n, mac=f"00:50:56:80:00:0{n + 1}", network=network, unit=7 + n)
            for n, network in enumerate(self.networks)
        )
        vm = VirtualMachine(
            world=self.world,
            moid=moid,
            name=f"name of {moid}",
            instance_uuid="5021" + bios[4:],
            bios_uuid=bios,
            host=self.host,
            nics=nics,
            vapp_properties={f"contrailvm.{key}": value for key, value in properties.items()},
            ovf_transport=("com.vmware.guestInfo",) if properties else (),
        )
        with self.world.commit() as tx:
            attach(tx, vm)
        return vm

    def contrail_vm(self, manager, url, **options):
        return self.vm(
            manager_url=url,
            manager_ca_sha256=manager.ca_sha256,
            bootstrap_token=manager.mint(bios_uuid=options.get("bios", BIOS)),
            agency_id="agency-1",
            **options,
        )

    def power(self, vm, *, on):
        with self.world.commit() as tx:
            (vm_life.started if on else vm_life.stopped)(tx, vm)

    async def forwards(self, vm):
        async with aiohttp.ClientSession() as http:
            return await Introspect(http).forwards(vm.guest_ip)


@pytest.fixture
async def lab():
    lab = Lab(Timing.real())
    await lab.runtime.start()
    yield lab
    await lab.runtime.stop()


async def test_a_contrail_vm_becomes_a_vrouter(lab, manager, url):
    vm = lab.contrail_vm(manager, url)
    lab.power(vm, on=True)
    await asyncio.sleep(20)
    assert (vm.tools_running, vm.heartbeat, vm.guest_ip) == (False, "gray", "")
    await asyncio.sleep(30)
    assert (vm.tools_running, vm.heartbeat) == (True, "green")
    assert vm.guest_ip.startswith("127.")
    assert await lab.forwards(vm)
    assert lab.runtime.guest(vm).outcome.roles == {"management": "ens160", "overlay": "ens192"}
    assert {channel.controller for channel in lab.fleet.agents["vm-1"].channels} == {"10.0.0.11"}
    assert manager.certified.keys() == {BIOS}


async def test_a_tenant_gets_tools_and_an_address_only(lab):
    vm = lab.vm()
    lab.power(vm, on=True)
    await asyncio.sleep(30)
    assert (vm.tools_running, vm.heartbeat, vm.guest_ip) == (True, "green", "10.128.0.1")
    assert lab.fleet.agents == {}
    lab.power(vm, on=False)
    await asyncio.sleep(1)
    assert (vm.tools_running, vm.heartbeat, vm.guest_ip) == (False, "gray", "")


async def test_a_power_cycle_keeps_enrolment_and_address_and_spends_no_token(lab, manager, url):
    vm = lab.contrail_vm(manager, url)
    lab.power(vm, on=True)
    await asyncio.sleep(60)
    address, key = vm.guest_ip, lab.runtime.disk(vm).files[KEY]
    lab.power(vm, on=False)
    await asyncio.sleep(1)
    async with aiohttp.ClientSession() as http:
        with pytest.raises(Unreachable):
            await Introspect(http).forwards(address)
    lab.power(vm, on=True)
    await asyncio.sleep(60)
    assert (vm.guest_ip, lab.runtime.disk(vm).files[KEY]) == (address, key)
    assert lab.runtime.guest(vm).outcome.source == "manager"
    assert await lab.forwards(vm)


async def test_destruction_takes_the_enrolment_with_it(lab, manager, url):
    vm = lab.contrail_vm(manager, url)
    lab.power(vm, on=True)
    await asyncio.sleep(60)
    lab.power(vm, on=False)
    await vm_life.destroy(lab.world, vm)
    await asyncio.sleep(1)
    assert lab.fleet.agents == {}
    again = lab.contrail_vm(manager, url)
    assert ENROLMENT not in lab.runtime.disk(again).files


async def test_a_reset_boots_anew_even_where_no_time_passes(manager, url):
    lab = Lab(Timing.instant())
    await lab.runtime.start()
    vm = lab.contrail_vm(manager, url)
    lab.power(vm, on=True)
    await asyncio.sleep(5)
    first = lab.runtime.guest(vm)
    await vm_life.reset(lab.world, vm)
    await asyncio.sleep(5)
    assert lab.runtime.guest(vm) is not first
    assert vm.tools_running
    assert await lab.forwards(vm)
    await lab.runtime.stop()


async def test_a_host_crash_takes_the_guests_down_and_the_boot_brings_them_back(lab, manager, url):
    vm = lab.contrail_vm(manager, url)
    lab.power(vm, on=True)
    await asyncio.sleep(60)
    address = vm.guest_ip
    await host_life.crash(lab.world, lab.host)
    await asyncio.sleep(1)
    async with aiohttp.ClientSession() as http:
        with pytest.raises(Unreachable):
            await Introspect(http).forwards(address)
    with lab.world.commit() as tx:
        tx.set(lab.host, crashed=False)
        vm_life.stopped(tx, vm)
    lab.power(vm, on=True)
    await asyncio.sleep(60)
    assert await lab.forwards(vm)


async def test_a_guest_that_boots_on_a_crashed_host_reports_nothing(lab):
    vm = lab.vm()
    lab.power(vm, on=True)
    await asyncio.sleep(10)
    await host_life.crash(lab.world, lab.host)
    await asyncio.sleep(60)
    assert not vm.tools_running


async def test_a_refused_guest_starts_no_vrouter_and_tries_again(lab, manager, url):
    vm = lab.contrail_vm(manager, url)
    await manager.redeem(vm.vapp_properties["contrailvm.bootstrap_token"], _thief())
    lab.power(vm, on=True)
    await asyncio.sleep(200)
    assert (vm.tools_running, lab.fleet.agents["vm-1"].life) == (True, "stopped")
    failures = lab.runtime.guest(vm).failures
    assert len(failures) >= 2
    assert "the token is unknown, used" in failures[0]


def _thief():
    from contrail_vsphere.contrailvm.bootstrap.request import GuestIdentity

    return GuestIdentity("", BIOS, "vm-1", "agency-1", (), key_sha256="the thief's")


async def test_a_death_of_the_program_is_made_good(lab, manager, url):
    vm = lab.contrail_vm(manager, url)
    lab.faults.add(FaultRule(point="guest.firstboot", where={"step": "WriteFile"}, skip=2, times=1, drop=True))
    lab.power(vm, on=True)
    await asyncio.sleep(60)
    assert CERTIFICATE not in lab.runtime.disk(vm).files
    await asyncio.sleep(60)
    assert lab.runtime.guest(vm).failures == ["killed at WriteFile"]
    assert await lab.forwards(vm)


@pytest.mark.parametrize("point", ["guest.boot", "guest.heartbeat", "vrouter.connect"])
async def test_fault_points(lab, manager, url, point):
    vm = lab.contrail_vm(manager, url)
    lab.faults.add(FaultRule(point=point, moid="vm-1", drop=True))
    lab.power(vm, on=True)
    await asyncio.sleep(120)
    alive = lab.fleet.agents["vm-1"].life == "running"
    assert (vm.tools_running, alive) == {
        "guest.boot": (False, False),
        "guest.heartbeat": (False, True),
        "vrouter.connect": (True, True),
    }[point]
    assert lab.fleet.agents["vm-1"].forwards is (point == "guest.heartbeat")


async def test_a_hung_guest_and_its_recovery(lab, manager, url):
    vm = lab.contrail_vm(manager, url)
    lab.power(vm, on=True)
    await asyncio.sleep(60)
    await lab.runtime.hang(vm)
    assert vm.heartbeat == "red"
    with pytest.raises(Unreachable, match="in time"):
        await lab.forwards(vm)
    lab.runtime.recover(vm)
    assert await lab.forwards(vm)


async def test_the_ovf_environment_is_that_of_the_power_on(lab, manager, url):
    vm = lab.contrail_vm(manager, url)
    token = vm.vapp_properties["contrailvm.bootstrap_token"]
    lab.power(vm, on=True)
    with lab.world.commit() as tx:
        tx.set(vm, vapp_properties={**vm.vapp_properties, "contrailvm.bootstrap_token": "changed while it runs"})
    await asyncio.sleep(60)
    assert token.encode() in lab.runtime.guest(vm).machine.environment
    assert await lab.forwards(vm)


async def test_fifty_contrail_vms_at_once(lab, manager, url):
    vms = [
        lab.contrail_vm(manager, url, moid=f"vm-{n}", bios=f"42214f3e-1111-2222-3333-4444555{n:05d}") for n in range(50)
    ]
    for vm in vms:
        lab.power(vm, on=True)
    await asyncio.sleep(90)
    assert all(lab.fleet.agents[vm.moid].forwards for vm in vms)
    assert len({vm.guest_ip for vm in vms}) == 50
    assert len(manager.certified) == 50
