"""Every release through one life: deploy, power off, delete, maintenance, upgrade, uninstall; and what is its own."""

from __future__ import annotations

import pytest

from contrail_vsphere.simulator.eam.profiles import PROFILES
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.metadata import method_of
from contrail_vsphere.wire.soap.types import eam

pytestmark = pytest.mark.looptime
OLD = ("vc65", "vc67")


@pytest.mark.parametrize("profile", PROFILES)
async def test_the_life_of_an_agency(make_site, profile):
    async with make_site(hosts=2, profile=profile) as site:
        agency = await site.create(site.config(hooks=True))
        shown = [agent.AgentQueryRuntime(site.solution).vmHook for agent in agency.agents]
        assert all(hook is None for hook in shown) is (profile == "vc65"), "6.5 has no word for it"
        assert len(site.events("agent.markAgentVmAsAvailableAfterProvisioning")) == 2
        for _ in range(2):
            await site.mark(*agency.agents)
        assert agency.status == "green"
        first = agency.agents[0]

        await site.power_off(first.vm)
        assert site.issues(agency) == ["VmPoweredOff"]
        await site.resolve_all(agency)
        await site.mark(first)
        assert agency.status == "green"

        await site.delete(first.vm)
        assert site.issues(agency) == ["VmNotDeployed"]
        await site.resolve_all(agency)
        for _ in range(2):
            await site.mark(first)
        assert agency.status == "green"

        await site.enter_maintenance(first.host)
        red = profile in OLD
        assert site.issues(agency) == (["HostInMaintenanceMode"] if red else [])
        assert agency.status == ("red" if red else "yellow")
        await site.exit_maintenance(first.host)
        await site.mark(first)
        assert agency.status == "green"

        await agency.Update(site.solution, config=site.config(site.depot.package("v2", memory_mb=4096), hooks=True))
        await site.settle()
        for _ in range(3):
            await site.mark(*agency.agents)
        assert (agency.status, [vm.memory_mb for vm in site.eam_vms()]) == ("green", [4096, 4096])

        agency.Uninstall(site.solution)
        await site.settle()
        assert (agency.status, agency.agents, site.eam_vms()) == ("green", (), [])
        agency.DestroyAgency(site.solution)
        await site.settle()
        with pytest.raises(SoapFault):
            agency.Uninstall(site.solution)


@pytest.mark.parametrize("profile", PROFILES)
async def test_goal_disabled_and_enabled_again(make_site, profile):
    async with make_site(hosts=2, profile=profile) as site:
        agency = await site.create()
        agency.Agency_Disable(site.solution)
        await site.settle()
        assert (agency.status, {vm.power_state for vm in site.eam_vms()}) == ("green", {"poweredOff"})
        agency.Agency_Enable(site.solution)
        await site.settle()
        assert (agency.status, {vm.power_state for vm in site.eam_vms()}) == ("green", {"poweredOn"})


@pytest.mark.parametrize("profile", PROFILES)
async def test_trust_in_the_package_server(make_site, tls_depot, profile):
    verifies = PROFILES[profile].verifies_tls
    tls_depot.trust = None
    async with make_site(hosts=1, profile=profile, depot=tls_depot) as site:
        config = site.config()
        config.agentConfig[0].ovfSslTrust = None
        if verifies:
            with pytest.raises(SoapFault) as refused:
                await site.create(config)
            assert isinstance(refused.value.fault, eam.fault.CertificateNotTrustedFault)
        else:
            assert (await site.create(config)).status == "green"


@pytest.mark.parametrize("profile", PROFILES)
async def test_methods_and_versions_of_a_release(profile):
    async with VCenterSimulator(hosts=1, profile=profile) as vcenter:
        door = vcenter.eam.door
        newer = method_of(vcenter.eam.manager.ref, "SetMaintenanceModePolicy")
        assert door.has(newer) is (profile not in OLD), "came with 7.4"
        assert door.has(method_of(eam.Agency("x"), "RegisterAgentVm"))
        newest = door.spoken("eam.version.version9_0")
        assert (newest == "eam.version.version9_0") is (profile in {"vc90", "vc91"})
        assert door.spoken("eam.version.version1") == "eam.version.version1"
        assert (vcenter.ready["rest_url"] is None) is (profile in OLD)


@pytest.mark.parametrize("profile", PROFILES)
async def test_agencies_of_vcls_are_there_for_users_to_see(make_site, profile):
    async with make_site(hosts=1, clusters=2, profile=profile) as site:
        site.eam.add_vcls()
        seen = [agency.name for agency in site.eam.manager.QueryAgency(site.user)]
        assert len(seen) == (2 if profile in {"vc70", "vc80u2"} else 0)
        assert site.eam.manager.QueryAgency(site.solution) == [], "an extension sees its own"
        await site.sleep(300)
        assert site.eam_vms() == []


async def test_sessions_of_eam_are_told_of(make_site):
    async with make_site(hosts=1) as site:
        session = type("Session", (), {"key": "k", "user": "x", "over": False, "extension": False})()
        call = site.call("x")
        call.session = session
        site.eam.manager.QueryAgency(call)
        site.eam.manager.QueryAgency(call)
        assert len(site.events("login.succeeded")) == 1
        session.over = True
        await site.sleep(60)
        assert len(site.events("logout")) == 1
        site.eam.door.refused(call)
        assert site.events("login.invalid")
        agency = await site.create()
        other = site.call("other.extension", extension=True)
        with pytest.raises(SoapFault):
            agency.QueryConfig(other)
        assert site.events("unauthorized.access")
