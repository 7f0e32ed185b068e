"""Never two ContrailVMs on a host, and none left behind: what random walks found."""

from dataclasses import replace

from plan_world import KEY, SOLUTION

from contrail_vsphere.contrailvm.desired import Key, agency_name
from contrail_vsphere.contrailvm.plan.actions import Alarm, CreateAgency, Resolve, Wait, changes_world
from contrail_vsphere.model.ids import HostId


def test_a_cluster_that_changes_its_deployment_first_loses_the_old_agency(world):
    other = agency_name(SOLUTION, Key("old", KEY.cluster))
    world.agency = replace(world.agency, config=replace(world.agency.config, name=other), goal="uninstalled")
    world.read()
    assert not world.only(CreateAgency)
    (wait,) = world.only(Wait)
    assert other in wait.reason and wait.until > world.now
    world.readings.gone(world.agency.id)
    world.inventory.vms.clear()
    assert world.only(CreateAgency)


def test_another_deployment_on_another_cluster_is_no_rival(world):
    elsewhere = agency_name(SOLUTION, Key("old", "domain-c99"))
    world.agency = replace(world.agency, config=replace(world.agency.config, name=elsewhere))
    world.read()
    assert world.only(CreateAgency)


def test_a_removal_that_stops_at_an_issue_is_resolved(world):
    world.desire(removed=True)
    world.agency = replace(world.agency, goal="uninstalled")
    world.issue(1, "VmDeployed")
    (resolve,) = world.only(Resolve)
    assert (resolve.issue_type, resolve.host) == ("VmDeployed", "host-1")
    world.host(1, connection="notResponding")
    assert not world.only(Resolve)


def test_a_removal_never_takes_a_host_out_of_maintenance(world):
    world.desire(removed=True)
    world.agency = replace(world.agency, goal="uninstalled")
    world.issue(1, "HostInMaintenanceMode")
    assert not [action for action in world.plan() if changes_world(action)]


def test_a_contrailvm_that_somebody_moved_is_told_and_left_to_him(world):
    world.vm(1, host=HostId("host-2"))
    (alarm,) = world.only(Alarm)
    assert (alarm.host, alarm.cause) == ("host-1", "vm.elsewhere") and "esx-02" in alarm.reason
    assert not [action for action in world.plan() if changes_world(action)]
