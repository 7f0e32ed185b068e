"""The everyday part against the simulated vCenter, in virtual time; asserted on the simulated vCenter's state."""

from dataclasses import replace

import pytest
from stand import DEPLOYMENT

from contrail_vsphere.contrailvm.bootstrap.request import ClientCertificate, EnrolmentRefused
from contrail_vsphere.model.errors import DesiredStateError
from contrail_vsphere.simulator.eam.agency import Agency
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualPortgroup
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.wire.soap.fault import SoapFault

pytestmark = pytest.mark.looptime


async def deployed(stand):
    stand.apply()
    await stand.until(stand.converged)
    return stand


def on(stand, host):
    """The ContrailVM of a host."""
    return next((vm for vm in stand.contrailvms() if vm.host is not None and vm.host.name == host), None)


async def test_four_hosts_become_green(make_stand):
    async with make_stand() as stand:
        await deployed(stand)
        assert len(stand.served()) == 4
        assert stand.manager.plan_preview() == ()
        (trunk,) = [
            each
            for each in stand.vcenter.world.of_type(DistributedVirtualPortgroup)
            if each.name == "contrailvm-overlay"
        ]
        assert trunk.read("config.defaultPortConfig").vlan.vlanId[0].end == 4094
        assert all(
            host.required_agents == host.available_agents == 1 for host in stand.vcenter.world.of_type(HostSystem)
        )


async def test_f1_a_powered_off_contrailvm_comes_back(make_stand):
    async with make_stand() as stand:
        await deployed(stand)
        victim = on(stand, "esx-01")
        await stand.vcenter.scenario.power_off(victim)
        await stand.until(lambda: stand.converged() and len(stand.served()) == 4, seconds=120)
        assert on(stand, "esx-01") is victim


async def test_f1_it_is_noticed_within_five_seconds(make_stand):
    async with make_stand() as stand:
        await deployed(stand)
        await stand.vcenter.scenario.power_off(on(stand, "esx-01"))
        took = await stand.until(lambda: stand.vcenter.calls["Resolve"])
        assert took <= 10


async def test_f2_a_deleted_contrailvm_is_deployed_again_with_a_new_token(make_stand):
    async with make_stand() as stand:
        await deployed(stand)
        victim = on(stand, "esx-02")
        minted = victim.vapp_properties["bootstrap_token"]
        await stand.vcenter.scenario.delete_vm(victim)
        await stand.until(lambda: stand.converged() and len(stand.served()) == 4)
        new = on(stand, "esx-02")
        assert new is not victim and new.vapp_properties["bootstrap_token"] not in ("", minted)


async def test_f1_a_flapping_contrailvm_is_held_until_a_person_releases_it(make_stand):
    async with make_stand() as stand:
        await deployed(stand)

        def state():
            return next(h for d in stand.manager.status().deployments for h in d.hosts if h.name == "esx-01")

        for _ in range(4):
            await stand.until(lambda: state().state in ("healthy", "held"))
            if state().state == "held":
                break
            await stand.vcenter.scenario.power_off(on(stand, "esx-01"))
            await stand.until(lambda: state().state != "healthy")
        await stand.until(lambda: state().state == "held", seconds=120)
        assert "repaired 3 times in 15 minutes" in state().reason
        assert len(stand.served()) == 3
        stand.manager.operator.release(host="esx-01")
        await stand.until(lambda: stand.converged() and len(stand.served()) == 4, seconds=120)


async def test_f3_a_host_that_joins_is_served(make_stand):
    async with make_stand() as stand:
        await deployed(stand)
        await stand.vcenter.scenario.add_host("esx-99")
        await stand.until(lambda: stand.converged() and len(stand.served()) == 5)


async def test_f5_a_host_passes_through_maintenance(make_stand):
    async with make_stand() as stand:
        await deployed(stand)
        before = on(stand, "esx-00")
        await stand.vcenter.scenario.enter_maintenance("esx-00")
        await stand.until(lambda: "esx-00" not in stand.served(), seconds=120)
        assert stand.vcenter.scenario.host("esx-00").in_maintenance
        await stand.until(stand.converged, seconds=120)
        assert not stand.vcenter.calls["Resolve"]
        await stand.vcenter.scenario.exit_maintenance("esx-00")
        await stand.until(lambda: stand.converged() and len(stand.served()) == 4)
        assert on(stand, "esx-00") is before


async def test_f7_a_host_that_is_away_for_two_hours_keeps_its_contrailvm(make_stand):
    async with make_stand() as stand:
        await deployed(stand)
        vms = {vm.moid for vm in stand.contrailvms()}
        await stand.vcenter.scenario.disconnect_host("esx-03")
        begun = stand.now()
        await stand.until(lambda: (stand.now() - begun).total_seconds() > 7200, seconds=7300)
        assert not stand.vcenter.calls["Resolve"]
        await stand.vcenter.scenario.reconnect_host("esx-03")
        await stand.until(lambda: stand.converged() and len(stand.served()) == 4)
        assert {vm.moid for vm in stand.contrailvms()} == vms


async def test_f27_tenants_only_where_the_vrouter_forwards(make_stand):
    async with make_stand() as stand:
        with pytest.raises(AssertionError):
            stand.apply()
            await stand.until(lambda: False, seconds=5)
        with pytest.raises(SoapFault) as refused:
            await stand.vcenter.scenario.create_vm("tenant", host="esx-00")
        assert refused.value.kind == "InsufficientAgentVmsDeployed"
        await stand.until(stand.converged)
        await stand.vcenter.scenario.create_vm("tenant-2", host="esx-00")


async def test_f9_a_manager_that_crashes_while_deploying_doubles_nothing(make_stand):
    async with make_stand() as stand:
        stand.apply()
        for seconds in (1, 3, 7, 12, 20):
            with pytest.raises(AssertionError):
                await stand.until(lambda: False, seconds=seconds)
            await stand.crash()
            await stand.resume()
        await stand.until(stand.converged)
        assert len(stand.contrailvms()) == 4 and len(stand.served()) == 4
        assert len(list(stand.vcenter.world.of_type(Agency))) == 1


async def test_f8_eam_restarts_sessions_end_and_connections_break(make_stand):
    async with make_stand() as stand:
        await deployed(stand)
        await stand.vcenter.restart_eam()
        stand.vcenter.expire_sessions()
        await stand.vcenter.drop_connections()
        await stand.vcenter.scenario.power_off(on(stand, "esx-01"))
        await stand.until(lambda: stand.converged() and len(stand.served()) == 4)
        assert len(list(stand.vcenter.world.of_type(Agency))) == 1


async def test_f11_publishing_that_is_down_blocks_and_heals(make_stand):
    async with make_stand() as stand:
        await deployed(stand)
        await stand.publisher.stop()
        await stand.vcenter.scenario.delete_vm(on(stand, "esx-01"))
        with pytest.raises(AssertionError):
            await stand.until(stand.converged, seconds=300)
        assert len(stand.served()) == 3
        await stand.restart_publisher()
        await stand.until(lambda: stand.converged() and len(stand.served()) == 4, seconds=1200)


async def test_a_trunk_that_somebody_changed_is_put_right(make_stand):
    async with make_stand() as stand:
        await deployed(stand)
        (trunk,) = [
            each
            for each in stand.vcenter.world.of_type(DistributedVirtualPortgroup)
            if each.name == "contrailvm-overlay"
        ]
        await stand.break_trunk(trunk)
        await stand.until(lambda: stand.trunk_is_right(trunk), seconds=120)


async def test_a_vrouter_that_stopped_forwarding_is_restarted_after_a_grace(make_stand):
    async with make_stand() as stand:
        await deployed(stand)
        victim = on(stand, "esx-02")
        booted = victim.boot_time
        await stand.vcenter.vrouters.kill(victim.moid)
        await stand.until(lambda: not stand.converged())
        await stand.until(lambda: victim.boot_time != booted, seconds=300)
        await stand.until(lambda: stand.converged() and len(stand.served()) == 4)


async def test_removal_takes_everything_down_and_forgets(make_stand):
    async with make_stand(hosts=3) as stand:
        await deployed(stand)
        foreign = await stand.vcenter.scenario.create_vm("tenant")
        stand.manager.operator.remove("dc1")
        await stand.until(lambda: not stand.manager.notebook.desired, seconds=900)
        assert not stand.contrailvms()
        assert not list(stand.vcenter.world.of_type(Agency))
        assert foreign in set(stand.vcenter.world.of_type(VirtualMachine))


async def test_the_brake_stops_a_large_removal_until_a_person_releases_it(make_stand):
    async with make_stand(hosts=6) as stand:
        await deployed(stand)
        stand.manager.operator.remove("dc1")
        await stand.until(lambda: stand.manager.brake.state.engaged, seconds=60)
        assert len(stand.served()) == 6
        stand.manager.operator.release_brake("contrailvm", by="anna")
        await stand.until(lambda: not stand.contrailvms(), seconds=900)


async def test_dropping_a_cluster_from_the_file_is_refused_without_a_removal(make_stand):
    async with make_stand(clusters=2) as stand:
        stand.apply(DEPLOYMENT.replace('["C0"]', '["C0", "C1"]'))
        with pytest.raises(DesiredStateError, match="dc1 on C1: the ContrailVMs there would be removed"):
            stand.apply()
        assert len(stand.manager.notebook.desired) == 2


async def test_unregistering_says_what_it_takes_down(make_stand):
    async with make_stand() as stand:
        await deployed(stand)
        destruction = await stand.registration(stand.client).destruction(stand.client.eam)
        assert len(destruction.agencies) == 1 and len(destruction.vms) == 4
        assert replace(destruction, vms=()) != destruction


async def test_f9_a_lost_reply_to_create_agency_makes_no_second_one(make_stand):
    async with make_stand() as stand:
        stand.vcenter.scenario.add_fault(method="CreateAgency", drop_reply=True, times=1)
        await deployed(stand)
        assert len(list(stand.vcenter.world.of_type(Agency))) == 1
        assert len(stand.contrailvms()) == 4


async def test_f17_a_host_that_cannot_be_wired_leaves_the_others_alone(make_stand):
    async with make_stand() as stand:
        stand.vcenter.scenario.add_fault(method="ReconfigVM_Task", name="ContrailVM (2)", fault="InvalidDeviceSpec")
        stand.apply()
        await stand.until(lambda: len(stand.served()) == 3)
        (line,) = [h for d in stand.manager.status().deployments for h in d.hosts if h.vm_name == "ContrailVM (2)"]
        assert line.state in ("hook-provisioned", "held") and "reconfigur" in line.reason
        stand.vcenter.scenario.clear_faults()
        stand.manager.operator.release(host=line.host)
        await stand.until(lambda: stand.converged() and len(stand.served()) == 4)


async def test_a_busy_vcenter_is_asked_again(make_stand):
    async with make_stand() as stand:
        stand.vcenter.scenario.add_fault(method="ReconfigVM_Task", fault="TaskInProgress", times=6)
        stand.vcenter.scenario.add_fault(method="MarkAsAvailable", http_status=503, times=5)
        await deployed(stand)
        assert len(stand.served()) == 4


async def test_f23_after_somebody_unregistered_us_nothing_is_done(make_stand):
    async with make_stand() as stand:
        await deployed(stand)
        registration = stand.registration(stand.client)
        accepted = await registration.destruction(stand.client.eam)
        await registration.unregister(accepted=accepted, eam=stand.client.eam)
        await stand.until(lambda: not stand.contrailvms())
        await stand.until(lambda: "is not registered any more" in stand.manager.blind())
        begun = stand.now()
        await stand.until(lambda: (stand.now() - begun).total_seconds() > 600, seconds=700)
        assert stand.vcenter.calls["CreateAgency"] == 1


async def test_f22_a_guest_with_the_certificate_of_a_replaced_vm_is_told_nothing(make_stand):
    async with make_stand() as stand:
        await deployed(stand)
        (key,) = stand.manager.keys()
        host = on(stand, "esx-02").host.moid
        old = stand.manager.notebook.host(key, host)
        certificate = ClientCertificate(common_name="x", serial=1, key_sha256=old.enrolled_key, sha256="")
        assert (await stand.manager.office.configuration(certificate)).host == host
        await stand.vcenter.scenario.delete_vm(on(stand, "esx-02"))
        await stand.until(lambda: stand.converged() and len(stand.served()) == 4)
        with pytest.raises(EnrolmentRefused):
            await stand.manager.office.configuration(certificate)


async def test_a_paused_deployment_is_left_alone_until_it_is_resumed(make_stand):
    async with make_stand() as stand:
        await deployed(stand)
        stand.manager.operator.pause(by="anna")
        await stand.vcenter.scenario.power_off(on(stand, "esx-01"))
        begun = stand.now()
        await stand.until(lambda: (stand.now() - begun).total_seconds() > 300, seconds=400)
        assert not stand.vcenter.calls["Resolve"]
        stand.manager.operator.resume()
        await stand.until(lambda: stand.converged() and len(stand.served()) == 4)


async def test_a_converged_estate_costs_one_call_per_agency_and_poll(make_stand):
    async with make_stand() as stand:
        await deployed(stand)
        before, begun = sum(stand.vcenter.calls.values()), stand.now()
        await stand.until(lambda: (stand.now() - begun).total_seconds() >= 600, seconds=700)
        calls = sum(stand.vcenter.calls.values()) - before
        whole = 2 * (4 + 4)
        assert calls <= 20 * 2 + whole + 40, stand.vcenter.calls
