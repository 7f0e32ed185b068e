"""The simulated API server as a service: who may ask, what goes wrong on request, how it dies and comes back."""

import asyncio

import aiohttp
import pytest
from contrail_desk import desk

from contrail_vsphere.simulator.contrail.keystone import User
from contrail_vsphere.simulator.core.faults import FaultRule


async def login(at, name, password):
    user = {"name": name, "domain": {"name": "Default"}, "password": password}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
    async with at.http.post(f"{at.contrail.ready['keystone_url']}/auth/tokens", json=body) as reply:
        return reply.status, reply.headers.get("X-Subject-Token", "")


@pytest.mark.looptime
async def test_tokens_are_wanted_checked_and_run_out():
    async with desk(auth="keystone") as at:
        assert (await at.ask("GET", "/"))[0] == 200
        assert (await at.ask("GET", "/domains"))[0] == 401
        assert (await login(at, "admin", "wrong"))[0] == 401
        status, token = await login(at, "admin", at.contrail.ready["password"])
        assert status == 201
        at.headers["X-Auth-Token"] = token
        assert (await at.ask("GET", "/domains"))[0] == 200
        await asyncio.sleep(3601)
        assert (await at.ask("GET", "/domains"))[0] == 401


@pytest.mark.parametrize("profile", ["r1912", "master"])
async def test_who_is_no_admin_is_refused_as_the_release_does(profile):
    async with desk(auth="keystone", profile=profile) as at:
        at.contrail.keystone.add(User("guest", "g", roles=("member",)))
        at.headers["X-Auth-Token"] = (await login(at, "guest", "g"))[1]
        if profile == "master":  # the head promises a body that never comes
            with pytest.raises(aiohttp.ClientPayloadError):
                await at.ask("GET", "/domains")
        else:
            assert await at.ask("GET", "/domains") == (403, "403 Permission Denied")


@pytest.mark.looptime
async def test_faults_are_data():
    async with desk() as at:
        faults = at.contrail.faults
        faults.add(FaultRule(method="create", type="domain", name="bad*", http_status=503, message="away", times=1))
        body = {"domain": {"fq_name": ["bad-one"]}}
        assert await at.ask("POST", "/domains", body) == (503, "away")
        assert (await at.ask("POST", "/domains", body))[0] == 200
        faults.add(FaultRule(method="create", type="domain", drop_reply=True, times=1))
        with pytest.raises(aiohttp.ClientError):
            await at.ask("POST", "/domains", {"domain": {"fq_name": ["done-but-unheard"]}})
        assert at.contrail.scenario.find("domain", "done-but-unheard")
        faults.add(FaultRule(method="list", delay=20.0))
        began = asyncio.get_running_loop().time()
        await at.get("/projects")
        assert asyncio.get_running_loop().time() - began >= 20
        with pytest.raises(ValueError, match="SOAP"):
            faults.add(FaultRule(fault="TaskInProgress"))


@pytest.mark.looptime
async def test_it_dies_starts_and_remembers_unless_it_lost_its_database():
    async with desk() as at:
        at.contrail.scenario.create_network("blue", "10.1.0.0/24")
        back = asyncio.create_task(at.contrail.scenario.restart_api(down=5, starting=5))
        await asyncio.sleep(1)
        with pytest.raises(aiohttp.ClientConnectionError):
            await at.ask("GET", "/")
        await asyncio.sleep(6)
        assert await at.ask("GET", "/") == (503, "Api server is Initializing:DB Resync in progress")
        await back
        assert (await at.get("/virtual-networks?count=true"))["virtual-networks"]["count"] == 5
        await at.contrail.scenario.restart_api(empty=True)
        assert (await at.get("/virtual-networks?count=true"))["virtual-networks"]["count"] == 4
        await at.create("domain", ["d"])


async def test_several_servers_are_one_and_each_dies_alone():
    async with desk(servers=2) as at:
        await at.create("domain", ["d"])
        second = at.contrail.ready["urls"][1]
        async with at.http.get(f"{second}/domains?count=true") as reply:
            assert await reply.json() == {"domains": {"count": 2}}
        await at.contrail.scenario.stop_api(0)
        with pytest.raises(aiohttp.ClientConnectionError):
            await at.ask("GET", "/domains")
        async with at.http.get(f"{second}/domains") as reply:
            assert reply.status == 200
        await at.contrail.scenario.start_api(0)
        assert (await at.ask("GET", "/domains"))[0] == 200


async def test_writes_need_zookeeper_and_quota():
    async with desk() as at:
        at.contrail.scenario.lose_zookeeper()
        body = {"domain": {"fq_name": ["d"]}}
        assert await at.ask("POST", "/domains", body) == (503, "No connection to zookeeper.")
        assert (await at.ask("GET", "/domains"))[0] == 200
        at.contrail.scenario.lose_zookeeper(lost=False)
        project = at.contrail.scenario.create("project", ("default-domain", "p"), quota={"virtual_network": 1})
        for status in (200, 412):
            name = [*project.fq_name, f"n{status}"]
            body = {"virtual-network": {"fq_name": name, "parent_type": "project"}}
            assert (await at.ask("POST", "/virtual-networks", body))[0] == status


async def test_a_subnet_that_stays_cannot_be_edited_and_gets_a_new_uuid_if_none_is_sent():
    async with desk() as at:
        network = at.contrail.scenario.create_network("blue", "10.1.0.0/24")
        refs = (await at.read("virtual-network", network.uuid))["network_ipam_refs"]
        subnet = refs[0]["attr"]["ipam_subnets"][0]
        uuid = subnet.pop("subnet_uuid")

        async def put(**changes):
            attr = {"ipam_subnets": [{**subnet, **changes}]}
            body = {"virtual-network": {"network_ipam_refs": [{"to": refs[0]["to"], "attr": attr}]}}
            return await at.ask("PUT", f"/virtual-network/{network.uuid}", body)

        pool = [{"start": "10.1.0.10", "end": "10.1.0.20"}]
        for changes in ({"default_gateway": "10.1.0.254"}, {"allocation_pools": pool}):
            status, text = await put(**changes)
            assert (status, "has invalid subnet" in text) == (500, True)
        assert (await put(subnet_uuid=uuid, enable_dhcp=False))[0] == 200
        assert (await put())[0] == 200
        after = (await at.read("virtual-network", network.uuid))["network_ipam_refs"][0]["attr"]["ipam_subnets"][0]
        assert after["subnet_uuid"] != uuid


async def test_parallel_creates_of_one_thing_make_one():
    async with desk() as at:
        body = {"virtual-machine": {"fq_name": ["x"], "uuid": "11111111-2222-4333-8444-555555555555"}}
        answers = await asyncio.gather(*(at.ask("POST", "/virtual-machines", body) for _ in range(30)))
        assert sorted(status for status, _ in answers) == [200] + [409] * 29
