"""Every position of the switches of vCenter's own services, read by a client."""

import dataclasses
import gzip
import http.client

import pytest
from foreign import PC, connect, context, run, spec_of, updates
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter.authorization import Account, Accounts


@pytest.fixture
def vcenter_options():
    timing = dataclasses.replace(Timing.instant(), latest_page=1.0)
    return {"hosts": 2, "vms": 130, "verify_fragments": True, "guests": False, "timing": timing}


def all_vms(content):
    return content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)


@pytest.mark.parametrize("allowed", [True, False])
async def test_paths_into_arrays(vcenter, allowed):
    vcenter.scenario.set_switch("vc.keyed_paths", str(allowed).lower())
    path = "config.hardware.device[4000].macAddress"

    def work():
        content = connect(vcenter.ready).content
        vm = content.searchIndex.FindByInventoryPath("DC0/vm/vm-0000")
        spec = spec_of(vm, kind=vim.VirtualMachine, paths=["name", path])
        if allowed:
            (found,) = content.propertyCollector.RetrieveContents([spec])
            assert len(found.propSet) == 2
            content.propertyCollector.CreateFilter(spec, False)
            return
        for call in (
            lambda: content.propertyCollector.RetrieveContents([spec]),
            lambda: content.propertyCollector.CreateFilter(spec, False),
        ):
            with pytest.raises(vmodl.query.InvalidProperty) as refused:
                call()
            assert refused.value.name == path

    await run(work)


@pytest.mark.parametrize(("honoured", "size"), [(True, 130), (False, 100)])
async def test_pages_above_the_policy(vcenter, honoured, size):
    vcenter.scenario.set_switch("vc.pages_above_policy", str(honoured).lower())

    def work():
        content = connect(vcenter.ready).content
        spec = spec_of(all_vms(content), kind=vim.VirtualMachine, paths=["name"])
        asked = PC.RetrieveOptions(maxObjects=500)
        first = content.propertyCollector.RetrievePropertiesEx([spec], asked)
        assert len(first.objects) == size
        assert (first.token is None) is honoured
        content.propertyCollector.CreateFilter(spec, False)
        update = updates(content.propertyCollector, "", most=500)
        assert sum(len(part.objectSet) for part in update.filterSet) == size
        assert update.truncated is not honoured
        unasked = content.propertyCollector.RetrievePropertiesEx([spec], PC.RetrieveOptions())
        assert len(unasked.objects) == 100

    await run(work)


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("chunked", [True, False])
async def test_compressed_answers(vcenter, on, chunked):
    vcenter.scenario.set_switch("vc.gzip", str(on).lower())
    body = (
        b'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><RetrieveServiceContent'
        b' xmlns="urn:vim25"><_this type="ServiceInstance">ServiceInstance</_this></RetrieveServiceContent></e:Body>'
        b"</e:Envelope>"
    )

    def ask(**headers):
        host, _, port = vcenter.ready["url"].removeprefix("https://").removesuffix("/sdk").rpartition(":")
        connection = http.client.HTTPSConnection(host, int(port), context=context(vcenter.ready), timeout=10)
        try:
            connection.request("POST", "/sdk", iter([body]) if chunked else body, headers, encode_chunked=chunked)
            answer = connection.getresponse()
            return answer.headers.get("Content-Encoding"), answer.read()
        finally:
            connection.close()

    def work():
        plain = ask()
        assert plain[0] is None
        coding, data = ask(**{"Accept-Encoding": "gzip, deflate"})
        assert coding == ("gzip" if on else None)
        assert (gzip.decompress(data) if on else data) == plain[1]
        content = connect(vcenter.ready).content  # pyVmomi asks for it
        assert len(all_vms(content).view) == 130

    await run(work)


@pytest.mark.parametrize("when", ["prompt", "late", "never"])
async def test_when_the_latest_event_shows(vcenter, when):
    vcenter.scenario.set_switch("vc.latest_event", when)

    def work():
        content = connect(vcenter.ready).content
        vm = content.searchIndex.FindByInventoryPath("DC0/vm/vm-0000")
        watch = content.propertyCollector.CreatePropertyCollector()
        watch.CreateFilter(spec_of(content.eventManager, kind=vim.event.EventManager, paths=["latestEvent"]), False)
        version = updates(watch, "").version
        while (update := updates(watch, version, wait=0)) is not None:  # what the login and the views posted
            version = update.version
        if when == "late":
            version = updates(watch, version, wait=20).version  # the login's; nothing is on its way any more
        content.eventManager.LogUserEvent(vm, "now")
        at_once = updates(watch, version, wait=0)
        assert (at_once is not None) is (when == "prompt")
        if when == "late":
            later = updates(watch, version, wait=20)
            assert later.filterSet[0].objectSet[0].changeSet[0].val.message == "now"
        assert content.eventManager.latestEvent.message == "now"

    await run(work)


@pytest.mark.parametrize(("how", "pages"), [("cut_first", [0, 0, 1]), ("filtered_first", [1])])
async def test_events_of_hidden_objects(vcenter, how, pages):
    vcenter.scenario.set_switch("vc.restricted_event_pages", how)
    vcenter.world.service(Accounts).add(Account("op@vsphere.local", "secret", by_permissions=True))

    def work():
        administrator = connect(vcenter.ready).content
        find = administrator.searchIndex.FindByInventoryPath
        hidden, shown = find("DC0/vm/vm-0001"), find("DC0/vm/vm-0000")
        role = next(item.roleId for item in administrator.authorizationManager.roleList if item.name == "ReadOnly")
        permission = vim.AuthorizationManager.Permission(
            principal="VSPHERE.LOCAL\\op", group=False, roleId=role, propagate=True
        )
        administrator.authorizationManager.SetEntityPermissions(shown, [permission])
        kinds = ["vim.event.VmStoppingEvent", "vim.event.VmPoweredOffEvent"]
        operator = connect(vcenter.ready, "op@vsphere.local", "secret").content
        wanted = vim.event.EventFilterSpec(eventTypeId=kinds)
        cursor = operator.eventManager.CreateCollectorForEvents(wanted)
        WaitForTask(hidden.PowerOff())
        WaitForTask(shown.PowerOff())
        assert len(administrator.eventManager.QueryEvents(wanted)) == 4
        assert {item.vm.name for item in operator.eventManager.QueryEvents(wanted)} == {"vm-0000"}
        assert {item.vm.name for item in cursor.latestPage} == {"vm-0000"}
        assert [len(cursor.ReadNextEvents(1)) for _ in pages] == pages
        rest = [cursor.ReadNextEvents(1) for _ in range(4)]
        assert sum(map(len, rest)) == 1
        assert {item.vm.name for page in rest for item in page} == {"vm-0000"}

    await run(work)


async def test_sessions_have_a_ceiling(vcenter):
    vcenter.scenario.set_switch("vc.most_sessions", "2")

    def work():
        first = connect(vcenter.ready)
        connect(vcenter.ready)
        with pytest.raises(http.client.HTTPException, match="503"):
            connect(vcenter.ready)
        first.content.sessionManager.Logout()
        connect(vcenter.ready)

    await run(work)
