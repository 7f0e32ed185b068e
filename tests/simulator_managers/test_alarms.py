"""Event alarms as vCenter has them: an extension's EventEx turns one red on its object, another one green again."""

from datetime import UTC, datetime

import pytest
from foreign import connect, run, spec_of
from pyVmomi import vim, vmodl

from contrail_vsphere.simulator.vcenter.authorization import Account, Accounts

LOST, BACK = "net.example.vrouter.lost", "net.example.vrouter.back"


def spec(name="vRouter lost", *, red=LOST, green=BACK, on=vim.HostSystem, **fields):
    def when(type_id, status):
        return vim.alarm.EventAlarmExpression(
            eventType=vim.event.EventEx, eventTypeId=type_id, objectType=on, status=status, **fields
        )

    return vim.alarm.AlarmSpec(
        name=name,
        description="the vRouter of a host has no controller",
        enabled=True,
        expression=vim.alarm.OrAlarmExpression(expression=[when(red, "red"), when(green, "green")]),
        setting=vim.alarm.AlarmSetting(toleranceRange=0, reportingFrequency=0),
    )


def post(content, type_id, host, **arguments):
    """As an extension does: an EventEx that names its host."""
    event = vim.event.EventEx(
        eventTypeId=type_id,
        severity="warning",
        message=type_id,
        createdTime=datetime.now(UTC),
        userName="",
        key=0,
        chainId=0,
        host=vim.event.HostEventArgument(name=host.name, host=host),
        arguments=[vmodl.KeyAnyValue(key=key, value=value) for key, value in arguments.items()],
    )
    content.eventManager.PostEvent(event)


def hosts(content):
    return content.rootFolder.childEntity[0].hostFolder.childEntity[0].host


def standing(entity, listed="triggeredAlarmState"):
    """Object, alarm and status of what a fresh read shows."""
    return [(item.entity, item.alarm.info.name, str(item.overallStatus)) for item in getattr(entity, listed)]


async def test_an_event_of_an_extension_turns_an_alarm_red_and_another_green(vcenter):
    def work():
        content = connect(vcenter.ready).content
        manager, root = content.alarmManager, content.rootFolder
        alarm = manager.CreateAlarm(root, spec())
        assert alarm in manager.GetAlarm(root)
        first, second = hosts(content)
        assert (first, "vRouter lost", "gray") in standing(first, "declaredAlarmState")
        assert not root.triggeredAlarmState
        post(content, LOST, first)
        red = [(first, "vRouter lost", "red")]
        for place in (first, first.parent, root):  # the object and all above it
            assert standing(place) == red
        assert not second.triggeredAlarmState
        assert (str(first.overallStatus), str(second.overallStatus)) == ("red", "green")
        assert str(first.summary.overallStatus) == "red"
        (state,) = first.triggeredAlarmState
        (event,) = vcenter.events.of_type(LOST)
        assert (state.key, state.eventKey) == (f"{alarm._moId}.{first._moId}", event.key)
        assert [str(item.overallStatus) for item in manager.GetAlarmState(first)] == ["red"]
        post(content, LOST, first)  # again: nothing changes
        post(content, BACK, first)
        assert not root.triggeredAlarmState
        assert (first, "vRouter lost", "green") in standing(first, "declaredAlarmState")
        assert str(first.overallStatus) == "green"
        changed = vim.event.EventFilterSpec(eventTypeId=["vim.event.AlarmStatusChangedEvent"])
        assert [item.entity.entity for item in content.eventManager.QueryEvents(changed)] == [first, first]

    await run(work)
    told = vcenter.events.of_type("AlarmStatusChangedEvent")
    assert [(getattr(item, "from"), item.to, item.entity.name) for item in told] == [
        ("gray", "red", "esx-00"),
        ("red", "green", "esx-00"),
    ]
    assert told[0].source.name == vcenter.world.get("group-d1").name
    assert told[0].chainId == vcenter.events.of_type(LOST)[0].chainId  # in the commit of the event itself
    assert not vcenter.world.defects


async def test_an_alarm_is_acknowledged_until_it_is_triggered_anew(vcenter):
    def work():
        content = connect(vcenter.ready).content
        manager, root = content.alarmManager, content.rootFolder
        alarm = manager.CreateAlarm(root, spec())
        host = hosts(content)[0]
        manager.AcknowledgeAlarm(alarm, host)  # nothing is triggered
        post(content, LOST, host)
        manager.AcknowledgeAlarm(alarm, host)
        manager.AcknowledgeAlarm(alarm, host)
        (state,) = root.triggeredAlarmState
        assert (state.acknowledged, state.acknowledgedByUser) == (True, vcenter.ready["username"])
        assert state.acknowledgedTime >= state.time
        post(content, BACK, host)
        post(content, LOST, host)
        assert not root.triggeredAlarmState[0].acknowledged
        manager.ClearTriggeredAlarms(vim.alarm.AlarmFilterSpec(status=["yellow"], typeEntity="entityTypeAll"))
        manager.ClearTriggeredAlarms(vim.alarm.AlarmFilterSpec(status=["red"], typeEntity="entityTypeVm"))
        assert root.triggeredAlarmState
        manager.ClearTriggeredAlarms(vim.alarm.AlarmFilterSpec(status=["red"], typeEntity="entityTypeHost"))
        assert not root.triggeredAlarmState

    await run(work)
    assert len(vcenter.events.of_type("AlarmAcknowledgedEvent")) == 1
    assert [getattr(item, "from") for item in vcenter.events.of_type("AlarmClearedEvent")] == ["red"]


async def test_an_alarm_is_reconfigured_disabled_and_removed(vcenter):
    def work():
        content = connect(vcenter.ready).content
        manager, root = content.alarmManager, content.rootFolder
        first, second = hosts(content)
        alarm = manager.CreateAlarm(first, spec())  # on one host: not for the other
        post(content, LOST, second)
        assert not root.triggeredAlarmState
        with pytest.raises(vim.fault.DuplicateName):
            manager.CreateAlarm(root, spec())
        with pytest.raises(vim.fault.InvalidName):
            manager.CreateAlarm(root, spec(""))
        bare = spec("bare")
        bare.expression = bare.expression.expression[0]
        odd = vim.alarm.EventAlarmExpression.Comparison(attributeName="x", operator="resembles", value="y")
        for bad in (bare, spec("odd", comparisons=[odd])):
            with pytest.raises(vmodl.fault.InvalidArgument):
                manager.CreateAlarm(root, bad)
        only = vim.alarm.EventAlarmExpression.Comparison(attributeName="role", operator="startsWith", value="tsn")
        alarm.ReconfigureAlarm(spec("vRouter of a TSN lost", comparisons=[only]))
        assert alarm.info.name == "vRouter of a TSN lost"
        post(content, LOST, first, role="compute")
        assert not root.triggeredAlarmState
        post(content, LOST, first, role="tsn-1")
        assert standing(root) == [(first, "vRouter of a TSN lost", "red")]
        off = spec()
        off.enabled = False
        alarm.ReconfigureAlarm(off)  # what it had triggered is forgotten
        assert not root.triggeredAlarmState
        post(content, LOST, first)
        assert not root.triggeredAlarmState
        alarm.ReconfigureAlarm(spec())
        post(content, LOST, first)
        assert len(root.triggeredAlarmState) == 1
        alarm.RemoveAlarm()
        assert not root.triggeredAlarmState
        assert alarm not in manager.GetAlarm(None)
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            alarm.RemoveAlarm()

    await run(work)
    for name, times in {"AlarmCreatedEvent": 1, "AlarmReconfiguredEvent": 3, "AlarmRemovedEvent": 1}.items():
        assert len(vcenter.events.of_type(name)) == times


async def test_alarms_need_their_privileges(vcenter):
    rights = frozenset({"System.View", "System.Read"})
    vcenter.world.service(Accounts).add(Account("reader@vsphere.local", "secret", privileges=rights))

    def work():
        admin = connect(vcenter.ready).content
        alarm = admin.alarmManager.CreateAlarm(admin.rootFolder, spec())
        content = connect(vcenter.ready, "reader@vsphere.local", "secret").content
        stub = content.rootFolder._stub
        mine, host = vim.alarm.Alarm(alarm._moId, stub), hosts(content)[0]
        for missing, call in {
            "Alarm.Create": lambda: content.alarmManager.CreateAlarm(content.rootFolder, spec("other")),
            "Alarm.Edit": lambda: mine.ReconfigureAlarm(spec()),
            "Alarm.Delete": mine.RemoveAlarm,
            "Alarm.Acknowledge": lambda: content.alarmManager.AcknowledgeAlarm(mine, host),
        }.items():
            with pytest.raises(vim.fault.NoPermission) as refused:
                call()
            assert refused.value.privilegeId == missing

    await run(work)


@pytest.mark.parametrize("told", [False, True])
async def test_whether_filters_are_told_of_triggered_alarms_is_a_switch(vcenter, told):
    vcenter.scenario.set_switch("vc.alarm_updates", str(told).lower())

    def work():
        content = connect(vcenter.ready).content
        content.alarmManager.CreateAlarm(content.rootFolder, spec())
        host = hosts(content)[0]
        collector = content.propertyCollector
        collector.CreateFilter(
            spec_of(host, kind=vim.HostSystem, paths=["triggeredAlarmState", "overallStatus"]), False
        )
        first = collector.CheckForUpdates("")
        post(content, LOST, host)
        (update,) = collector.CheckForUpdates(first.version).filterSet
        assert {change.name for item in update.objectSet for change in item.changeSet} == (
            {"overallStatus", "triggeredAlarmState"} if told else {"overallStatus"}
        )
        fresh = collector.RetrieveContents([spec_of(host, kind=vim.HostSystem, paths=["triggeredAlarmState"])])
        assert len(fresh[0].propSet[0].val) == 1
        assert isinstance(fresh[0].propSet[0].val[0], vim.alarm.AlarmState)

    await run(work)


async def test_alarms_are_saved_with_the_inventory_and_go_with_their_object(vcenter, tmp_path):
    def work():
        content = connect(vcenter.ready).content
        second = hosts(content)[1]
        content.alarmManager.CreateAlarm(content.rootFolder, spec())
        content.alarmManager.CreateAlarm(second, spec("of one host", red="x", green="y"))
        post(content, LOST, second)

    await run(work)
    await vcenter.scenario.enter_maintenance("esx-01")
    await vcenter.scenario.remove_host("esx-01")
    assert not vcenter.inventory["DC0"].parent.read("triggeredAlarmState")
    await run(lambda: post(*both(vcenter)))
    vcenter.scenario.save(tmp_path / "inventory.json")
    await vcenter.scenario.load(tmp_path / "inventory.json")

    def again():
        content = connect(vcenter.ready).content
        names = {item.info.name for item in content.alarmManager.GetAlarm(None)}
        assert "vRouter lost" in names
        assert "of one host" not in names
        host = hosts(content)[0]
        assert standing(content.rootFolder) == [(host, "vRouter lost", "red")]
        post(content, BACK, host)
        assert not host.triggeredAlarmState

    await run(again)


def both(vcenter):
    content = connect(vcenter.ready).content
    return content, LOST, hosts(content)[0]
