"""Tasks run on the simulated clock, and a client that goes away leaves nothing behind."""

import asyncio
import ssl
from urllib.parse import urlparse

import pytest

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.coverage import markdown, table
from contrail_vsphere.simulator.vcenter.task import TaskManager
from contrail_vsphere.wire.soap.decode import ResponseDecoder
from contrail_vsphere.wire.soap.encode import encode_request
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.metadata import find_method
from contrail_vsphere.wire.soap.types import vim, vmodl

VERSION = "vim.version.v8_0_3_0"
PC = vmodl.query.PropertyCollector


@pytest.fixture
def vcenter_options():
    return {"hosts": 1, "vms": 2, "guests": False, "timing": Timing.real()}


@pytest.mark.looptime
async def test_a_task_is_queued_runs_and_ends(vcenter):
    manager = vcenter.world.service(TaskManager)
    seen = []

    async def work(handle):
        await vcenter.world.clock.sleep(10)
        handle.progress(50)
        await vcenter.world.clock.sleep(10)
        return vcenter.inventory["vm-0000"]

    task = manager.start(vcenter.inventory["vm-0000"], "VirtualMachine.powerOn", work, user="me")
    vcenter.world.observe(lambda done: seen.extend(e.entity.state for e in done.entries if e.entity is task))
    assert task.info().state == "queued"
    assert (await task.done()).name == "vm-0000"
    assert seen == ["running", "running", "success"]
    info = task.info()
    assert (info.completeTime - info.startTime).total_seconds() == pytest.approx(20, abs=0.1)
    assert info.reason.userName == "me"
    assert [event.info.key for event in vcenter.events.of_type("TaskEvent")] == [task.moid]


@pytest.mark.looptime
async def test_failing_and_cancelled_tasks_end_with_their_fault(vcenter):
    manager = vcenter.world.service(TaskManager)

    async def refuses(handle):
        raise SoapFault(vim.fault.TaskInProgress(), "busy")

    async def lasts(handle):
        await vcenter.world.clock.sleep(1000)

    with pytest.raises(SoapFault) as refused:
        await manager.start(None, "x.y", refuses).done()
    assert refused.value.kind == "TaskInProgress"
    task = manager.start(None, "x.y", lasts, cancelable=True)
    await asyncio.sleep(5)
    await task.cancel_task(None)
    assert task.cancelled
    with pytest.raises(SoapFault) as cancelled:
        await task.done()
    assert cancelled.value.kind == "RequestCanceled"
    stubborn = manager.start(None, "x.y", lasts)
    with pytest.raises(SoapFault) as not_possible:
        await stubborn.cancel_task(None)
    assert not_possible.value.kind == "NotSupported"


@pytest.mark.looptime
async def test_finished_tasks_are_forgotten_in_time(vcenter):
    manager = vcenter.world.service(TaskManager)

    async def nothing(handle):
        return None

    for _ in range(2100):
        await manager.start(None, "x.y", nothing).done()
    assert sum(entity.wsdl == "Task" for entity in vcenter.world.objects.values()) <= 2001
    await asyncio.sleep(700)
    await manager.start(None, "x.y", nothing).done()
    assert len(manager.recent) == 1


class Wire:
    """A client of a few lines on a real TLS connection, in the test's own (virtual) time."""

    def __init__(self, vcenter):
        self.vcenter, self.cookie = vcenter, ""

    async def open(self):
        url = urlparse(self.vcenter.ready["url"])
        context = ssl.create_default_context(cafile=self.vcenter.ready["ca_file"])
        self.reader, self.writer = await asyncio.open_connection(url.hostname, url.port, ssl=context)
        return self

    async def send(self, ref, name, **args):
        self.method = find_method("urn:vim25", name)
        body = encode_request(self.method, ref, args, version=VERSION)
        head = f"POST /sdk HTTP/1.1\r\nHost: x\r\nSOAPAction: x\r\nCookie: {self.cookie}\r\nContent-Length: {len(body)}"
        self.writer.write(f"{head}\r\n\r\n".encode() + body)
        await self.writer.drain()

    async def call(self, ref, name, **args):
        await self.send(ref, name, **args)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        for line in head.splitlines():
            if line.startswith("Set-Cookie: "):
                self.cookie = line[12:].partition(";")[0]
            if line.startswith("Content-Length: "):
                length = int(line[16:])
        decoder = ResponseDecoder(self.method)
        decoder.feed(await self.reader.readexactly(length))
        return decoder.close()


@pytest.mark.looptime
async def test_a_connection_killed_while_waiting_leaves_nothing_and_loses_nothing(vcenter):
    wire = await Wire(vcenter).open()
    login = {"userName": vcenter.ready["username"], "password": vcenter.ready["password"]}
    await wire.call(vim.SessionManager("SessionManager"), "Login", **login)
    vm = vcenter.inventory["vm-0000"]
    collector = PC("propertyCollector")
    spec = PC.FilterSpec(
        propSet=[PC.PropertySpec(type=vim.VirtualMachine, pathSet=["name"])], objectSet=[PC.ObjectSpec(obj=vm.ref)]
    )
    await wire.call(collector, "CreateFilter", spec=spec, partialUpdates=False)
    first = await wire.call(collector, "WaitForUpdatesEx", version="")
    observers = len(vcenter.world._observers)
    await wire.send(collector, "WaitForUpdatesEx", version=first.version, options=PC.WaitOptions(maxWaitSeconds=900))
    await asyncio.sleep(1)
    assert len(vcenter.world._observers) == observers + 1
    wire.writer.transport.abort()
    await asyncio.sleep(1)
    assert len(vcenter.world._observers) == observers
    await vcenter.scenario.rename_vm(vm, "meanwhile")
    again = Wire(vcenter)
    again.cookie = wire.cookie
    await again.open()
    news = await again.call(collector, "WaitForUpdatesEx", version=first.version)
    assert news.filterSet[0].objectSet[0].changeSet[0].val == "meanwhile"
    await asyncio.sleep(1900)  # nobody calls: the session is over, whatever is open
    await again.open()
    with pytest.raises(SoapFault) as over:
        await again.call(vim.ServiceInstance("ServiceInstance"), "CurrentTime")
    assert over.value.kind == "NotAuthenticated"
    again.writer.transport.abort()


def test_the_coverage_page_is_made_from_the_code():
    served = {(row.type, row.method) for row in table() if row.served}
    assert {("PropertyCollector", "WaitForUpdatesEx"), ("VirtualMachine", "PowerOnVM_Task")} <= served
    assert "WaitForUpdatesEx" in markdown()
