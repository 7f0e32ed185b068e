"""An hour without one of the worlds: nothing is deleted, nothing closed is opened, and all is caught up with after."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from plugin_stand import PluginStand
from plugin_worlds import connected, placed

from contrail_vsphere.engine.leader import AlwaysLeader
from contrail_vsphere.model.errors import Unreachable
from contrail_vsphere.simulator.core.faults import FaultRule

pytestmark = pytest.mark.looptime

HOUR = 3600.0
KINDS = ("virtual-machine", "virtual-machine-interface", "instance-ip")


class Elected(AlwaysLeader):
    """Leads as long as somebody can tell."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False

    async def confirm(self) -> int:
        if self.away:
            raise Unreachable("ZooKeeper does not answer")
        return self.epoch


@asynccontextmanager
async def away(stand, what):
    fleet, scenario = stand.vcenter.vrouters, stand.contrail.scenario
    hosts = [host.moid for host in stand.vcenter.scenario.hosts()]
    match what:
        case "vCenter":
            # The people of this test act on the simulated world itself: nobody gets an answer from vCenter.
            key = stand.vcenter.scenario.add_fault(FaultRule(method="*", drop=True))
            await stand.vcenter.drop_connections()
            yield
            stand.vcenter.scenario.remove_fault(key)
        case "Contrail":
            await scenario.stop_api()
            yield
            await scenario.start_api()
        case "broker":
            scenario.stop_broker()
            yield
            scenario.start_broker()
        case "ZooKeeper":
            stand.leader.away = True
            yield
            stand.leader.away = False
        case _:
            gone = hosts if what == "all agents" else hosts[:1]
            for host in gone:
                await fleet.kill(host)
            yield
            for host in gone:
                await fleet.restart(host)


def seen(stand):
    """Objects in Contrail, port groups, and which ports are open."""
    ports = stand.dvs.ports.ports.values()
    return (
        {kind: {one.uuid for one in stand.objects(kind)} for kind in KINDS},
        {group.moid for group in stand.groups().values()},
        {port.key for port in ports if port.vm is not None and stand.is_open(port)},
    )


@pytest.mark.parametrize("what", ["vCenter", "Contrail", "broker", "ZooKeeper", "one agent", "all agents"])
async def test_an_hour_without(tmp_path, what):
    stand = PluginStand(tmp_path)
    stand.leader = Elected()
    async with stand:
        quiet, moves, dies = await placed(stand, "quiet", "moves", "dies")
        late = await stand.vm("late", "blue", on=False)
        await stand.settle()
        objects, groups, opened = seen(stand)
        closed = stand.port(late).key
        assert closed not in opened
        async with away(stand, what):
            await asyncio.sleep(60)
            assert seen(stand) == (objects, groups, opened), "that somebody is away changes nothing"
            here, there = stand.vcenter.scenario.hosts()
            await stand.vcenter.scenario.power_on(late)
            await stand.vcenter.scenario.move_vm(moves, there if moves.host is here else here)
            await asyncio.sleep(HOUR)
            now, kept, open_now = seen(stand)
            for kind in KINDS:
                assert objects[kind] <= now[kind], "nothing is deleted"
            assert kept == groups
            assert connected_ports(stand, quiet) or what in ("one agent", "all agents")
            assert stand.port(quiet).key in open_now, "who runs goes on"
            if what in ("vCenter", "ZooKeeper", "all agents"):
                assert open_now <= opened, "nothing is opened"
        await stand.vcenter.scenario.delete_vm(dies)
        await asyncio.sleep(150)
        await stand.settle(seconds=300)
        for vm in (quiet, moves, late):
            connected(stand, vm)
        assert all(len(stand.objects(kind)) == 3 for kind in KINDS)
        assert sum(len(stand.plugged(host)) for host in (here, there)) == 3


def connected_ports(stand, vm):
    return [port for port in stand.plugged(vm.host).values() if port.vm == vm.instance_uuid and port.link_up]


@pytest.mark.parametrize("what", ["Contrail", "one agent"])
async def test_vms_that_go_while_somebody_is_away_are_cleared_up_afterwards(tmp_path, what):
    async with PluginStand(tmp_path) as stand:
        (vm, stays) = await placed(stand, "web", "stays")
        async with away(stand, what):
            await asyncio.sleep(60)
            await stand.vcenter.scenario.delete_vm(vm)
            await asyncio.sleep(HOUR)
        await asyncio.sleep(150)
        await stand.settle(seconds=300)
        connected(stand, stays)
        assert all(len(stand.objects(kind)) == 1 for kind in KINDS)
        assert sum(len(stand.plugged(host)) for host in stand.vcenter.scenario.hosts()) == 1
