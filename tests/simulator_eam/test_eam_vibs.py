"""VIBs: what EAM does on the host, through Update Manager, and through a cluster's image; each issue and its remedy."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
from bundles import bundle, vib_xml
from hypothesis import given
from hypothesis import strategies as st

from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.eam.host_image import HostImage
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.simulator.vcenter import host_life
from contrail_vsphere.wire.soap.types import eam
from contrail_vsphere.wire.vib import bundle as vib_bundle
from contrail_vsphere.wire.vib.bundle import Vib

looped = pytest.mark.looptime


def with_bundle(site, data: bytes, *, name="b1", package=True, **changes):
    site.depot.files[f"/{name}.zip"] = data
    config = site.config(**changes)
    config.agentConfig[0].vibUrl = f"{site.depot.url}/{name}.zip"
    if not package:
        config.agentConfig[0].ovfPackageUrl = None
        config.agentConfig[0].ovfEnvironment = None
    return config


def image(site, host=0) -> HostImage:
    with site.world.commit() as tx:
        return HostImage.ensure(tx, site.hosts[host])


def change_image(site, **state) -> HostImage:
    found = image(site)
    with site.world.commit() as tx:
        tx.set(found, **state)
    return found


async def update(site, agency, config):
    await agency.Update(site.solution, config=config)
    await site.settle()


async def quick(site):
    """Timing without a duration lets a boot and what it follows happen at once: give boots one."""
    site.world.services[Timing] = dataclasses.replace(Timing.instant(), host_boot=60.0)


@looped
async def test_a_live_vib_comes_before_the_vm_and_goes_after_it(make_site):
    async with make_site(hosts=1) as site:
        agency = await site.create(with_bundle(site, bundle(vib_xml())))
        agent = agency.agents[0]
        assert agency.status == "green"
        assert [vib.name for vib in image(site).vibs] == ["contrail-esx"]
        runtime = agent.AgentQueryRuntime(site.solution)
        assert (runtime.installedVibs[0].id, runtime.installedBulletin) == (
            "Contrail_bootbank_contrail-esx_1.0-1",
            ["CONTRAIL-1"],
        )
        assert site.events("agent.task.vibInstalled")
        agency.Uninstall(site.solution)
        await site.settle()
        assert (agency.status, agency.agents, image(site).vibs) == ("green", (), ())
        assert site.events("agent.task.vibUninstalled")
        assert site.depot.requests.count("GET /b1.zip") == 2, "once to check the URL, once for all hosts"


@looped
async def test_an_agency_of_vibs_only(make_site):
    async with make_site(hosts=2) as site:
        agency = await site.create(with_bundle(site, bundle(vib_xml()), package=False))
        assert agency.status == "green"
        assert site.eam_vms() == []
        await update(site, agency, with_bundle(site, bundle(vib_xml(version="1.1-0")), name="b2", package=False))
        assert agency.status == "green"
        assert [vib.version for host in (0, 1) for vib in image(site, host).vibs] == ["1.1-0", "1.1-0"]


CASES = [
    ("garbage", b"no zip at all", "VibInvalidFormat", {}),
    ("bare vib", bundle(), "VibInvalidFormat", {}),
    ("wrong checksum", bundle(vib_xml(checksum="00")), "VibInvalidFormat", {}),
    ("without payload", bundle(vib_xml(), leave_out_payload=True), "VibInvalidFormat", {}),
    ("level", bundle(vib_xml(level="community")), "VibNotInstalled", {"acceptance_level": "community"}),
    (
        "depends",
        bundle(vib_xml(depends=[("base", ">=", "2.0")])),
        "VibDependenciesNotMetByHost",
        {"vibs": (Vib(name="base", version="2.1"),)},
    ),
    (
        "conflicts",
        bundle(vib_xml(conflicts=[("nsx", "", "")])),
        "VibDependenciesNotMetByHost",
        {"vibs": ()},
    ),
    ("stateless", bundle(vib_xml()), "VibRequiresManualInstallation", {"stateless": False}),
]


@looped
@pytest.mark.parametrize(("data", "issue", "mended"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
async def test_what_keeps_a_vib_from_being_installed(make_site, data, issue, mended):
    async with make_site(hosts=1) as site:
        change_image(site, stateless="stateless" in mended, vibs=(Vib(name="nsx", version="1"),) if mended else ())
        agency = await site.create(with_bundle(site, data))
        assert site.issues(agency) == [issue]
        assert site.eam_vms() == [], "the VIB comes first"
        await site.resolve_all(agency)
        assert site.issues(agency) == [issue], "resolving does not help by itself"
        if mended:
            change_image(site, **mended)
            await site.resolve_all(agency)
        else:
            await update(site, agency, with_bundle(site, bundle(vib_xml()), name="good"))
        assert (agency.status, site.issues(agency)) == ("green", [])


@looped
async def test_a_host_of_other_hardware(make_site):
    async with make_site(hosts=1) as site:
        agency = await site.create(with_bundle(site, bundle(vib_xml(platform="Dell Inc."))))
        assert site.issues(agency) == ["VibRequirementsNotMetByHost"]


@looped
async def test_older_releases_say_vib_not_installed(make_site):
    async with make_site(hosts=1, profile="vc65") as site:
        agency = await site.create(with_bundle(site, bundle(vib_xml(platform="Dell Inc."))))
        assert site.issues(agency) == ["VibNotInstalled"]


@looped
async def test_a_bundle_that_vanishes(make_site):
    async with make_site(hosts=1) as site:
        config = with_bundle(site, bundle(vib_xml()))
        agency = await site.eam.manager.CreateAgency(site.solution, agencyConfigInfo=config, initialGoalState="enabled")
        del site.depot.files["/b1.zip"]
        await site.settle()
        (issue,) = agency.QueryIssue(site.solution)
        assert type(issue) is eam.issue.CannotAccessAgentVib
        assert issue.downloadUrl.endswith("/b1.zip")
        site.depot.files["/b1.zip"] = bundle(vib_xml())
        await site.resolve_all(agency)
        assert agency.status == "green"


@looped
async def test_maintenance_mode_is_entered_and_left_by_resolve(make_site):
    async with make_site(hosts=2) as site:
        agency = await site.create(with_bundle(site, bundle(vib_xml(maintenance=True))))
        assert site.issues(agency) == ["VibRequiresHostInMaintenanceMode"] * 2
        issue = agency.QueryIssue(site.solution)[0]
        assert agency.Resolve(site.solution, issueKey=[issue.key]) == []
        await site.settle()
        assert agency.agents[0].status == "green"
        assert not site.hosts[0].in_maintenance, "EAM takes out what it put in"
        assert site.issues(agency) == ["VibRequiresHostInMaintenanceMode"]
        agency.Uninstall(site.solution)
        await site.settle()
        assert site.issues(agency) == ["VibRequiresHostInMaintenanceMode"], "removing needs it too"
        await site.resolve_all(agency)
        assert (agency.status, agency.agents) == ("green", ())
        assert not any(host.in_maintenance for host in site.hosts)


@looped
async def test_maintenance_mode_of_an_administrator_stays(make_site):
    async with make_site(hosts=1) as site:
        agency = await site.create(with_bundle(site, bundle(vib_xml(maintenance=True))))
        await site.enter_maintenance(site.hosts[0])
        assert [vib.name for vib in image(site).vibs] == ["contrail-esx"]
        assert site.hosts[0].in_maintenance
        await site.exit_maintenance(site.hosts[0])
        assert agency.status == "green"


@looped
async def test_maintenance_mode_that_cannot_be_entered_or_left(make_site, switches):
    async with make_site(hosts=1, vms=1, switches=switches(maintenance_deadline=60.0)) as site:
        agency = await site.create(with_bundle(site, bundle(vib_xml(maintenance=True))))
        await site.resolve_all(agency)
        await site.sleep(120)
        assert site.issues(agency) == ["VibCannotPutHostInMaintenanceMode"], "its tenant has nowhere to go"
        (tenant,) = [vm for vm in site.hosts[0].vms if not vm.esx_agent]
        await site.power_off(tenant)
        site.add_fault(point="eam.exit_maintenance", fault="Timedout", times=1)
        await site.resolve_all(agency)
        await site.sleep(60)
        assert site.issues(agency) == ["VibCannotPutHostOutOfMaintenanceMode"]
        await site.resolve_all(agency)
        assert agency.status == "green"


@looped
async def test_a_vib_that_counts_from_the_next_boot(make_site):
    async with make_site(hosts=1) as site:
        await quick(site)
        agency = await site.create(with_bundle(site, bundle(vib_xml(live_install=False))))
        assert site.issues(agency) == ["VibRequiresHostReboot"]
        second = with_bundle(site, bundle(vib_xml(name="other")), name="b2", package=False, agencyName="second")
        other = await site.create(second)
        assert site.issues(other) == ["ImmediateHostRebootRequired"]
        await site.resolve_all(agency)
        await site.sleep(300)
        assert (agency.status, other.status) == ("green", "green")
        assert not site.hosts[0].in_maintenance


@looped
async def test_a_boot_by_a_person_counts_as_well(make_site):
    async with make_site(hosts=1) as site:
        await quick(site)
        agency = await site.create(with_bundle(site, bundle(vib_xml(live_install=False))))
        await host_life.crash(site.world, site.hosts[0])
        await site.sleep(60)
        await site.do(host_life.boot(site.world, site.hosts[0]))
        await site.sleep(60)
        assert agency.status == "green"


@looped
async def test_a_vib_that_somebody_removed(make_site):
    async with make_site(hosts=1) as site:
        agency = await site.create(with_bundle(site, bundle(vib_xml())))
        change_image(site, vibs=())
        await site.sleep(60)
        assert site.issues(agency) == ["VibNotInstalled"]
        await site.resolve_all(agency)
        assert agency.status == "green"
        assert image(site).vibs


@looped
async def test_vibs_of_a_stateless_host_are_removed_by_hand(make_site):
    async with make_site(hosts=1) as site:
        agency = await site.create(with_bundle(site, bundle(vib_xml())))
        change_image(site, stateless=True)
        agency.Uninstall(site.solution)
        await site.settle()
        (issue,) = agency.QueryIssue(site.solution)
        assert type(issue) is eam.issue.VibRequiresManualUninstallation
        assert issue.bulletin == ["CONTRAIL-1"]


@looped
@pytest.mark.parametrize(("point", "issue"), [("eam.vum", "VUMUnavailable"), ("eam.vum.stage", "CannotStageSoftware")])
async def test_update_manager_that_is_broken(make_site, point, issue):
    async with make_site(hosts=2, profile="vc67") as site:
        site.add_fault(point=point, fault="HostCommunication", times=2)
        agency = await site.create(with_bundle(site, bundle(vib_xml())))
        assert issue in site.issues(agency)
        assert agency.status == "red"
        await site.resolve_all(agency)
        assert (agency.status, site.issues(agency)) == ("green", [])


@looped
async def test_update_manager_is_bypassed(make_site):
    async with make_site(hosts=1, profile="vc65") as site:
        site.add_fault(point="eam.vum", fault="HostCommunication")
        agency = await site.create(with_bundle(site, bundle(vib_xml()), bypassVumEnabled=True))
        assert agency.status == "green"


@looped
async def test_a_cluster_with_an_image_gets_vibs_when_it_is_remediated(make_site):
    async with make_site(hosts=2) as site:
        with site.world.commit() as tx:
            tx.set(site.cluster, image_managed=True)
        agency = await site.create(with_bundle(site, bundle(vib_xml())))
        assert site.issues(agency) == ["AwaitingPMRemediation"] * 2
        assert site.events("issue.personality.agent.awaitingPMRemediation")
        await site.resolve_all(agency)
        assert site.issues(agency) == ["AwaitingPMRemediation"] * 2
        site.eam.vib_work.remediate(site.cluster, user="somebody")
        await site.settle()
        assert agency.status == "green"
        agency.Uninstall(site.solution)
        await site.settle()
        assert site.issues(agency) == ["AwaitingPMRemediation"] * 2
        site.eam.vib_work.remediate(site.cluster, user="somebody")
        await site.settle()
        assert (agency.status, image(site).vibs) == ("green", ())


@looped
@pytest.mark.parametrize(
    ("data", "point", "issue"),
    [
        (b"no zip", "", "InvalidDepot"),
        (b"", "eam.pm", "PMUnavailable"),
        (b"", "eam.pm.upload", "CannotUploadDepot"),
        (b"", "eam.pm.configure", "CannotConfigureSolutions"),
    ],
)
async def test_a_depot_that_vlcm_does_not_take(make_site, data, point, issue):
    async with make_site(hosts=1) as site:
        with site.world.commit() as tx:
            tx.set(site.cluster, image_managed=True)
        if point:
            site.add_fault(point=point, fault="HostCommunication", times=1)
        agency = await site.create(with_bundle(site, data or bundle(vib_xml())))
        assert sorted(site.issues(agency)) == sorted([issue, "BlockedByAgencyOperation"])
        found = next(item for item in agency.QueryIssue(site.solution) if type(item).__name__.endswith(issue))
        assert found.agencyName == agency.name
        if point:
            await site.resolve_all(agency)
        else:
            await update(site, agency, with_bundle(site, bundle(vib_xml()), name="good"))
        assert site.issues(agency) == ["AwaitingPMRemediation"]


@looped
async def test_hosts_of_release_9_take_vibs_through_images_only(make_site):
    async with make_site(hosts=1, profile="vc90") as site:
        with site.world.commit() as tx:
            tx.set(site.hosts[0], version="9.0.0")
        agency = await site.create(with_bundle(site, bundle(vib_xml())))
        assert site.issues(agency) == ["VibRequiresManualInstallation"]


def test_a_bundle_is_read_whole():
    found = vib_bundle.parse(bundle(vib_xml(depends=[("a", ">=", "1")], platform="X", maintenance=True)))
    (vib,) = found.vibs
    assert (vib.maintenance_mode, vib.platforms, vib.tags) == (True, ("X",), ("driver",))
    assert vib.depends[0].matches(Vib(name="a", version="1.0"))


@pytest.mark.parametrize(
    ("older", "newer"), [("1.0-1", "1.0-2"), ("1.9", "1.10"), ("1.0", "1.0.1"), ("1.0-rc", "1.0-1"), ("9", "10")]
)
def test_versions_compare_number_by_number(older, newer):
    assert vib_bundle.version_key(older) < vib_bundle.version_key(newer)


@given(st.binary(max_size=400), st.integers(0, 3000))
def test_broken_bundles_are_package_errors(noise, cut):
    whole = bundle(vib_xml())
    for data in (noise, whole[:cut], whole[:cut] + noise + whole[cut:]):
        with contextlib.suppress(PackageError):
            vib_bundle.parse(data)


def test_a_bomb_is_refused():
    entity = '<!DOCTYPE vib [<!ENTITY a "aaaa">]>' + vib_xml()
    with pytest.raises(PackageError):
        vib_bundle.parse(bundle(entity))


async def test_a_saved_inventory_keeps_the_software_of_hosts(tmp_path):
    async with VCenterSimulator(hosts=1, timing=Timing.instant()) as vcenter:
        with vcenter.world.commit() as tx:
            made = HostImage.ensure(tx, vcenter.scenario.host("esx-00"))
            tx.set(made, vibs=(Vib(name="a", version="1", provides=("b",)),), stateless=True)
        vcenter.scenario.save(tmp_path / "inventory.json")
        await vcenter.scenario.load(str(tmp_path / "inventory.json"))
        found = HostImage.of(vcenter.world, vcenter.scenario.host("esx-00"))
        assert found is not made
        assert (found.vibs, found.stateless) == (made.vibs, True)
