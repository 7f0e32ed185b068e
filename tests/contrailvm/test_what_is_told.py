"""Status, plan, registration and removal say what is so, and leave nothing of ours behind."""

from dataclasses import replace

import pytest
from stand import DEPLOYMENT

from contrail_vsphere.contrailvm.package import make_demo_package
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualPortgroup
from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool
from contrail_vsphere.vsphere.vcenter import PasswordLogin, VCenter

pytestmark = pytest.mark.looptime

POOLED = DEPLOYMENT.replace(
    "[deployment.dc1.networks]", "resource_pool = {{ cpu_mhz = 500, memory_mb = 1024 }}\n[deployment.dc1.networks]"
)


def groups(stand):
    return [each.name for each in stand.vcenter.world.of_type(DistributedVirtualPortgroup)]


def pools(stand):
    return [each for each in stand.vcenter.world.of_type(ResourcePool) if each.name.startswith("ContrailVM-")]


async def test_after_a_removal_our_port_group_and_our_pool_are_gone_too(make_stand):
    async with make_stand(hosts=2) as stand:
        before = sorted(groups(stand))
        stand.apply(POOLED)
        await stand.until(stand.converged)
        assert len(pools(stand)) == 1 and "contrailvm-overlay" in groups(stand)
        stand.manager.operator.remove("dc1")
        await stand.until(lambda: not stand.manager.notebook.desired, seconds=900)
        assert not pools(stand) and sorted(groups(stand)) == before


async def test_a_pool_that_the_cluster_cannot_give_is_told_and_a_smaller_one_is_made(make_stand):
    async with make_stand(hosts=2) as stand:
        stand.apply(POOLED.replace("cpu_mhz = 500", "cpu_mhz = 500000"))

        def told():
            return "; ".join(each for deployment in stand.manager.status().deployments for each in deployment.next)

        await stand.until(lambda: "ensure resource pool failed" in told(), seconds=60)
        assert "InsufficientCpuResourcesFault" in told()
        assert not pools(stand)
        stand.apply(POOLED)
        await stand.until(stand.converged)
        assert [each.cpu.reservation for each in pools(stand)] == [500]


async def test_a_port_group_of_ours_that_somebody_uses_stays_and_the_removal_ends(make_stand):
    async with make_stand(hosts=2) as stand:
        stand.apply(POOLED)
        await stand.until(stand.converged)
        stand.vcenter.scenario.add_fault(
            type="DistributedVirtualPortgroup", method="Destroy_Task", fault="ResourceInUse"
        )
        stand.manager.operator.remove("dc1")
        await stand.until(lambda: not stand.manager.notebook.desired, seconds=900)
        assert "contrailvm-overlay" in groups(stand) and not pools(stand)


async def test_two_clusters_on_one_trunk_the_last_one_takes_it_along(make_stand):
    async with make_stand(hosts=1, clusters=2) as stand:
        stand.apply(DEPLOYMENT.replace('["C0"]', '["C0", "C1"]'))
        await stand.until(stand.converged)
        stand.manager.operator.apply_deployments(DEPLOYMENT.format(version="1.0.0"), allow_removal=True)
        await stand.until(lambda: len(stand.manager.notebook.desired) == 1, seconds=900)
        assert groups(stand).count("contrailvm-overlay") == 1
        stand.manager.operator.remove("dc1")
        await stand.until(lambda: not stand.manager.notebook.desired, seconds=900)
        assert "contrailvm-overlay" not in groups(stand)


async def test_a_restart_writes_nothing_where_all_is_well(make_stand):
    async with make_stand(hosts=2) as stand:
        stand.apply(POOLED)
        await stand.until(stand.converged)
        await stand.crash()
        before = dict(stand.vcenter.calls)
        await stand.resume()
        await stand.until(stand.converged)
        changed = {name for name, count in stand.vcenter.calls.items() if count > before.get(name, 0)}
        assert not changed & {"UpdateConfig", "Update", "ReconfigVM_Task", "ReconfigureDVPortgroup_Task", "Resolve"}
        assert stand.manager.notebook.memory(stand.manager.keys()[0]).pool == pools(stand)[0].moid


async def test_while_hosts_are_replaced_the_status_shows_which_version_each_has(make_stand):
    async with make_stand(hosts=3) as stand:
        stand.apply()
        await stand.until(stand.converged)
        await stand.publisher.publish(make_demo_package(stand.directory / "build2", version="2.0.0"))
        stand.apply(version="2.0.0")

        def versions():
            return {h.name: h.version for d in stand.manager.status().deployments for h in d.hosts}

        assert set(versions().values()) == {"1.0.0"}
        await stand.until(lambda: "2.0.0" in versions().values(), seconds=900)
        assert sorted(versions().values()) != ["2.0.0"] * 3, "one after the other"
        new = {host for host, version in versions().items() if version == "2.0.0"}
        assert len(new) == 1
        await stand.until(lambda: set(versions().values()) == {"2.0.0"}, seconds=3000)
        await stand.until(stand.converged, seconds=300)
        assert {each.version for each in stand.manager.hosts()} == {"2.0.0"}


async def test_a_host_out_of_reach_is_not_converged(make_stand):
    async with make_stand(hosts=2) as stand:
        stand.apply()
        await stand.until(stand.converged)
        await stand.vcenter.scenario.disconnect_host("esx-01")
        await stand.until(lambda: not stand.converged(), seconds=60)
        await stand.vcenter.scenario.reconnect_host("esx-01")
        await stand.until(stand.converged, seconds=300)


async def test_a_plan_and_the_log_name_hosts_as_people_do(make_stand, caplog):
    async with make_stand(hosts=2) as stand:
        stand.apply()
        await stand.until(stand.converged)
        host = stand.vcenter.scenario.host("esx-01")
        with caplog.at_level("INFO", logger="contrail_vsphere.contrailvm.controller"):
            await stand.vcenter.scenario.power_off(next(vm for vm in stand.contrailvms() if vm.host is host))
            await stand.until(stand.manager.plan_preview, seconds=30)
            assert {each.host_name for each in stand.manager.plan_preview() if each.action.host} == {"esx-01"}
            await stand.until(stand.converged, seconds=120)
        assert f"esx-01 ({host.moid}): resolve" in caplog.text


async def test_registering_again_says_with_which_certificate(make_stand):
    async with make_stand(hosts=1) as stand:
        login = PasswordLogin(stand.vcenter.ready["username"], stand.vcenter.ready["password"])
        async with VCenter(stand._endpoint, login) as admin:
            again = await stand.registration(admin).register()
            stand.extension = stand._identity("renewed", stand.authority.issue_client("x", key_kind="rsa"))
            renewed = await stand.registration(admin).register()
        assert again.outcome == renewed.outcome == "unchanged"
        assert len(again.certificate) == 64 and again.certificate != renewed.certificate


async def test_deploying_many_hosts_reads_each_esx_agent_a_few_times_only(make_stand):
    async with make_stand(hosts=16) as stand:
        stand.apply()
        await stand.until(stand.converged)
        assert stand.vcenter.calls["AgentQueryRuntime"] <= 16 * 24, "about 18"


async def test_f25_a_change_behind_a_green_agency_is_seen_without_events(make_stand):
    """The agency stays green while its EsxAgent gets another VM: only a whole read shows it."""
    async with make_stand(hosts=2) as stand:
        stand.apply()
        await stand.until(stand.converged)
        agency = next(iter(stand.client.eam.cache.agencies.values()))
        stale = replace(agency, agents=tuple(replace(each, vm_ip="192.0.2.1") for each in agency.agents))
        stand.client.eam.cache.fold(stale)
        await stand.until(lambda: agency in stand.client.eam.cache.agencies.values(), seconds=340)
