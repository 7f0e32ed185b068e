"""A random walk over everything that touches ports, across the switches: what must hold after every step."""

from __future__ import annotations

import asyncio

import pytest
from dvs_lab import GROUP, SETTING, Lab, edit, policy, vlan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyVmomi import vim

from contrail_vsphere.simulator.vcenter import host_life
from contrail_vsphere.simulator.vcenter.fragments import Fragments
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.versions import VERSIONS, VIM

NUMBER = st.integers(0, 11)
WEIGHTS = {"connect": 3, "edit": 3, "disconnect": 2}
NAMES = [
    *("group", "connect", "named", "disconnect", "edit", "stale", "give_back", "resize", "setting", "revoke"),
    *("destroy_group", "power", "migrate", "away", "rectify", "remove", "destroy_vm", "members"),
]
STEPS = st.lists(
    st.tuples(st.sampled_from([name for name in NAMES for _ in range(WEIGHTS.get(name, 1))]), NUMBER, NUMBER, NUMBER),
    min_size=10,
    max_size=40,
)
SWITCHES = st.fixed_dictionaries(
    {
        "write_while_off": st.sampled_from(("persists", "lost")),
        "reset_at": st.sampled_from(("disconnect", "power_off")),
        "bulk_fault_keeps": st.sampled_from(("all", "live_hosts", "nothing")),
        "proxy_host_flips": st.sampled_from(("before", "with")),
        "proxy_host_when_off": st.booleans(),
        "auto_shrink": st.booleans(),
        "rectify_on_reconnect": st.booleans(),
        "state_is_live": st.booleans(),
    }
)
SHOWN = ("config", "summary", "runtime", "portKeys", "vm", "host", "config.host", "config.numPorts", "portgroup")


def pick(items, number):
    items = list(items)
    return items[number % len(items)] if items else None


class Walk:
    def __init__(self, switches):
        self.lab = Lab(hosts=2, clusters=1, vms=4)
        self.lab.switch(**switches)
        self.fragments = Fragments(self.lab.world, verify=True)
        self.versions, self.seen, self.gone = {}, {}, set()

    @property
    def table(self):
        return self.lab.dvs.ports

    @property
    def groups(self):
        return [group for group in self.lab.dvs.portgroups if not group.uplink]

    @property
    def vms(self):
        return list(self.lab.world.of_type(VirtualMachine))

    def own_key(self, number):
        return pick((key for group in self.groups for key in group.port_keys), number)

    async def step(self, name, one, two, three):
        before = dict(self.table.ports)
        try:
            await getattr(self, name)(one, two, three)
        except SoapFault as error:
            kept = isinstance(error.fault, vim.fault.DvsOperationBulkFault) or name in ("migrate", "power")
            assert kept or self.table.ports == before, (name, error)

    async def group(self, one, two, three):
        kind = ("earlyBinding", "ephemeral")[one % 2]
        await self.lab.group(
            f"g{len(self.gone)}-{one}-{two}",
            numPorts=two % 4,
            type=kind,
            autoExpand=bool(three % 2),
            policy=policy(block=True, vlan=True, reset=bool(three % 3)),
        )

    async def connect(self, one, two, three):
        vm, group = pick(self.vms, one), pick(self.groups, two)
        if vm is not None and group is not None:
            await self.lab.connect(vm, group)

    async def named(self, one, two, three):
        vm, group = pick(self.vms, one), pick(self.groups, two)
        if vm is not None and group is not None and group.port_keys:
            await self.lab.connect(vm, group, pick(group.port_keys, three))

    async def disconnect(self, one, two, three):
        vm = pick(self.vms, one)
        if vm is not None and vm.nics:
            await self.lab.disconnect(vm, pick(vm.nics, two))

    async def edit(self, one, two, three):
        keys = dict.fromkeys((self.own_key(one), self.own_key(two)))
        specs = [edit(key, vlan=three + 1, blocked=bool(three % 2)) for key in keys if key is not None]
        await self.lab.edit(*specs)

    async def stale(self, one, two, three):
        key = self.own_key(one)
        if key is not None:
            await self.lab.edit(edit(key, version=str(two), vlan=three + 1))

    async def give_back(self, one, two, three):
        key = self.own_key(one)
        if key is not None:
            await self.lab.edit(edit(key, vlan=vlan(0, inherited=True)))

    async def resize(self, one, two, three):
        if group := pick(self.groups, one):
            await self.lab.run(group, "ReconfigureDVPortgroup_Task", spec=GROUP.ConfigSpec(numPorts=two))

    async def setting(self, one, two, three):
        if group := pick(self.groups, one):
            spec = GROUP.ConfigSpec(defaultPortConfig=SETTING(vlan=vlan(two)))
            await self.lab.run(group, "ReconfigureDVPortgroup_Task", spec=spec)

    async def revoke(self, one, two, three):
        if group := pick(self.groups, one):
            spec = GROUP.ConfigSpec(policy=policy(block=bool(two % 2), vlan=bool(three % 2)))
            await self.lab.run(group, "ReconfigureDVPortgroup_Task", spec=spec)

    async def destroy_group(self, one, two, three):
        if group := pick(self.groups, one):
            await self.lab.run(group, "Destroy_Task")

    async def power(self, one, two, three):
        if vm := pick(self.vms, one):
            await self.lab.run(vm, "PowerOnVM_Task" if vm.power_state == "poweredOff" else "PowerOffVM_Task")

    async def migrate(self, one, two, three):
        if vm := pick(self.vms, one):
            host = pick(self.lab.hosts, two)
            await self.lab.run(vm, "MigrateVM_Task", priority="defaultPriority", host=host.ref)

    async def away(self, one, two, three):
        host = pick(self.lab.hosts, one)
        if host.connection_state == "connected":
            await host_life.lose_connection(self.lab.world, host)
        else:
            await host_life.reconnect(self.lab.world, host)

    async def rectify(self, one, two, three):
        await self.lab.run(self.lab.dvs, "RectifyDvsHost_Task", hosts=[])

    async def remove(self, one, two, three):
        key = self.own_key(one)
        if key is not None:
            await self.lab.edit(edit(key, operation="remove"))

    async def destroy_vm(self, one, two, three):
        if vm := pick(self.vms, one):
            await self.lab.run(vm, "Destroy_Task")

    async def members(self, one, two, three):
        names = [f"vmnic{number}" for number in range(two % 3)]
        backing = vim.dvs.HostMember.PnicBacking(
            pnicSpec=[vim.dvs.HostMember.PnicSpec(pnicDevice=name) for name in names]
        )
        operation = ("edit", "remove", "add")[three % 3]
        member = vim.dvs.HostMember.ConfigSpec(operation=operation, host=pick(self.lab.hosts, one).ref, backing=backing)
        spec = vim.dvs.VmwareDistributedVirtualSwitch.ConfigSpec(host=[member])
        await self.lab.run(self.lab.dvs, "ReconfigureDvs_Task", spec=spec)

    # -- what must hold -----------------------------------------------------------------------------------------

    def check(self):
        self.check_cards()
        self.check_versions()
        self.check_indexes()
        for entity in (self.lab.dvs, *self.lab.dvs.portgroups, *self.lab.hosts, *self.vms):
            for path in SHOWN:
                self.fragments.value(entity, path, VERSIONS[VIM].newest)

    def check_cards(self):
        """No port belongs to two, none to nobody; cards and ports agree."""
        cards = {}
        for vm in self.vms:
            for nic in vm.nics:
                if nic.port_key:
                    assert nic.port_key not in cards
                    cards[nic.port_key] = vm, nic
        for key, port in self.table.ports.items():
            assert key == port.key
            assert (port.vm is not None) is (key in cards), key
            if key in cards:
                vm, nic = cards[key]
                assert (port.vm, port.nic_key, port.cookie, port.group) == (
                    vm,
                    nic.key,
                    nic.connection_cookie,
                    nic.network,
                )
                if vm.power_state == "poweredOn":
                    assert port.proxy_host is vm.host
            elif not port.group.uplink:
                assert (port.proxy_host, port.state, port.in_force, port.cookie) == (None, None, None, 0)
        assert cards.keys() <= self.table.ports.keys()

    def check_versions(self):
        """A version never stands for two settings, and a key never for two ports."""
        for key, port in self.table.ports.items():
            assert key not in self.gone
            last = self.versions.get(key)
            if last is not None:
                assert port.config_version >= last[0]
                assert port.config_version > last[0] or port.override is last[1]
            self.versions[key] = port.config_version, port.override
        self.gone |= self.versions.keys() - self.table.ports.keys()

    def check_indexes(self):
        """What the indexes answer is what a scan finds."""
        ports = sorted(self.table.ports.values(), key=lambda port: port.order)
        for group in self.lab.dvs.portgroups:
            mine = [port for port in ports if port.group is group]
            free = [port.key for port in mine if not port.connected]
            assert self.table.of_group(group) == [port.key for port in mine]
            assert list(self.table.used_in([group])) == [port for port in mine if port.connected]
            assert self.table.lowest_free(group) == (free[0] if free else "")
            assert self.table.free_count(group) == len(free)
        assert {port.group for port in ports} <= set(self.lab.dvs.portgroups)
        for host in self.lab.hosts:
            assert self.table.on_host(host) == [port for port in ports if port.proxy_host is host]


async def walk(switches, steps):
    made = Walk(switches)
    await made.group(0, 2, 1)
    made.check()
    for step in steps:
        await made.step(*step)
        made.check()
    assert not made.lab.world.defects


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(SWITCHES, STEPS)
def test_ports_stay_sound(switches, steps):
    asyncio.run(walk(switches, steps))


@pytest.mark.soak
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(SWITCHES, STEPS)
def test_ports_stay_sound_for_long(switches, steps):
    asyncio.run(walk(switches, steps))
