"""What a client makes of its updates equals what it would read afresh, whatever happens and however it asks."""

import asyncio
import copy
import random
import re
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyVmomi import vim, vmodl

from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.session import Session
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.core.world import World
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
    DistributedVirtualPortgroup,
    DistributedVirtualSwitch,
)
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.wire.soap.fault import SoapFault

PC = vmodl.query.PropertyCollector
VERSION = "vim.version.v8_0_3_0"
PATHS = {
    vim.VirtualMachine: [
        "name",
        "parent",
        "runtime.host",
        "runtime.powerState",
        "config.hardware.device",
        "config.extraConfig",
        "guest.ipAddress",
        "summary",
        "resourcePool",
        "datastore",
        "network",
        "snapshot",
    ],
    vim.HostSystem: ["name", "vm", "runtime", "datastore", "network", "summary.runtime", "configManager"],
    vim.ResourcePool: ["name", "vm"],
    vim.Folder: ["name", "childEntity"],
    vim.ComputeResource: ["name", "host", "network", "datastore"],
    vim.Datastore: ["name", "vm", "host"],
    vim.Network: ["name", "vm", "host"],
    vim.DistributedVirtualSwitch: ["name", "portgroup", "summary", "config", "runtime"],
    vim.dvs.DistributedVirtualPortgroup: ["config", "portKeys"],
}


class Client:
    """Keeps what the updates told: object -> path -> text of the value."""

    def __init__(self, simulator, *, partial=False):
        self.partial = partial
        self.simulator, self.world = simulator, simulator.world
        now = self.world.clock.now()
        self.session = Session(
            key=str(id(self)), user="tester", full_name="", extension=True, login_time=now, last_active=now
        )
        self.call = Call(world=self.world, user="tester", version=VERSION, session=self.session)
        self.collector = self.world.get("propertyCollector")
        self.known = {}
        self.version = ""
        self.given = set()
        self.last_event = 0
        self.told = 0
        self.world.observe(self.check_events)

    def filter(self, root, specs, steps=(), skip=True):
        spec = PC.FilterSpec(
            propSet=[PC.PropertySpec(type=kind, pathSet=paths) for kind, paths in specs.items()],
            objectSet=[PC.ObjectSpec(obj=root, skip=skip, selectSet=list(steps))],
        )
        self.spec = spec
        return self.collector.create_filter(self.call, spec=spec, partialUpdates=self.partial)

    def view(self, kinds, container="group-d1", recursive=True):
        manager = self.world.get("ViewManager")
        return manager.create_container_view(
            self.call, container=self.world.get(container).ref, type=list(kinds), recursive=recursive
        )

    def over_view(self, view, specs):
        step = PC.TraversalSpec(name="v", type=type(view.ref), path="view", skip=False)
        return self.filter(view.ref, specs, [step])

    async def poll(self, most=None, wait=0):
        options = PC.WaitOptions(maxWaitSeconds=wait, maxObjectUpdates=most)
        update = await self.collector.wait_for_updates_ex(self.call, version=self.version, options=options)
        if update is None:
            return False
        assert update.version not in self.given, "versions never repeat"
        self.given.add(update.version)
        self.version = update.version
        for item in [item for part in update.filterSet for item in part.objectSet]:
            assert not item.missingSet
            moid = item.obj.moid
            if item.kind == "leave":
                del self.known[moid]
                continue
            if item.kind == "enter":
                self.known[moid] = {}
            for change in item.changeSet:
                name, operation, value = re.fullmatch(
                    r"<changeSet><name>(.*?)</name><op>(.*?)</op>(.*)</changeSet>", change, re.DOTALL
                ).groups()
                if operation == "assign" and not name.endswith("]"):
                    self.known[moid][name] = value
                else:
                    self.element(self.known[moid], name, operation, value)
        return update

    @staticmethod
    def element(known, name, operation, value):
        """An element of an array came, changed or went."""
        path, _, key = name.rpartition("[")
        array = elements(known[path])
        assert (f"[{key}" in array) is (operation != "add")
        array.pop(f"[{key}", None)
        if operation != "remove":
            ((given, found),) = elements(f"<val>{value}</val>").items()
            array[given] = found
            assert given == f"[{key}"
        known[path] = array

    async def settle(self, most=None):
        while await self.poll(most):
            pass

    def fresh(self):
        found = {}
        for item in self.collector.retrieve_properties(self.call, specSet=[self.spec]):
            values = found[item.obj.moid] = {}
            for prop in item.propSet:
                name, value = re.fullmatch(r"<propSet><name>(.*?)</name>(.*)</propSet>", prop, re.DOTALL).groups()
                values[name] = value
        return found

    def check_events(self, done):
        """An event comes with the commit that it tells of: what it says is true by then, and was not before."""
        for event in done.events:
            assert event.key > self.last_event, "keys grow"
            self.last_event = event.key
            said = TRUE_OF.get(type(event).__name__.removeprefix("vim.event."))
            if said is not None:
                self.told += 1
                assert said(self.world, event), event

    def believed(self):
        return {moid: {k: v for k, v in values.items() if v} for moid, values in self.known.items()}


def vm_of(world, event):
    return world.get(event.vm.vm._moId)


TRUE_OF = {
    "VmPoweredOnEvent": lambda world, event: vm_of(world, event).power_state == "poweredOn",
    "DrsVmPoweredOnEvent": lambda world, event: vm_of(world, event).power_state == "poweredOn",
    "VmStartingEvent": lambda world, event: vm_of(world, event).power_state != "poweredOn",
    "VmPoweredOffEvent": lambda world, event: vm_of(world, event).power_state == "poweredOff",
    "VmSuspendedEvent": lambda world, event: vm_of(world, event).power_state == "suspended",
    "VmRenamedEvent": lambda world, event: vm_of(world, event).name == event.newName,
    "VmMigratedEvent": lambda world, event: vm_of(world, event).host.moid == event.host.host._moId,
    "DrsVmMigratedEvent": lambda world, event: vm_of(world, event).host.moid == event.host.host._moId,
    "VmCreatedEvent": lambda world, event: vm_of(world, event) is not None,
    "VmRemovedEvent": lambda world, event: vm_of(world, event) is None,
    "HostAddedEvent": lambda world, event: world.get(event.host.host._moId) is not None,
    "HostRemovedEvent": lambda world, event: world.get(event.host.host._moId) is None,
    "HostConnectedEvent": lambda world, event: world.get(event.host.host._moId).connection_state == "connected",
    "HostDisconnectedEvent": lambda world, event: world.get(event.host.host._moId).connection_state == "disconnected",
    "EnteredMaintenanceModeEvent": lambda world, event: world.get(event.host.host._moId).in_maintenance,
    "ExitMaintenanceModeEvent": lambda world, event: not world.get(event.host.host._moId).in_maintenance,
    "DVPortgroupCreatedEvent": lambda world, event: world.get(event.net.network._moId) is not None,
    "DVPortgroupDestroyedEvent": lambda world, event: world.get(event.net.network._moId) is None,
    "DvsPortConnectedEvent": lambda world, event: world.get(event.dvs.dvs._moId).ports.get(event.portKey).connected,
}
"""Event -> what must be so once it can be seen."""


def elements(array):
    """An array as XML: its elements by their keys."""
    if isinstance(array, dict):
        return array
    bound = array.replace("<val", '<val xmlns:xsi="x" xmlns:xsd="y"', 1)
    found = {}
    for item in ElementTree.fromstring(bound):
        key = item.findtext("key")
        found[f"[{key}]" if key.lstrip("-").isdigit() else f'["{key}"]'] = plain(item)
    return found


def plain(item):
    """An element without its own name, which is another one in an array than alone."""
    kind = item.get("{x}type") or item.tag
    return (kind, item.text or "", [(child.tag, plain(child)) for child in item])


async def prepared(**options):
    simulator = VCenterSimulator(
        **{"timing": Timing.instant(), "hosts": 3, "clusters": 2, "vms": 6, "guests": False, "verify_fragments": True}
        | options
    )
    await simulator.start()
    return simulator


def tree_steps():
    again = [PC.SelectionSpec(name=name) for name in ("f", "dv", "dh", "cr", "hv")]
    return [
        PC.TraversalSpec(name="f", type=vim.Folder, path="childEntity", skip=False, selectSet=again),
        PC.TraversalSpec(name="dv", type=vim.Datacenter, path="vmFolder", skip=False, selectSet=again),
        PC.TraversalSpec(name="dh", type=vim.Datacenter, path="hostFolder", skip=False, selectSet=again),
        PC.TraversalSpec(name="cr", type=vim.ComputeResource, path="host", skip=False, selectSet=again),
        PC.TraversalSpec(name="hv", type=vim.HostSystem, path="vm", skip=False),
    ]


async def step(simulator, action, choice):
    """One thing that happens; what vCenter refuses is not our business here."""
    scenario, world = simulator.scenario, simulator.world
    vms, hosts = list(world.of_type(VirtualMachine)), list(world.of_type(HostSystem))
    if not hosts or (not vms and action in OF_VMS):
        return
    vm = vms[choice % len(vms)] if vms else None
    host = hosts[choice % len(hosts)]
    verbs = {
        "create": lambda: scenario.create_vm(f"new-{world.seq}", host=hosts[choice % len(hosts)]),
        "on": lambda: scenario.power_on(vm),
        "off": lambda: scenario.power_off(vm),
        "suspend": lambda: scenario.suspend(vm),
        "rename": lambda: scenario.rename_vm(vm, f"name-{choice}"),
        "delete": lambda: scenario.delete_vm(vm),
        "move": lambda: scenario.move_vm(vm, hosts[(choice * 7) % len(hosts)]),
        "add": lambda: scenario.add_host(f"host-{world.seq}"),
        "maintain": lambda: scenario.enter_maintenance(host, deadline=1),
        "leave": lambda: scenario.exit_maintenance(host),
        "disconnect": lambda: scenario.disconnect_host(host),
        "reconnect": lambda: scenario.reconnect_host(host),
        "remove": lambda: scenario.remove_host(host),
        "crash": lambda: scenario.crash_host(host),
        "boot": lambda: scenario.boot_host(host),
        "snapshot": lambda: call(vm, "CreateSnapshot_Task", name="s", memory=bool(choice % 2), quiesce=False),
        "revert": lambda: call(vm, "RevertToCurrentSnapshot_Task"),
        "forget": lambda: call(vm, "RemoveAllSnapshots_Task"),
        "plug": lambda: plug(world, vm, choice),
        "group": lambda: group(world, choice),
        "regroup": lambda: regroup(world, choice),
        "ungroup": lambda: call(chosen_group(world, choice), "Destroy_Task"),
        "ports": lambda: write_port(world, choice),
        "card": lambda: cards(vm, choice),
    }
    try:
        await asyncio.wait_for(verbs[action](), 5)
    except (SoapFault, TimeoutError):
        return


async def call(entity, method, **arguments):
    """An operation as a client calls it, to its end."""
    task = entity.operations[method].function(entity, SimpleNamespace(user="walker", world=entity.world), **arguments)
    await task.done()


def chosen_group(world, choice):
    groups = [item for item in world.of_type(DistributedVirtualPortgroup) if not item.uplink]
    if not groups:
        raise SoapFault(vim.fault.NotFound(), "no port group yet")
    return groups[choice % len(groups)]


async def plug(world, vm, choice):
    """The first card goes to a port group."""
    chosen = chosen_group(world, choice)
    port = vim.dvs.PortConnection(switchUuid=chosen.dvs.uuid, portgroupKey=chosen.moid)
    card = vim.vm.device.VirtualVmxnet3(
        key=4000, backing=vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port)
    )
    change = vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)
    await call(vm, "ReconfigVM_Task", spec=vim.vm.ConfigSpec(deviceChange=[change]))


async def cards(vm, choice):
    """A card more, or the last one less."""
    kind = vim.vm.device
    if choice % 2 and len(vm.nics) > 1:
        change = kind.VirtualDeviceSpec(operation="remove", device=kind.VirtualVmxnet3(key=vm.nics[-1].key))
    else:
        backing = kind.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network")
        change = kind.VirtualDeviceSpec(operation="add", device=kind.VirtualVmxnet3(key=-1, backing=backing))
    await call(vm, "ReconfigVM_Task", spec=vim.vm.ConfigSpec(deviceChange=[change]))


async def group(world, choice):
    dvs = next(world.of_type(DistributedVirtualSwitch))
    kind = ("earlyBinding", "ephemeral")[choice % 2]
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(name=f"g-{world.seq}", numPorts=3, type=kind)
    await call(dvs, "CreateDVPortgroup_Task", spec=spec)


async def regroup(world, choice):
    switch = vim.dvs.VmwareDistributedVirtualSwitch
    vlan = switch.VlanIdSpec(inherited=False, vlanId=1 + choice)
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(defaultPortConfig=switch.VmwarePortConfigPolicy(vlan=vlan))
    await call(chosen_group(world, choice), "ReconfigureDVPortgroup_Task", spec=spec)


async def write_port(world, choice):
    """Block or unblock a port of the group."""
    chosen = chosen_group(world, choice)
    setting = vim.dvs.VmwareDistributedVirtualSwitch.VmwarePortConfigPolicy(
        blocked=vim.BoolPolicy(inherited=False, value=bool(choice % 2))
    )
    keys = list(chosen.dvs.ports.of_group(chosen))
    if keys:
        spec = vim.dvs.DistributedVirtualPort.ConfigSpec(operation="edit", key=keys[0], setting=setting)
        await call(chosen.dvs, "ReconfigureDVPort_Task", port=[spec])


def check_ports(world):
    """No port belongs to two cards, and each card's port says so."""
    cards = [(vm, nic) for vm in world.of_type(VirtualMachine) for nic in vm.nics if nic.port_key]
    assert len({(nic.network.dvs.uuid, nic.port_key) for _, nic in cards}) == len(cards)
    for vm, nic in cards:
        port = nic.network.dvs.ports.get(nic.port_key)
        assert (port.vm, port.nic_key, port.cookie) == (vm, nic.key, nic.connection_cookie)


OF_VMS = ["on", "off", "suspend", "rename", "delete", "move", "snapshot", "revert", "forget", "plug", "card"]
OF_GROUPS = ["group", "regroup", "ungroup", "ports"]
ACTIONS = [
    *OF_VMS,
    *OF_GROUPS,
    "create",
    "add",
    "maintain",
    "leave",
    "disconnect",
    "reconnect",
    "remove",
    "crash",
    "boot",
]


@pytest.mark.looptime
@pytest.mark.parametrize("seed", range(12))
async def test_random_walk_leaves_every_client_with_what_a_fresh_read_shows(seed):
    chance = random.Random(seed)
    simulator = await prepared(seed=seed)
    try:
        by_view, by_type, by_walk = Client(simulator), Client(simulator), Client(simulator)
        by_view.over_view(by_view.view([vim.ManagedEntity]), PATHS)
        by_type.over_view(by_type.view([vim.VirtualMachine], container=simulator.inventory["C0"].moid), PATHS)
        by_walk.filter(simulator.world.get("group-d1").ref, PATHS, tree_steps(), skip=False)
        for _ in range(40):
            await step(simulator, chance.choice(ACTIONS), chance.randrange(100))
            check_ports(simulator.world)
            for client in (by_view, by_type, by_walk):
                if chance.random() < 0.5:
                    await client.poll(most=chance.choice([None, 1, 2, 5]))
        for client in (by_view, by_type, by_walk):
            await client.settle(most=3)
            assert client.believed() == client.fresh()
            assert client.told > 10
        assert not simulator.world.defects
    finally:
        await simulator.stop()


@pytest.mark.looptime
@pytest.mark.parametrize("seed", range(6))
async def test_a_client_with_partial_updates_puts_its_arrays_together(seed):
    chance = random.Random(seed)
    simulator = await prepared(seed=seed)
    paths = {vim.VirtualMachine: ["name", "config.hardware.device", "config.extraConfig", "runtime.host"]}
    names = 0
    try:
        client = Client(simulator, partial=True)
        client.over_view(client.view([vim.VirtualMachine]), paths)
        earlier = []
        for _ in range(60):
            await step(simulator, chance.choice([*OF_VMS, *OF_GROUPS, "create", "plug", "card"]), chance.randrange(100))
            if chance.random() < 0.2:
                earlier.append((client.version, copy.deepcopy(client.known)))
            if earlier and chance.random() < 0.2:  # the answers since then were lost
                client.version, client.known = earlier.pop()
            while chance.random() < 0.7:
                update = await client.poll(most=chance.choice([None, 1, 2]))
                if update is False:
                    break
                names += sum(
                    "[" in change for part in update.filterSet for item in part.objectSet for change in item.changeSet
                )
                if update.truncated:
                    await client.settle()
        await client.settle()
        fresh = client.fresh()
        for moid, values in client.believed().items():
            for path, value in values.items():
                if path in ("config.hardware.device", "config.extraConfig"):
                    assert elements(value) == elements(fresh[moid][path])
                else:
                    assert value == fresh[moid][path]
        assert client.known.keys() == fresh.keys()
        assert names
        assert not simulator.world.defects
    finally:
        await simulator.stop()


@given(actions=st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 20), st.booleans()), max_size=12))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_sequence_of_happenings(actions):
    async def walk():
        simulator = await prepared()
        try:
            client = Client(simulator)
            client.over_view(client.view([vim.ManagedEntity]), PATHS)
            for action, choice, poll in actions:
                if action in ("maintain", "crash", "boot"):
                    continue  # these take time even with instant timing; the walk above has them in virtual time
                await step(simulator, action, choice)
                check_ports(simulator.world)
                if poll:
                    await client.poll(most=2)
            await client.settle(most=2)
            assert client.believed() == client.fresh()
            assert not simulator.world.defects
        finally:
            await simulator.stop()

    asyncio.run(walk())


@pytest.mark.looptime
async def test_a_lost_journal_is_an_invalid_version_and_a_fresh_start_helps(monkeypatch):
    simulator = await prepared()
    try:
        client = Client(simulator)
        client.over_view(client.view([vim.VirtualMachine]), PATHS)
        await client.settle()
        vm = simulator.inventory["vm-0000"]
        for number in range(simulator.world.journal.maxlen // 2 + 10):
            with simulator.world.commit() as tx:
                tx.set(vm, annotation=f"{number}")
                tx.touch(vm, "triggeredAlarmState")
        with pytest.raises(SoapFault) as lost:
            await client.poll()
        assert lost.value.kind == "InvalidCollectorVersion"
        client.version, client.known = "", {}
        await client.settle()
        assert client.believed() == client.fresh()
    finally:
        await simulator.stop()


@pytest.mark.looptime
async def test_waiting_takes_the_time_that_was_asked_for_and_ends_with_the_session(looptime):
    simulator = await prepared()
    try:
        client = Client(simulator)
        client.over_view(client.view([vim.VirtualMachine]), PATHS)
        await client.settle()
        before = asyncio.get_running_loop().time()
        assert not await client.poll(wait=60)
        assert asyncio.get_running_loop().time() - before == pytest.approx(60, abs=1)
        waiting = asyncio.create_task(client.poll(wait=600))
        await asyncio.sleep(1)
        client.session.end()
        with pytest.raises(SoapFault) as ended:
            await waiting
        assert ended.value.kind in ("RequestCanceled", "NotAuthenticated")
    finally:
        await simulator.stop()


@pytest.mark.looptime
async def test_bursts_of_events_are_merged_in_the_latest_page():
    simulator = await prepared()
    try:
        client = Client(simulator)
        collector = simulator.events.create_collector(client.call, filter=vim.event.EventFilterSpec())
        client.filter(collector.ref, {vim.event.EventHistoryCollector: ["latestPage"]}, skip=False)
        await client.settle()
        seen = 0
        for _ in range(50):
            for _ in range(10):
                with simulator.world.commit("x") as tx:
                    tx.event(vim.event.GeneralUserEvent(message="burst", createdTime=simulator.world.clock.now()))
            await asyncio.sleep(0.05)
            seen += bool(await client.poll())
        assert 2 <= seen <= 5  # 2.5 s, at most one update a second, and one at once
        assert len(simulator.events.of_type("GeneralUserEvent")) == 500
    finally:
        await simulator.stop()


def test_a_world_alone_refuses_a_second_open_commit():
    world = World()

    async def go():
        with world.commit(), pytest.raises(RuntimeError), world.commit():
            pass

    asyncio.run(go())
