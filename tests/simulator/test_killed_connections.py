"""Whatever is killed, and when: a client that asks again with the version it has ends with what a fresh read shows.

Over real TLS connections, which die before a request is served, while it waits, after it was done, and in the middle
of its answer; the session lives on and the client resumes it. The version of a truncated answer is good for one
question: where the answer to that is lost, the client must begin anew, and is told so.
"""

import asyncio
import ssl
from urllib.parse import urlparse

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyVmomi import vim, vmodl
from test_property_updates import check_ports, prepared, step

from contrail_vsphere.wire.soap.decode import ResponseDecoder
from contrail_vsphere.wire.soap.encode import encode_request
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.metadata import method_of
from contrail_vsphere.wire.soap.objects import value_to_text

PC = vmodl.query.PropertyCollector
VERSION = "vim.version.v8_0_3_0"
PATHS = {
    vim.VirtualMachine: ["name", "runtime.host", "runtime.powerState", "config.hardware.device"],
    vim.HostSystem: ["name", "vm", "runtime.connectionState"],
    vim.dvs.DistributedVirtualPortgroup: ["name", "portKeys"],
}
KILLS = ("before", "done", "cut", "all", "waiting")


class Killed(Exception):
    """The connection went away instead of an answer."""


class Wire:
    """A client of one session, over as many connections as it takes."""

    def __init__(self, ready):
        self.ready, self.cookie, self.streams = ready, "", None

    async def ask(self, ref, name, **args):
        method = method_of(ref, name)
        body = encode_request(method, ref, args, version=VERSION)
        try:
            answer = await self._exchange(body)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            self.close()
            raise Killed from error
        decoder = ResponseDecoder(method)
        decoder.feed(answer)
        return decoder.close()

    async def surely(self, ref, name, **args):
        """Again until there is an answer."""
        for _ in range(8):
            try:
                return await self.ask(ref, name, **args)
            except Killed:
                continue
        raise AssertionError(f"{name} gets no answer")

    async def _exchange(self, body):
        if self.streams is None:
            url = urlparse(self.ready["url"])
            tls = ssl.create_default_context(cafile=self.ready["ca_file"])
            self.streams = await asyncio.open_connection(url.hostname, url.port, ssl=tls)
        reader, writer = self.streams
        head = f"POST /sdk HTTP/1.1\r\nHost: x\r\nCookie: {self.cookie}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        if "set-cookie" in fields:
            self.cookie = fields["set-cookie"].partition(";")[0]
        return await reader.readexactly(int(fields["content-length"]))

    def close(self):
        if self.streams is not None:
            self.streams[1].transport.abort()
            self.streams = None


class Follower:
    """Keeps what updates told, as ``Client`` of the random walk does, but over the wire."""

    def __init__(self, wire):
        self.wire, self.version, self.known = wire, "", {}
        self.lost = self.anew = 0
        self.used = self.truncated = False

    async def begin(self):
        ask, ready = self.wire.surely, self.wire.ready
        content = await ask(vim.ServiceInstance("ServiceInstance"), "RetrieveServiceContent")
        self.collector = content.propertyCollector
        await ask(content.sessionManager, "Login", userName=ready["username"], password=ready["password"])
        view = await ask(
            content.viewManager, "CreateContainerView", container=content.rootFolder, type=list(PATHS), recursive=True
        )
        step = PC.TraversalSpec(name="v", type=type(view), path="view", skip=False)
        self.spec = PC.FilterSpec(
            propSet=[PC.PropertySpec(type=kind, pathSet=paths) for kind, paths in PATHS.items()],
            objectSet=[PC.ObjectSpec(obj=view, skip=True, selectSet=[step])],
        )
        await ask(self.collector, "CreateFilter", spec=self.spec, partialUpdates=False)

    async def poll(self, most=None, wait=0):
        options = PC.WaitOptions(maxWaitSeconds=wait, maxObjectUpdates=most)
        try:
            update = await self.wire.ask(self.collector, "WaitForUpdatesEx", version=self.version, options=options)
        except Killed:
            self.lost += 1
            self.used = self.truncated
            return True
        except SoapFault as fault:
            assert (fault.kind, self.used) == ("InvalidCollectorVersion", True)
            self.version, self.known, self.used, self.truncated = "", {}, False, False
            self.anew += 1
            return True
        if update is None:
            return False
        assert update.version != self.version, "versions never repeat"
        self.version, self.truncated, self.used = update.version, bool(update.truncated), False
        for item in [item for part in update.filterSet for item in part.objectSet]:
            assert not item.missingSet
            moid = item.obj._moId
            if item.kind == "leave":
                del self.known[moid]
                continue
            if item.kind == "enter":
                self.known[moid] = {}
            for change in item.changeSet:
                self.known[moid][change.name] = text(change.val)
        return True

    async def settle(self):
        while await self.poll():
            pass

    async def fresh(self):
        found = {}
        for item in await self.wire.surely(self.collector, "RetrieveProperties", specSet=[self.spec]):
            found[item.obj._moId] = {prop.name: text(prop.val) for prop in item.propSet}
        return found


def text(value):
    return None if value is None else value_to_text(value)


def kill(simulator, how, choice):
    """What shall become of the next requests."""
    rule = {"method": "WaitForUpdatesEx", "times": 1 + choice % 2}
    if how == "before":
        simulator.scenario.add_fault(**rule, drop=True)
    elif how == "done":
        simulator.scenario.add_fault(**rule, drop_reply=True)
    elif how == "cut":
        simulator.scenario.add_fault(**rule, truncate=choice * 40)


ACTIONS = ["create", "on", "off", "rename", "delete", "move", "plug", "card", "group", "ungroup", "add", "disconnect"]
STEPS = st.one_of(
    st.tuples(st.sampled_from(ACTIONS), st.integers(0, 20)),
    st.tuples(st.just("poll"), st.sampled_from([0, 1, 2])),
    st.tuples(st.sampled_from(KILLS), st.integers(0, 20)),
)


async def killed_while_waiting(simulator, follower, choice):
    """A change comes, and the connections go, while the answer is on its way."""
    waiting = asyncio.ensure_future(follower.poll(wait=5))
    await asyncio.sleep(0.01 * (choice % 3))
    changing = asyncio.ensure_future(step(simulator, "rename", choice))
    for _ in range(choice % 4):
        await asyncio.sleep(0)
    simulator.server.drop_connections()
    await asyncio.gather(waiting, changing)


async def walked(steps):
    """All of it, and what the client believes afterwards."""
    simulator = await prepared()
    wire = Wire(simulator.ready)
    try:
        follower = Follower(wire)
        await follower.begin()
        await follower.settle()
        for action, choice in steps:
            if action == "poll":
                await follower.poll(most=choice or None)
            elif action == "all":
                simulator.server.drop_connections()
            elif action == "waiting":
                await killed_while_waiting(simulator, follower, choice)
            elif action in KILLS:
                kill(simulator, action, choice)
            else:
                await step(simulator, action, choice)
                check_ports(simulator.world)
        await follower.settle()
        believed = {moid: {k: v for k, v in values.items() if v} for moid, values in follower.known.items()}
        assert believed == await follower.fresh()
        assert not simulator.world.defects
    finally:
        wire.close()
        await simulator.stop()


@given(steps=st.lists(STEPS, max_size=14))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_killed_connection_loses_nothing(steps):
    asyncio.run(walked(steps))


@pytest.mark.soak
@given(steps=st.lists(STEPS, max_size=60))
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_many_killed_connections_lose_nothing(steps):
    asyncio.run(walked(steps))


@pytest.mark.parametrize(("how", "anew"), [("before", 0), ("done", 1), ("cut", 1)])
async def test_a_lost_page_of_a_truncated_answer_is_a_version_that_is_gone(how, anew):
    simulator = await prepared()
    wire = Wire(simulator.ready)
    try:
        follower = Follower(wire)
        await follower.begin()
        await follower.poll(most=1)
        kill(simulator, how, 2)
        await follower.poll(most=1)
        await follower.settle()
        assert (follower.lost, follower.anew) == (1, anew)
        believed = {moid: {k: v for k, v in values.items() if v} for moid, values in follower.known.items()}
        assert believed == await follower.fresh()
    finally:
        wire.close()
        await simulator.stop()


async def test_what_was_begun_is_done_once_although_its_caller_was_killed():
    simulator = await prepared()
    wire = Wire(simulator.ready)
    try:
        follower = Follower(wire)
        await follower.begin()
        vm = simulator.inventory["vm-0000"]
        simulator.scenario.add_fault(method="PowerOffVM_Task", drop_reply=True, times=1)
        try:
            await wire.ask(vm.ref, "PowerOffVM_Task")
            raise AssertionError("the answer should be lost")
        except Killed:
            pass
        while await follower.poll(wait=1):
            if follower.known.get(vm.moid, {}).get("runtime.powerState", "").find("poweredOff") >= 0:
                break
        assert vm.power_state == "poweredOff"
        assert len(simulator.events.of_type("VmPoweredOffEvent")) == 1
    finally:
        wire.close()
        await simulator.stop()
