"""F23 and F24: what others left, what a lost journal left, and an extension that somebody unregistered."""

import tomllib

import pytest
from scene import DEPLOYMENT, Scene
from stand import KEY

from contrail_vsphere.app.contrailvm_adopt import adoptable, take_off
from contrail_vsphere.config.settings import Settings
from contrail_vsphere.model.eam import AgencyConfig, EsxAgentConfig, Trust
from contrail_vsphere.model.errors import NotFound, UsageError
from contrail_vsphere.model.ids import ClusterId
from contrail_vsphere.simulator.vcenter.compute_resource import ClusterComputeResource
from contrail_vsphere.vsphere.vcenter import PasswordLogin, VCenter

pytestmark = pytest.mark.looptime
TWO_CLUSTERS = DEPLOYMENT.replace('["C0"]', '["C0", "C1"]')


def settings(lab) -> Settings:
    """An administrator's, as the command line reads them."""
    ready, endpoint = lab.vcenter.ready, lab._endpoint
    table = {"host": endpoint.host, "port": endpoint.port, "thumbprint": ready["thumbprint"]}
    return Settings.model_validate({"vcenter": {"lab": {**table, **account(lab)}}})


def account(lab):
    return {"username": lab.vcenter.ready["username"], "password": lab.vcenter.ready["password"]}


def administrator(lab) -> VCenter:
    return VCenter(lab._endpoint, PasswordLogin(**account(lab)))


def clusters(lab):
    return sorted(lab.world.of_type(ClusterComputeResource), key=lambda each: each.name)


async def left_by_another_tool(lab):
    """The agency of the tool before us, owned by the administrator, without hooks, on all clusters."""
    config = AgencyConfig(
        name="ContrailVM-Agency",
        agent_name="ContrailVM",
        agents=(
            EsxAgentConfig(
                ovf_url=lab.publisher.url(lab.package.digest),
                properties=lab.manager._shelf._properties(lab.package, desired(lab)),
                trust=Trust(lab.publisher.certificate_pem),
            ),
        ),
        scope=tuple(ClusterId(each.moid) for each in clusters(lab)),
        hook_after_provisioning=False,
        hook_after_power_on=False,
        networks=(next(n.id for n in lab.client.inventory.networks.values() if n.name == "mgmt"),),
        datastores=(next(d.id for d in lab.client.inventory.datastores.values() if d.name == "nfs-shared"),),
    )
    async with administrator(lab) as client:
        await client.eam.create_agency(config)
    hosts = sum(len(each.hosts) for each in clusters(lab))
    await lab.until(lambda: len(lab.served()) == hosts)


def desired(lab):
    after, _ = lab.manager.operator.check_deployments(DEPLOYMENT.format(version="1.0.0"))
    return next(iter(after.values()))


async def test_f24_nothing_of_ours_comes_where_another_tools_contrailvms_run(tmp_path):
    async with Scene(tmp_path, hosts=2, deploy=False) as lab:
        await left_by_another_tool(lab)
        theirs = {vm.moid for vm in lab.contrailvms()}
        lab.apply()
        await lab.pass_time(900)
        assert {vm.moid for vm in lab.contrailvms()} == theirs and len(lab.agencies()) == 1
        assert "2 ContrailVMs of another tool run on C0" in lab.alarms()


async def test_f24_cluster_by_cluster_ours_come_in_the_place_of_theirs(tmp_path):
    async with Scene(tmp_path, hosts=2, clusters=2, deploy=False) as lab:
        await left_by_another_tool(lab)
        theirs = {vm.moid for vm in lab.contrailvms()}
        (found,) = await adoptable(settings(lab))
        assert (found.name, found.clusters, len(found.vms)) == ("ContrailVM-Agency", ("C0", "C1"), len(theirs))
        assert KEY not in found.owner

        lab.apply(TWO_CLUSTERS)
        waiting = {key.cluster for key in lab.manager.notebook.desired}
        done = await take_off(settings(lab), "ContrailVM-Agency", cluster="C0", ready=waiting.__contains__)
        assert done.clusters == ("C0",) and not done.destroyed
        first, second = ({host.name for host in each.hosts} for each in clusters(lab))
        await lab.until(lambda: all(map(lab.forwarding, first)), seconds=900)
        assert {lab.on(host).moid for host in second} < theirs, "the other cluster was left alone"
        assert not theirs & {lab.on(host).moid for host in first}

        done = await take_off(settings(lab), found.id, ready=waiting.__contains__)
        assert done.destroyed
        await lab.heals()
        assert not theirs & {vm.moid for vm in lab.contrailvms()} and len(lab.agencies()) == 2
        assert await adoptable(settings(lab)) == ()


async def test_f24_a_cluster_that_no_deployment_waits_for_is_not_freed(tmp_path):
    async with Scene(tmp_path, hosts=1, deploy=False) as lab:
        await left_by_another_tool(lab)
        with pytest.raises(UsageError, match="no deployment names C0"):
            await take_off(settings(lab), "ContrailVM-Agency", ready=lambda _cluster: False)
        with pytest.raises(NotFound):
            await take_off(settings(lab), "another", ready=lambda _cluster: True)
        assert len(lab.served()) == 1


async def test_a_lost_journal_is_made_up_for_by_the_draft(tmp_path):
    async with Scene(tmp_path, hosts=2) as lab:
        vms = {vm.moid for vm in lab.contrailvms()}
        await lab.crash()
        for file in tmp_path.glob("journal.db*"):
            file.unlink()
        await lab.resume()
        await lab.until(lambda: lab.manager.unclaimed(), seconds=60)
        assert any("no deployment names it" in each for each in lab.manager.status().problems)
        text = lab.manager.draft()
        table = tomllib.loads(text)["deployment"]["dc1"]
        assert table["clusters"] == ["C0"] and table["package"] == "1.0.0"
        assert table["networks"]["overlay"] == {"switch": "dvs0", "port_group": "contrailvm-overlay"}
        lab.manager.operator.apply_deployments(text.replace("[]  #", '["127.0.0.1"]  #'))
        await lab.until(lab.converged, seconds=600)
        await lab.pass_time(600)
        assert {vm.moid for vm in lab.contrailvms()} == vms and not lab.manager.unclaimed()


async def test_f23_what_went_with_the_extension_is_made_again_only_by_a_persons_word(tmp_path):
    async with Scene(tmp_path, hosts=2) as lab:
        async with administrator(lab) as client:
            await client.call(client.content.extensionManager, "UnregisterExtension", extensionKey=KEY)
        await lab.until(lambda: lab.manager.detached and not lab.contrailvms(), seconds=600)
        assert not lab.agencies()
        with pytest.raises(NotFound):
            await lab.manager.reattach()
        await lab._register()
        await lab.pass_time(900)
        assert not lab.agencies(), "registered again by somebody; that alone deploys nothing"
        await lab.suspend_resume_manager(10)
        await lab.pass_time(300)
        assert not lab.agencies() and "adopt --extension" in lab.manager.status().problems[0]
        assert await lab.manager.reattach()
        await lab.heals()
