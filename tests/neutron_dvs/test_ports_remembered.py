"""DVPorts that a worker knows are written without a read; whoever else changes them, what Neutron says comes about."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyVmomi import vim

from contrail_vsphere.ml2.worker.apply import Applier, Outcome
from contrail_vsphere.ml2.worker.desired import PortSecurity, Rule, Wanted, WantedPort
from contrail_vsphere.ml2.worker.plan import EditPort, Rules
from contrail_vsphere.ml2.worker.port_memory import RememberedPorts
from contrail_vsphere.ml2.worker.sight import Sight
from contrail_vsphere.ml2.worker.wiring import Wiring
from contrail_vsphere.model.errors import ContrailVsphereError, NotReadyYet
from contrail_vsphere.model.traffic_filter import FilteredGroupSpec, FilteredPortEdit
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualSwitch
from contrail_vsphere.simulator.vcenter.dvs_settings import rules
from contrail_vsphere.vsphere.vcenter import Endpoint, PasswordLogin, VCenter
from contrail_vsphere.wire.soap.types import vim as wire_vim
from contrail_vsphere.wire.soap.values import reference

pytestmark = pytest.mark.looptime
READ, WRITE = "FetchDVPorts", "ReconfigureDVPort_Task"
WEB = Rule(ingress=True, version=4, remotes=("10.0.0.0/24",), protocol=6, ports=(80, 80), stateful=False)
SSH = replace(WEB, ports=(22, 22))
PORT = "0f0f0f0f-0000-4000-8000-00000000000{}".format
FEWEST = 5
"""Rules of a port that nothing is allowed to: DHCP, ARP, and the drops."""


@dataclass
class Site:
    """VMs with a card each on a port group of ours, and the part of a worker that writes their DVPorts."""

    simulator: VCenterSimulator
    client: VCenter
    wanted: dict[str, WantedPort] = field(default_factory=dict)

    @property
    def dvs(self):
        objects = self.simulator.world.objects.values()
        return next(each for each in objects if isinstance(each, DistributedVirtualSwitch))

    async def prepare(self):
        self.ports = RememberedPorts(self.client)
        self.wiring = Wiring(self.ports, Applier(self.ports, allowed=lambda: None), Rules(cloud="cloud"))
        self.client.inventory.subscribe(self.ports.noticed)
        await self.ports.create(self.dvs.moid, [FilteredGroupSpec("os-n", "cloud/n/s", "n", vlan=7)])
        self.group = next(group for group in self.dvs.portgroups if group.name == "os-n")
        self.vms = list(self.simulator.scenario.vms())
        for number in range(len(self.vms)):
            await self.plug(number)
            self.want(number)

    def want(self, number, *wanted_rules, up=True):
        security = PortSecurity(enabled=True, addresses=(f"10.0.0.{number + 1}",), rules=wanted_rules)
        self.wanted[PORT(number)] = WantedPort(
            PORT(number), "n", "s", self.mac(number), "host", admin_up=up, status="ACTIVE", security=security
        )

    def mac(self, number):
        return f"00:50:56:00:00:0{number}"

    def nic(self, number):
        return next((nic for nic in self.vms[number].nics if nic.mac == self.mac(number)), None)

    def dv_port(self, number):
        return self.dvs.ports.get(self.nic(number).port_key)

    async def plug(self, number, key=None):
        connection = vim.dvs.PortConnection(switchUuid=self.dvs.uuid, portgroupKey=self.group.moid, portKey=key)
        backing = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=connection)
        card = vim.vm.device.VirtualVmxnet3(key=-1, addressType="manual", macAddress=self.mac(number), backing=backing)
        await self._change(number, "add", card)

    async def unplug(self, number):
        await self._change(number, "remove", vim.vm.device.VirtualVmxnet3(key=self.nic(number).key))

    async def _change(self, number, operation, card):
        spec = vim.vm.ConfigSpec(deviceChange=[vim.vm.device.VirtualDeviceSpec(operation=operation, device=card)])
        vm = reference(wire_vim.VirtualMachine, self.vms[number].moid)
        await self.client.run_task(vm, "ReconfigVM_Task", spec=spec)

    async def somebody_writes(self, number, **setting):
        """By hand, as vCenter's own pages do it."""
        spec = vim.dvs.DistributedVirtualPort.ConfigSpec(
            operation="edit", key=self.nic(number).port_key,
            setting=vim.dvs.VmwareDistributedVirtualSwitch.VmwarePortConfigPolicy(**setting),
        )  # fmt: skip
        await self.client.run_task(
            reference(wire_vim.dvs.VmwareDistributedVirtualSwitch, self.dvs.moid), WRITE, port=[spec]
        )

    def sight(self):
        """What vCenter's updates have told."""
        inventory = self.client.inventory
        return Sight(
            cloud="cloud", dvss=inventory.dvss.values(), networks=inventory.networks.values(),
            vms=inventory.vms.values(),
        )  # fmt: skip

    async def look(self, *numbers, sight=None):
        """A pass over these ports (over all, where none is named), as the worker makes it."""
        sight = sight or self.sight()
        chosen = {at: port for at, port in self.wanted.items() if not numbers or at in map(PORT, numbers)}
        wanted, outcome = Wanted(ports=chosen, complete=not numbers), Outcome()
        wires = await self.wiring.planned(wanted, sight, {})
        actions = await self.wiring.done(wires, wanted, sight, {}, outcome)
        return outcome, [action for action in actions if isinstance(action, EditPort)]

    async def seen(self, number):
        """Until vCenter's updates have told of the card."""
        nic = self.nic(number)
        expected = (nic.port_key, nic.key) if nic is not None else None

        def told():
            vm = self.client.inventory.vms.get(self.vms[number].moid)
            found = [(each.port_key, each.key) for each in vm.nics if each.mac == self.mac(number)] if vm else []
            return (found[0] if found else None) == expected

        changed = asyncio.Event()
        stop = self.client.inventory.subscribe(lambda _: changed.set())
        async with asyncio.timeout(60):
            while not told():
                changed.clear()
                await changed.wait()
        stop()

    async def spent(self, work):
        before = dict(self.simulator.scenario.stats()["calls"])
        found = await work
        after = self.simulator.scenario.stats()["calls"]
        return found, tuple(after.get(name, 0) - before.get(name, 0) for name in (READ, WRITE))

    def judge(self):
        """DVPorts are what Neutron wants of them; what has no card is nobody's."""
        for number in range(len(self.vms)):
            wanted, nic = self.wanted[PORT(number)], self.nic(number)
            if nic is None:
                continue
            port = self.dv_port(number)
            assert port.name == PORT(number)
            assert (getattr(port.override, "blocked", None) is None) is wanted.admin_up
            accepted = {
                rule.qualifier[0].destinationIpPort.portNumber
                for rule in rules(port.override)
                if getattr(rule.qualifier[0], "destinationIpPort", None) is not None
            } - {67, 68}
            assert accepted == {rule.ports[0] for rule in wanted.security.rules}
            assert len(port.override.filterPolicy.filterConfig) == 1


@contextlib.asynccontextmanager
async def site(vms=2) -> AsyncIterator[Site]:
    simulator = VCenterSimulator(hosts=1, vms=vms, timing=Timing.instant(), guests=False)
    await simulator.start()
    try:
        ready = simulator.ready
        host, _, port = ready["url"].removeprefix("https://").removesuffix("/sdk").rpartition(":")
        endpoint = Endpoint(host, int(port), ca_file=ready["ca_file"])
        async with VCenter(endpoint, PasswordLogin(ready["username"], ready["password"])) as client:
            client.inventory.start()
            await client.inventory.ready()
            made = Site(simulator, client)
            await made.prepare()
            for number in range(vms):
                await made.seen(number)
            yield made
    finally:
        await simulator.stop()


async def wired(made):
    """Every port as it must be, and what vCenter made of its filters read."""
    await made.look()
    await made.wiring.confirm()
    made.judge()


async def test_what_is_known_is_written_without_a_read():
    async with site() as made:
        await wired(made)
        for wanted_rules, up in (((), False), ((), True), ((WEB,), True), ((SSH,), False)):
            made.want(0, *wanted_rules, up=up)
            (outcome, edits), spent = await made.spent(made.look(0))
            assert (len(edits), outcome.failed) == (1, {})
            assert spent == (0, 1)
            made.judge()
        made.wanted[PORT(0)] = None
        (outcome, _), spent = await made.spent(made.look(0))
        assert (outcome.closed, spent) == (1, (0, 1))
        assert (made.dv_port(0).name, made.dv_port(0).override) == ("", None)


async def test_a_change_of_state_leaves_the_filter_as_it_is():
    async with site() as made:
        await wired(made)
        before = made.dv_port(0).override.filterPolicy
        made.want(0, up=False)
        await made.look(0)
        assert made.dv_port(0).override.filterPolicy is before
        assert made.dv_port(0).override.blocked.value


async def test_new_filters_are_read_once_and_only_where_that_was_not_done_yet():
    async with site() as made:
        await made.look()
        _, spent = await made.spent(made.wiring.confirm())
        assert spent == (1, 0)
        _, spent = await made.spent(made.wiring.confirm())
        assert spent == (0, 0)
        await made.unplug(0)
        await made.plug(0)
        await made.seen(0)
        await made.look(0)
        made.want(0, WEB)
        (_, edits), spent = await made.spent(made.look(0))
        assert (len(edits), spent) == (1, (1, 1))
        made.judge()


async def test_who_wrote_between_costs_a_read_and_is_corrected():
    async with site() as made:
        await wired(made)
        closed = vim.BoolPolicy(inherited=False, value=True)
        await made.somebody_writes(0, blocked=closed)
        made.want(0, WEB)
        made.want(1, WEB)
        (outcome, edits), spent = await made.spent(made.look(0, 1))
        assert outcome.failed == {}
        assert sorted(edit.port_id for edit in edits) == [PORT(0), PORT(1)]
        assert spent == (1, 3)
        made.judge()
        assert "blocked is True" in next(edit.why for edit in edits if edit.port_id == PORT(0))
        made.want(0, SSH)
        _, spent = await made.spent(made.look(0))
        assert spent == (0, 1)
        made.judge()


async def test_a_port_that_was_reset_is_not_taken_for_what_it_was():
    async with site() as made:
        made.want(0, WEB)
        await wired(made)
        key = made.nic(0).port_key
        await made.unplug(0)
        await made.plug(0, key)
        await made.seen(0)
        assert made.dv_port(0).override is None
        (_, edits), _ = await made.spent(made.look(0))
        assert len(edits) == 1
        made.judge()


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("everything", [False, True])
async def test_what_a_card_has_left_is_not_written_for_it(taken, everything):
    """Updates may be late, most of all after a lost session: the port itself says whose it is."""
    async with site() as made:
        made.want(0, WEB)
        await wired(made)
        late, key = made.sight(), made.nic(0).port_key
        await made.unplug(0)
        if taken:
            await made.unplug(1)
            await made.plug(1, key)
        numbers = () if everything else (0,)
        outcome, edits = await made.look(*numbers, sight=late)
        assert PORT(0) not in [edit.port_id for edit in edits]
        assert isinstance(outcome.failed["port", PORT(0)], NotReadyYet), "it is looked at again"
        assert made.dvs.ports.get(key).override is None, "vCenter has reset it, and that is how it stays"
        for number in range(2):
            await made.seen(number)
        outcome, _ = await made.look()
        assert outcome.failed == {}
        assert made.dvs.ports.get(key).name == (PORT(1) if taken else "")
        made.judge()


@pytest.mark.parametrize("everything", [False, True])
async def test_what_a_card_has_left_and_a_deleted_port_has_named_is_closed(everything):
    """The worst of both: the card's updates are late, and the DVPort bears the name of a port that is gone."""
    async with site() as made:
        await wired(made)
        late, key = made.sight(), made.nic(0).port_key
        await made.unplug(0)
        edit = FilteredPortEdit(key, made.dvs.ports.get(key).config_version, PORT(9))
        await made.ports.edit(made.dvs.moid, [replace(edit, version=str(edit.version))])
        numbers = () if everything else (0,)
        outcome, _ = await made.look(*numbers, sight=late)
        assert set(outcome.failed) == {("port", PORT(0))} | (set() if everything else {("port", PORT(9))})
        made.wanted[PORT(9)] = None
        await made.seen(0)
        outcome, _ = await made.look(0, 9)
        assert outcome.failed == {}
        assert made.dvs.ports.get(key).name == ""


async def test_a_port_becomes_active_by_what_was_read_alone():
    async with site() as made:
        await wired(made)
        made.wanted[PORT(0)] = replace(made.wanted[PORT(0)], status="DOWN")
        closed = vim.BoolPolicy(inherited=False, value=True)
        await made.somebody_writes(0, blocked=closed)
        _, edits = await made.look(0)
        assert len(edits) == 1
        made.judge()


async def test_where_versions_are_counted_otherwise_every_write_is_preceded_by_a_read():
    async with site() as made:
        await wired(made)
        for number, up in enumerate((False, True, False, True)):
            made.want(0, up=up)
            (outcome, _), spent = await made.spent(made.look(0))
            assert outcome.failed == {}
            assert spent == ((0, 1), (1, 2), (1, 1), (1, 1))[number]
            made.judge()
            # As if this vCenter had counted on by two for what was written.
            same = made.dv_port(0).override.blocked or vim.BoolPolicy(inherited=True)
            await made.somebody_writes(0, blocked=same)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("want", "want", "want", "block", "open", "replug", "confirm", "all", "fault", "lost")),
        st.integers(0, 1), st.sampled_from(((), (WEB,), (SSH,), (WEB, SSH))), st.booleans(),
    ), min_size=10, max_size=30,
)  # fmt: skip


async def walk(steps):
    async with site() as made:
        await made.look()
        for kind, number, wanted_rules, up in steps:
            if kind == "want":
                made.want(number, *wanted_rules, up=up)
                await made.look(number)
            elif kind in ("block", "open"):
                setting = (
                    {"blocked": vim.BoolPolicy(inherited=False, value=up)}
                    if kind == "block"
                    else {"filterPolicy": vim.dvs.DistributedVirtualPort.FilterPolicy(inherited=True)}
                )
                with contextlib.suppress(ContrailVsphereError):  # a fault may be theirs
                    await made.somebody_writes(number, **setting)
            elif kind == "replug":
                await made.unplug(number)
                await made.plug(number)
                if up:
                    await made.seen(number)
            elif kind == "confirm":
                await made.wiring.confirm()
            elif kind == "all":
                await made.look()
            else:
                how = {"fault": "ConcurrentAccess"} if kind == "fault" else {"drop_reply": True}
                made.simulator.scenario.add_fault(method=WRITE, times=1, **how)
        made.simulator.scenario.clear_faults()
        for number in range(2):
            await made.seen(number)
            made.want(number, WEB, up=bool(number))
        outcome, _ = await made.look(0, 1)
        assert outcome.failed == {}
        await made.look()
        made.judge()
        assert (await made.look(0, 1))[1] == []


@settings(max_examples=5, deadline=None)
@given(steps=STEPS)
async def test_whatever_happens_between_what_neutron_says_comes_about(steps):
    await walk(steps)


@pytest.mark.soak
@settings(max_examples=300, deadline=None)
@given(steps=STEPS)
async def test_whatever_happens_between_many_times(steps):
    await walk(steps)
