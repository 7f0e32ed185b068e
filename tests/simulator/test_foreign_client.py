"""pyVmomi's own client cannot tell our vCenter from a real one, where it looks."""

import asyncio
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from foreign import PC, connect, eam_stub, run, spec_of, tunnel_stub, updates
from pyVim.task import WaitForTask
from pyVmomi import eam, vim, vmodl

# pyVmomi leaves the sockets of refused logins to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl:ResourceWarning")


def view_of(si, *kinds):
    content = si.RetrieveContent()
    return content.viewManager.CreateContainerView(content.rootFolder, list(kinds), True)


async def test_connects_at_the_release_version_and_finds_every_manager(vcenter):
    def client():
        si = connect(vcenter.ready)
        assert si._stub.versionId == '"urn:vim25/8.0.3.0"'
        content = si.RetrieveContent()
        assert content.about.apiVersion == "8.0.3.0"
        unset = [p.name for p in content._GetPropertyList() if getattr(content, p.name) is None]
        newer = ["directPathProfileManager"]  # came with 9.0
        assert unset == ["dynamicType", "accountManager", *newer]
        assert si.CurrentTime().tzinfo is not None
        assert content.sessionManager.currentSession.userName == vcenter.ready["username"]

    await run(client)


async def test_pages_hold_100_whatever_is_asked_for(vcenter):
    def client():
        si = connect(vcenter.ready)
        collector = si.content.propertyCollector
        spec = spec_of(view_of(si, vim.VirtualMachine), kind=vim.VirtualMachine, paths=["name", "runtime.host"])
        page = collector.RetrievePropertiesEx([spec], PC.RetrieveOptions(maxObjects=1000))
        sizes, names, tokens = [], set(), []
        while page is not None:
            sizes.append(len(page.objects))
            names.update(prop.val for item in page.objects for prop in item.propSet if prop.name == "name")
            tokens.append(page.token)
            page = collector.ContinueRetrievePropertiesEx(page.token) if page.token else None
        assert sizes == [100, 100, 50]
        assert len(names) == 250
        with pytest.raises(vmodl.fault.InvalidArgument):
            collector.ContinueRetrievePropertiesEx(tokens[0])
        small = collector.RetrievePropertiesEx([spec], PC.RetrieveOptions(maxObjects=7))
        assert len(small.objects) == 7
        collector.CancelRetrievePropertiesEx(small.token)
        with pytest.raises(vmodl.fault.InvalidArgument):
            collector.ContinueRetrievePropertiesEx(small.token)

    await run(client)


async def test_recursive_traversal_by_name_walks_the_whole_tree(vcenter):
    def client():
        si = connect(vcenter.ready)
        content = si.RetrieveContent()
        again = [PC.SelectionSpec(name=name) for name in ("folder", "dc-vm", "dc-host", "cr-host")]
        steps = [
            PC.TraversalSpec(name="folder", type=vim.Folder, path="childEntity", skip=False, selectSet=again),
            PC.TraversalSpec(name="dc-vm", type=vim.Datacenter, path="vmFolder", skip=False, selectSet=again),
            PC.TraversalSpec(name="dc-host", type=vim.Datacenter, path="hostFolder", skip=False, selectSet=again),
            PC.TraversalSpec(name="cr-host", type=vim.ComputeResource, path="host", skip=False),
        ]
        spec = PC.FilterSpec(
            propSet=[PC.PropertySpec(type=vim.ManagedEntity, pathSet=["name", "parent"])],
            objectSet=[PC.ObjectSpec(obj=content.rootFolder, skip=False, selectSet=steps)],
        )
        found = content.propertyCollector.RetrieveProperties([spec])
        kinds = {}
        for item in found:
            kinds[type(item.obj).__name__] = kinds.get(type(item.obj).__name__, 0) + 1
        assert kinds["vim.VirtualMachine"] == 250
        assert kinds["vim.HostSystem"] == 3
        assert kinds["vim.Folder"] == 3  # root, vm, host: the others were not asked for
        assert len(found) == len({item.obj._moId for item in found})

    await run(client)


async def test_updates_arrive_with_real_versions(vcenter):
    def client():
        si = connect(vcenter.ready)
        collector = si.content.propertyCollector
        view = view_of(si, vim.VirtualMachine)
        made = collector.CreateFilter(
            spec_of(view, kind=vim.VirtualMachine, paths=["name", "runtime.powerState"]), False
        )
        first = updates(collector, "")
        assert first.truncated
        assert len(first.filterSet[0].objectSet) == 100
        assert first.filterSet[0].filter._moId == made._moId
        second = updates(collector, first.version)
        with pytest.raises(vmodl.query.InvalidCollectorVersion):
            updates(collector, first.version)
        third = updates(collector, "")
        while third.truncated:
            third = updates(collector, third.version)
        assert int(third.version) > int(second.version)
        assert updates(collector, third.version, wait=0) is None
        vm = view.view[0]
        WaitForTask(vm.PowerOff())
        WaitForTask(vm.Rename("renamed"))
        news = updates(collector, third.version)
        (changed,) = news.filterSet[0].objectSet
        assert changed.kind == "modify"
        assert {change.name: change.val for change in changed.changeSet} == {
            "name": "renamed",
            "runtime.powerState": "poweredOff",
        }
        again = updates(collector, third.version)  # a version that was not truncated may be used again
        assert len(again.filterSet[0].objectSet[0].changeSet) == 2
        with pytest.raises(vmodl.query.InvalidCollectorVersion):
            updates(collector, "4711")
        WaitForTask(vm.Destroy())
        (gone,) = updates(collector, again.version).filterSet[0].objectSet
        assert gone.kind == "leave"
        assert gone.obj._moId == vm._moId

    await run(client)


async def test_a_waiting_client_is_woken_by_a_change_and_by_a_new_host(vcenter):
    def client():
        si = connect(vcenter.ready)
        collector = si.content.propertyCollector
        view = view_of(si, vim.HostSystem)
        collector.CreateFilter(spec_of(view, kind=vim.HostSystem, paths=["name"]), False)
        first = updates(collector, "")
        started.set()
        return updates(collector, first.version, wait=20)

    started = asyncio.Event()
    loop = asyncio.get_running_loop()
    started_set, started.set = started.set, lambda: loop.call_soon_threadsafe(started_set)
    waiting = asyncio.create_task(run(client))
    await started.wait()
    await asyncio.sleep(0.05)
    await vcenter.scenario.add_host("newcomer")
    news = await waiting
    (came,) = news.filterSet[0].objectSet
    assert came.kind == "enter"
    assert came.changeSet[0].val == "newcomer"


async def test_wrong_paths_and_lost_objects_are_typed_faults(vcenter):
    def client():
        si = connect(vcenter.ready)
        collector = si.content.propertyCollector
        view = view_of(si, vim.VirtualMachine)
        vm = view.view[0]
        with pytest.raises(vmodl.query.InvalidProperty) as wrong:
            collector.RetrieveProperties([spec_of(vm, kind=vim.VirtualMachine, paths=["runtime.bogus"])])
        assert wrong.value.name == "runtime.bogus"
        assert (
            collector.RetrieveProperties(
                [spec_of(vm, kind=vim.VirtualMachine, paths=["config.hardware.device[9999]"])]
            )[0].propSet
            == []
        )
        ghost = vim.VirtualMachine("vm-99999", si._stub)
        with pytest.raises(vmodl.fault.ManagedObjectNotFound) as gone:
            ghost.PowerOff()
        assert gone.value.obj._moId == "vm-99999"
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            _ = ghost.name
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            collector.CreateFilter(spec_of(ghost, kind=vim.VirtualMachine, paths=["name"]), False)
        with pytest.raises(vmodl.fault.NotSupported):
            si.content.licenseManager.QuerySupportedFeatures()
        with pytest.raises(vmodl.fault.MethodNotFound):
            vim.VirtualMachine(si.content.rootFolder._moId, si._stub).PowerOn()
        with pytest.raises(vim.fault.InvalidPowerState):
            WaitForTask(vm.PowerOn())

    await run(client)


async def test_events_are_read_once_by_cursor_and_filtered(vcenter):
    def client():
        si = connect(vcenter.ready)
        manager = si.content.eventManager
        view = view_of(si, vim.VirtualMachine)
        vm, other = view.view[0], view.view[1]
        by_type = vim.event.EventFilterSpec(eventTypeId=["vim.event.VmPoweredOffEvent", "vim.event.VmPoweredOnEvent"])
        cursor = manager.CreateCollectorForEvents(by_type)
        for _ in range(3):
            WaitForTask(vm.PowerOff())
            WaitForTask(vm.PowerOn())
        WaitForTask(other.PowerOff())
        names = []
        while page := cursor.ReadNextEvents(2):
            names += [type(event).__name__.rpartition(".")[2] for event in page]
        assert names.count("VmPoweredOffEvent") == 4
        cursor.RewindCollector()
        assert len(cursor.ReadNextEvents(100)) == len(names)
        cursor.SetCollectorPageSize(2)
        newest = cursor.latestPage
        assert [event.key for event in newest] == sorted((event.key for event in newest), reverse=True)
        assert len(newest) == 2
        about = vim.event.EventFilterSpec.ByEntity(entity=other, recursion="self")
        mine = manager.QueryEvents(vim.event.EventFilterSpec(entity=about, type=[vim.event.VmEvent]))
        assert {event.vm.vm._moId for event in mine} == {other._moId}
        below = vim.event.EventFilterSpec.ByEntity(entity=si.content.rootFolder, recursion="all")
        assert (
            len(manager.QueryEvents(vim.event.EventFilterSpec(entity=below, type=[vim.event.VmPoweredOffEvent]))) == 4
        )
        chains = {event.chainId for event in mine}
        assert len(chains) == 1  # one task, one chain
        assert manager.latestEvent.key >= mine[-1].key
        posted = vim.event.EventEx(
            eventTypeId="net.example.happened",
            message="it happened",
            severity="warning",
            createdTime=si.CurrentTime(),
            userName="",
            key=0,
            chainId=0,
        )
        manager.PostEvent(posted)
        (found,) = manager.QueryEvents(vim.event.EventFilterSpec(eventTypeId=["net.example.happened"]))
        assert found.fullFormattedMessage
        assert found.userName == vcenter.ready["username"]
        cursor.DestroyCollector()
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            cursor.ReadNextEvents(1)

    await run(client)


async def test_sessions_end(vcenter):
    loop = asyncio.get_running_loop()

    async def later(seconds):
        vcenter.scenario.advance_clock(seconds)

    def client():
        one, two = connect(vcenter.ready), connect(vcenter.ready)
        manager = one.content.sessionManager
        with pytest.raises(vim.fault.InvalidLogin):
            connect(vcenter.ready, password="wrong")
        assert len(manager.sessionList) == 2
        doomed = two.content.sessionManager.currentSession.key
        assert manager.SessionIsActive(doomed, vcenter.ready["username"])
        manager.TerminateSession([doomed])
        with pytest.raises(vim.fault.NotAuthenticated):
            two.CurrentTime()
        with pytest.raises(vim.fault.NotFound):
            manager.TerminateSession([doomed])
        asyncio.run_coroutine_threadsafe(later(1801), loop).result(5)
        with pytest.raises(vim.fault.NotAuthenticated):
            one.CurrentTime()

    await run(client)


async def test_eam_without_a_session_is_its_own_fault(vcenter):
    def client():
        manager = eam.EsxAgentManager("EsxAgentManager", eam_stub(vcenter.ready))
        with pytest.raises(eam.fault.InvalidLogin):
            manager.QueryAgency()
        si = connect(vcenter.ready)
        manager = eam.EsxAgentManager("EsxAgentManager", eam_stub(vcenter.ready, si._stub.cookie))
        assert list(manager.QueryAgency()) == []

    await run(client)


def certificate(path, name, days=30):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + pem)
    return pem.decode()


def extension(key):
    now = datetime.datetime.now(datetime.UTC)
    label = vim.Description(label=key, summary=key)
    return vim.Extension(key=key, description=label, version="1.0", lastHeartbeatTime=now)


async def test_an_extension_logs_in_through_the_tunnel_with_its_certificate_only(vcenter, tmp_path):
    key = "net.example.manager"

    def client():
        si = connect(vcenter.ready)
        extensions = si.content.extensionManager
        pem = certificate(tmp_path / "own.pem", "own", days=-5)  # expiry is not looked at
        certificate(tmp_path / "other.pem", "other")
        extensions.RegisterExtension(extension(key))
        with pytest.raises(vmodl.fault.InvalidArgument):
            extensions.RegisterExtension(extension(key))
        with pytest.raises(vim.fault.NoClientCertificate):
            extensions.SetExtensionCertificate(key)
        extensions.SetExtensionCertificate(key, pem)
        assert extensions.FindExtension(key).description.label == key
        assert key in [item.key for item in extensions.extensionList]

        stub = tunnel_stub(vcenter.ready, tmp_path / "own.pem")
        inside = vim.ServiceInstance("ServiceInstance", stub)
        session = inside.RetrieveContent().sessionManager.LoginExtensionByCertificate(key)
        assert session.extensionSession
        assert session.userName == key
        manager = eam.EsxAgentManager("EsxAgentManager", eam_stub(vcenter.ready, stub.cookie))
        assert list(manager.QueryAgency()) == []

        stranger = vim.ServiceInstance("ServiceInstance", tunnel_stub(vcenter.ready, tmp_path / "other.pem"))
        with pytest.raises(vim.fault.InvalidLogin):
            stranger.RetrieveContent().sessionManager.LoginExtensionByCertificate(key)
        with pytest.raises(vim.fault.NoClientCertificate):
            si.content.sessionManager.LoginExtensionByCertificate(key)
        extensions.UnregisterExtension(key)
        with pytest.raises(vim.fault.NotFound):
            extensions.UpdateExtension(extension(key))
        with pytest.raises(vim.fault.InvalidLogin):
            vim.SessionManager("SessionManager", stub).LoginExtensionByCertificate(key)

    await run(client)


async def test_list_views_collectors_and_cancel(vcenter):
    def client():
        si = connect(vcenter.ready)
        content = si.RetrieveContent()
        vms = view_of(si, vim.VirtualMachine).view
        listed = content.viewManager.CreateListView(vms[:2])
        own = content.propertyCollector.CreatePropertyCollector()
        own.CreateFilter(spec_of(listed, kind=vim.VirtualMachine, paths=["name"]), False)
        first = updates(own, "")
        assert len(first.filterSet[0].objectSet) == 2
        assert [ref._moId for ref in listed.ModifyListView(add=[vms[2], vim.VirtualMachine("vm-0", None)])] == ["vm-0"]
        listed.ModifyListView(remove=[vms[0]])
        kinds = {item.obj._moId: item.kind for item in updates(own, first.version).filterSet[0].objectSet}
        assert kinds == {vms[2]._moId: "enter", vms[0]._moId: "leave"}
        own.DestroyPropertyCollector()
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            updates(own, first.version)

    await run(client)


async def test_tasks_of_extensions_and_their_collectors(vcenter):
    def client():
        si = connect(vcenter.ready)
        content = si.RetrieveContent()
        manager = content.taskManager
        info = manager.CreateTask(content.rootFolder, "net.example.rollout", cancelable=False)
        task = info.task
        task.SetTaskState("running")
        task.UpdateProgress(40)
        assert task.info.progress == 40
        task.SetTaskState("success", "done")
        assert task.info.state == "success"
        assert task.info.result == "done"
        assert task._moId in [item._moId for item in manager.recentTask]
        collector = manager.CreateCollectorForTasks(vim.TaskFilterSpec())
        assert [item.key for item in collector.ReadNextTasks(10)] == [task._moId]
        assert list(collector.ReadNextTasks(10)) == []

    await run(client)
