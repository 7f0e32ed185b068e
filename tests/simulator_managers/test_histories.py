"""Cursors over events and tasks: what they select, and that each item comes exactly once in either direction."""

import pytest
from foreign import PC, connect, run, spec_of, updates
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl


def restarted(vm, times):
    """Tasks of that VM, oldest first."""
    keys = []
    for _ in range(times):
        for task in (vm.PowerOff(), vm.PowerOn()):
            WaitForTask(task)
            keys.append(task.info.key)
    return keys


def events_filter(**fields):
    return vim.event.EventFilterSpec(**fields)


async def test_an_event_cursor_reads_every_event_once_both_ways(vcenter):
    def work():
        content = connect(vcenter.ready).content
        vm = content.rootFolder.childEntity[0].vmFolder.childEntity[0]
        by_entity = vim.event.EventFilterSpec.ByEntity(entity=vm, recursion="self")
        collector = content.eventManager.CreateCollectorForEvents(
            events_filter(entity=by_entity, eventTypeId=["vim.event.VmPoweredOffEvent", "vim.event.VmPoweredOnEvent"])
        )
        collector.SetCollectorPageSize(100)
        restarted(vm, 3)
        collector.RewindCollector()
        pages = []
        while page := collector.ReadNextEvents(2):
            pages.append([item.key for item in page])
        keys = [key for page in pages for key in page]
        assert keys == sorted(set(keys))
        assert [len(page) for page in pages][:-1] == [2] * (len(pages) - 1)
        assert len(keys) >= 3
        back = []
        while page := collector.ReadPrev(2):
            back += [item.key for item in page]
        assert back == keys[::-1]
        assert [item.key for item in collector.latestPage] == keys[::-1]
        collector.ResetCollector()
        assert [item.key for item in collector.ReadNextEvents(100)] == keys
        assert collector.ReadNextEvents(100) == []
        with pytest.raises(vmodl.fault.InvalidArgument):
            collector.ReadNextEvents(0)
        collector.DestroyCollector()
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            collector.RewindCollector()

    await run(work)


async def test_events_are_selected_by_chain_time_user_category_and_place(vcenter):
    def work():
        service = connect(vcenter.ready)
        content = service.content
        manager = content.eventManager
        place = content.rootFolder.childEntity[0]
        one, other = place.vmFolder.childEntity[:2]
        restarted(one, 1)
        between = service.CurrentTime()
        restarted(other, 1)
        manager.LogUserEvent(one, "a word from the operator")
        everything = manager.QueryEvents(events_filter())
        chain = next(item.chainId for item in everything if isinstance(item, vim.event.VmPoweredOffEvent))
        same = manager.QueryEvents(events_filter(eventChainId=chain))
        assert {item.chainId for item in same} == {chain}
        assert {"VmStoppingEvent", "VmPoweredOffEvent"} <= {type(item).__name__.rpartition(".")[2] for item in same}
        later = manager.QueryEvents(timed(between))
        assert {item.vm.vm._moId for item in later if isinstance(item, vim.event.VmPoweredOffEvent)} == {other._moId}
        mine = manager.QueryEvents(
            events_filter(userName=vim.event.EventFilterSpec.ByUsername(systemUser=False, userList=["nobody"]))
        )
        assert not mine
        told = manager.QueryEvents(events_filter(category=["user"]))
        assert [item.message for item in told if isinstance(item, vim.event.GeneralUserEvent)] == [
            "a word from the operator"
        ]
        under = vim.event.EventFilterSpec.ByEntity(entity=place.hostFolder.childEntity[0], recursion="all")
        below = manager.QueryEvents(events_filter(entity=under, type=[vim.event.VmPoweredOffEvent]))
        assert len(below) == 2
        shallow = vim.event.EventFilterSpec.ByEntity(entity=content.rootFolder, recursion="self")
        assert not manager.QueryEvents(events_filter(entity=shallow, type=[vim.event.VmPoweredOffEvent]))
        assert manager.RetrieveArgumentDescription("vim.event.VmRenamedEvent")
        assert manager.latestEvent.key >= max(item.key for item in everything)
        assert {item.key for item in manager.description.category} >= {"info", "warning", "error", "user"}

    await run(work)


def timed(begin):
    return vim.event.EventFilterSpec(time=vim.event.EventFilterSpec.ByTime(beginTime=begin))


async def test_a_task_cursor_reads_every_task_once_both_ways(vcenter):
    def work():
        service = connect(vcenter.ready)
        content = service.content
        vms = content.rootFolder.childEntity[0].vmFolder.childEntity
        by_vm = vim.TaskFilterSpec.ByEntity(entity=vms[0], recursion="self")
        collector = content.taskManager.CreateCollectorForTasks(vim.TaskFilterSpec(entity=by_vm))
        restarted(vms[1], 1)
        keys = restarted(vms[0], 2)
        read = []
        while page := collector.ReadNextTasks(3):
            read += [item.key for item in page]
        assert read == keys
        back = []
        while page := collector.ReadPrev(3):
            back += [item.key for item in page]
        assert back == keys[::-1]
        collector.SetCollectorPageSize(2)
        assert [item.key for item in collector.latestPage] == keys[:-3:-1]
        collector.ResetCollector()
        assert [item.key for item in collector.ReadNextTasks(9)] == keys[-2:]
        failed = content.taskManager.CreateCollectorForTasks(vim.TaskFilterSpec(state=["error"]))
        WaitForTask(vms[2].PowerOff())
        refused = vms[2].PowerOff()
        with pytest.raises(vim.fault.InvalidPowerState):
            WaitForTask(refused)
        assert [item.key for item in failed.ReadNextTasks(9)] == [refused.info.key]

    await run(work)


async def test_a_task_of_an_extension_is_its_own_to_drive(vcenter):
    def work():
        service = connect(vcenter.ready)
        content = service.content
        extension = vim.Extension(
            key="net.example",
            version="1.0",
            description=vim.Description(label="x", summary="x"),
            lastHeartbeatTime=service.CurrentTime(),
            taskList=[vim.Extension.TaskTypeInfo(taskID="net.example.work")],
        )
        content.extensionManager.RegisterExtension(extension)
        vm = content.rootFolder.childEntity[0].vmFolder.childEntity[0]
        info = content.taskManager.CreateTask(vm, "net.example.work", "me", True)
        task = info.task
        task.SetState("running", None, None)
        task.UpdateProgress(40)
        task.SetTaskDescription(vmodl.LocalizableMessage(key="net.example.half", message="half way"))
        assert (task.info.state, task.info.progress) == ("running", 40)
        assert task.info.description.message == "half way"
        task.Cancel()
        assert task.info.cancelled
        task.SetState("error", None, vmodl.fault.RequestCanceled())
        assert task.info.state == "error"
        with pytest.raises(vim.fault.InvalidState):
            task.SetState("running", None, None)
        assert task in content.taskManager.recentTask

    await run(work)


async def test_the_latest_page_is_followed_like_any_property(vcenter):
    def work():
        content = connect(vcenter.ready).content
        vm = content.rootFolder.childEntity[0].vmFolder.childEntity[0]
        collector = content.eventManager.CreateCollectorForEvents(
            events_filter(eventTypeId=["vim.event.VmPoweredOffEvent"])
        )
        content.propertyCollector.CreateFilter(
            spec_of(collector, kind=vim.event.EventHistoryCollector, paths=["latestPage"]), False
        )
        version = updates(content.propertyCollector, "").version
        WaitForTask(vm.PowerOff())
        update = updates(content.propertyCollector, version)
        (changed,) = update.filterSet[0].objectSet[0].changeSet
        assert changed.name == "latestPage"
        assert changed.val[0].vm.vm == vm

    await run(work)


async def test_the_old_forms_of_waiting_answer_too(vcenter):
    def work():
        content = connect(vcenter.ready).content
        vm = content.rootFolder.childEntity[0].vmFolder.childEntity[0]
        collector = content.propertyCollector
        collector.CreateFilter(spec_of(vm, kind=vim.VirtualMachine, paths=["runtime.powerState"]), False)
        first = collector.WaitForUpdates("")
        assert first.filterSet[0].objectSet[0].kind == "enter"
        assert collector.CheckForUpdates(first.version) is None
        WaitForTask(vm.PowerOff())
        news = collector.CheckForUpdates(first.version)
        assert news.filterSet[0].objectSet[0].changeSet[0].val == "poweredOff"
        with pytest.raises(vmodl.query.InvalidCollectorVersion):
            collector.CheckForUpdates("12345678")
        assert isinstance(collector.WaitForUpdatesEx("", PC.WaitOptions(maxWaitSeconds=0)), PC.UpdateSet)

    await run(work)
