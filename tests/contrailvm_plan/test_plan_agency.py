"""The agency: one per deployment and cluster, made once, kept equal to the deployment, removed only on request."""

from dataclasses import replace

from contrail_vsphere.contrailvm.desired import Key, PackageRef, agency_name, key_of_agency
from contrail_vsphere.contrailvm.observed import PackageOffer
from contrail_vsphere.contrailvm.plan.actions import (
    Alarm,
    CreateAgency,
    DestroyAgency,
    EnsureResourcePool,
    EnsureTrunkPortGroup,
    Forget,
    UninstallAgency,
    UpdateAgency,
    Wait,
    changes_world,
)
from contrail_vsphere.contrailvm.plan.agency import CREATION_ARRIVES, config_digest
from contrail_vsphere.contrailvm.readings import Readings
from contrail_vsphere.contrailvm.records import ConfigSent, KeyRecord
from contrail_vsphere.model.eam import Issue
from contrail_vsphere.model.ids import AgencyId, ClusterId


def test_a_converged_world_needs_nothing(world):
    assert world.plan() == ()


def test_without_an_agency_one_is_created_with_the_package_the_scope_and_both_hooks(world):
    world.readings = Readings()
    world.inventory.vms.clear()
    (create,) = world.only(CreateAgency)
    assert create.config.scope == ("domain-c8",)
    assert create.config.hook_after_provisioning and create.config.hook_after_power_on
    assert create.config.networks == ("network-1",)
    assert create.config.agents[0].ovf_url == create.url
    assert create.config.resource_pools == (("domain-c8", "resgroup-2"),)


def test_f11_no_agency_is_created_while_the_package_cannot_be_fetched(world):
    world.readings = Readings()
    world.inventory.vms.clear()
    offer = replace(world.memory.offer, reachable=False, problem="connection refused")
    world.memory = replace(world.memory, offer=offer)
    assert not world.only(CreateAgency)
    assert "connection refused" in world.only(Alarm)[0].reason


def test_the_resource_pool_comes_before_the_agency(world):
    world.readings = Readings()
    world.memory = replace(world.memory, pool=None)
    assert world.only(EnsureResourcePool) and not world.only(CreateAgency)


def test_f9_an_agency_of_our_name_is_adopted_after_a_crash_or_a_lost_journal(world):
    world.memory = replace(world.memory, record=KeyRecord(), hosts={})
    assert not [action for action in world.plan() if changes_world(action)]


def test_a_foreign_agency_of_the_same_name_is_not_ours(world):
    foreign = replace(world.agency, solution_id="somebody.else")
    world.readings = Readings()
    world.agency = foreign
    world.read()
    assert world.only(CreateAgency)
    assert not world.only(UpdateAgency, UninstallAgency, DestroyAgency)


def test_a_new_package_updates_the_agency(world):
    world.desire(package=PackageRef("1.1.0", "sha256:bb"))
    world.memory = replace(
        world.memory, offer=replace(world.memory.offer, version="1.1.0", digest="sha256:bb", url="u2")
    )
    (update,) = world.only(UpdateAgency)
    assert update.changed == ("package",)
    assert update.config.agents[0].ovf_url == "u2"


def test_what_eam_accepts_but_does_not_show_is_not_sent_over_and_over(world):
    world.memory = replace(world.memory, offer=replace(world.memory.offer, pem="OTHER"))
    (update,) = world.only(UpdateAgency)
    sent = KeyRecord(sent=ConfigSent(config_digest(update.config), world.now, accepted=True))
    world.memory = replace(world.memory, record=sent)
    world.later(10)
    world.read(times=3)
    assert not world.only(UpdateAgency)
    assert "does not show it" in world.only(Alarm)[0].reason
    world.later(700)
    assert world.only(UpdateAgency)


def test_what_was_sent_but_never_answered_is_sent_again(world):
    """The process died with it, or the connection: whether EAM has it is seen from what it shows."""
    world.memory = replace(world.memory, offer=replace(world.memory.offer, pem="OTHER"))
    (update,) = world.only(UpdateAgency)
    sent = KeyRecord(sent=ConfigSent(config_digest(update.config), world.now))
    world.memory = replace(world.memory, record=sent)
    assert world.only(UpdateAgency)


def test_certificates_that_differ_only_in_line_ends_are_the_same(world):
    world.memory = replace(world.memory, offer=replace(world.memory.offer, pem="P E\nM\n"))
    assert not world.only(UpdateAgency)


def test_an_unpublished_package_is_waited_for(world):
    world.memory = replace(world.memory, offer=None)
    assert [type(each) for each in world.plan()] == [Wait]


def test_two_agencies_of_one_key_the_emptier_one_goes(world):
    second = replace(world.agency, id=AgencyId("agency-0"), agents=(world.agency.agents[0],))
    world.readings.read(second, at=world.now)
    (gone,) = world.only(UninstallAgency)
    assert gone.agency == "agency-0"
    assert not world.only(CreateAgency)


def test_removal_uninstalls_then_destroys_then_forgets(world):
    world.desire(removed=True)
    (uninstall,) = world.only(UninstallAgency)
    assert len(uninstall.hosts) == 3
    world.agency = replace(world.agency, goal="uninstalled", status="yellow")
    world.read()
    assert not [action for action in world.plan() if changes_world(action)]
    for number in (1, 2, 3):
        world.agent(number, vm=None)
    world.read()
    assert world.only(DestroyAgency)
    world.readings.gone(AgencyId("agency-1"))
    assert world.only(Forget)


def test_what_was_being_created_when_its_deployment_was_removed_is_waited_for(world):
    world.desire(removed=True)
    world.readings.gone(AgencyId("agency-1"))
    world.memory = replace(world.memory, record=KeyRecord(created_at=world.now - 5))
    assert not world.only(Forget), "whoever began it died, or had no answer"
    world.later(CREATION_ARRIVES)
    assert world.only(Forget)
    world.memory = replace(world.memory, record=KeyRecord(created_at=world.now - 5, backend="eam"))
    assert world.only(Forget), "it was there, and is gone"


def test_removal_says_which_unreachable_host_it_waits_for(world):
    world.desire(removed=True)
    world.agency = replace(world.agency, goal="uninstalled", status="yellow")
    world.read()
    world.host(2, connection="notResponding")
    assert any(wait.host == "host-2" and "not connected" in wait.reason for wait in world.only(Wait))


def test_an_agency_no_deployment_names_is_shown_and_left_alone(world):
    world.desired = None
    assert [type(each) for each in world.plan()] == [Alarm]
    assert "adopt" in world.plan()[0].reason


def test_a_disabled_agency_is_not_fought_over(world):
    world.agency = replace(world.agency, goal="disabled")
    world.read()
    assert not [action for action in world.plan() if changes_world(action)]
    assert world.only(Alarm)


def test_f20_a_disabled_cluster_pauses_everything(world):
    world.issue(1, "VmPoweredOff")
    world.agency = replace(world.agency, issues=(Issue("AgencyDisabled", 7),))
    world.read()
    assert [type(each) for each in world.plan()] == [Wait]


def test_a_paused_key_is_left_alone(world):
    world.issue(1, "VmPoweredOff")
    world.memory = replace(world.memory, record=KeyRecord(paused="anna"))
    (wait,) = world.plan()
    assert "anna" in wait.reason


def test_a_cluster_that_is_gone_is_an_alarm_not_a_removal(world):
    world.inventory.clusters.clear()
    assert [type(each) for each in world.plan()] == [Alarm]


def test_nothing_is_judged_on_half_a_view(world):
    blind = replace(world.observed(), blind="the inventory is still being read")
    from contrail_vsphere.contrailvm.plan.cluster import plan

    assert [type(each) for each in plan(world.desired, blind)] == [Wait]


def test_the_trunk_is_made_put_right_and_nobody_elses_is_touched(world):
    network = world.inventory.networks.pop("dvportgroup-9")
    assert world.only(EnsureTrunkPortGroup)[0].existing is None
    world.inventory.networks["dvportgroup-9"] = replace(network, promiscuous=False, vlan="7")
    (put_right,) = world.only(EnsureTrunkPortGroup)
    assert put_right.existing == "dvportgroup-9" and len(put_right.wrong) == 2
    world.inventory.networks["dvportgroup-9"] = replace(network, promiscuous=False, description="somebody's")
    assert not world.only(EnsureTrunkPortGroup)
    assert "not ours" in world.only(Alarm)[0].reason


def test_f17_a_deleted_management_network_is_an_alarm(world):
    del world.inventory.networks["network-1"]
    assert any(alarm.cause == "network.gone" for alarm in world.only(Alarm))
    assert not world.only(UpdateAgency)


def test_agency_names_lead_back_to_their_key():
    for key in (
        Key("dc1", ClusterId("domain-c8")),
        Key("a-domain-b", ClusterId("domain-s9")),
        Key("x", ClusterId("odd")),
    ):
        assert key_of_agency("s", agency_name("s", key)) == key
        assert key_of_agency("other", agency_name("s", key)) is None
    assert key_of_agency("s", "ContrailVM-Agency") is None


def test_the_offer_of_another_digest_is_not_used_for_this_package(world):
    world.desire(package=PackageRef("1.1.0", "sha256:bb"))
    assert not world.only(UpdateAgency)
    assert any("not published yet" in wait.reason for wait in world.only(Wait))
    assert isinstance(world.memory.offer, PackageOffer)
