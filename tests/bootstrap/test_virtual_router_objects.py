"""VirtualRouter objects follow the vRouters: by name, over redeployments; others' are left alone."""

from __future__ import annotations

import asyncio
import random
import uuid

import pytest

from contrail_vsphere.contrail.config_api import ConfigApi
from contrail_vsphere.contrail.virtual_routers import VirtualRouters
from contrail_vsphere.contrailvm.vrouter_roll import GRACE, VRouterRoll
from contrail_vsphere.model.errors import InvalidState
from contrail_vsphere.simulator.contrail.simulator import ContrailSimulator

pytestmark = pytest.mark.looptime


def addresses(contrail) -> dict[str, str]:
    """What the simulated Contrail has: name -> address."""
    return {
        each.fq_name[-1]: each.properties["virtual_router_ip_address"]
        for each in contrail.scenario.all("virtual-router")
    }


async def test_objects_follow_names_and_addresses_and_go_after_a_grace():
    async with ContrailSimulator() as contrail, ConfigApi(contrail.ready["urls"], random=random.Random(1)) as api:
        serving, known = {"esx-00": "10.0.0.1", "esx-01": "10.0.0.2"}, {"esx-00", "esx-01"}
        roll = VRouterRoll(VirtualRouters(api), serving=lambda: serving, known=lambda: frozenset(known))
        before = addresses(contrail)
        roll.start()
        await asyncio.sleep(5)
        assert addresses(contrail) == before | {"esx-00": "10.0.0.1", "esx-01": "10.0.0.2"}
        writes = api.calls["create", "virtual-router"]

        serving["esx-00"] = "10.0.0.77"  # redeployed, with another address
        await asyncio.sleep(60)
        assert addresses(contrail)["esx-00"] == "10.0.0.77"
        assert api.calls["create", "virtual-router"] == writes

        del serving["esx-01"]
        await asyncio.sleep(2 * GRACE)
        assert "esx-01" in addresses(contrail), "its host is still there"
        known.discard("esx-01")
        await asyncio.sleep(GRACE / 2)
        assert "esx-01" in addresses(contrail)
        await asyncio.sleep(GRACE)
        assert "esx-01" not in addresses(contrail)
        await roll.stop()


async def test_an_object_that_somebody_else_made_is_left_alone_and_told_of():
    async with ContrailSimulator() as contrail, ConfigApi(contrail.ready["urls"], random=random.Random(1)) as api:
        routers = VirtualRouters(api)
        name = ["default-global-system-config", "esx-00"]
        body = {"uuid": str(uuid.uuid4()), "fq_name": name, "parent_type": "global-system-config"}
        await api.create("virtual-router", {**body, "virtual_router_ip_address": "10.0.0.1"})
        await routers.ensure("esx-00", "10.0.0.1")
        with pytest.raises(InvalidState, match="not made by us"):
            await routers.ensure("esx-00", "10.0.0.2")
        await routers.remove("esx-00")
        assert addresses(contrail)["esx-00"] == "10.0.0.1"


async def test_a_contrail_that_is_away_is_tried_again():
    contrail = ContrailSimulator()
    async with contrail, ConfigApi(contrail.ready["urls"], random=random.Random(1), deadline=3) as api:
        serving: dict[str, str] = {"esx-00": "10.0.0.1"}
        objects = VirtualRouters(api)
        failing = iter([True, True])

        async def ensure(name, address):
            if next(failing, False):
                raise InvalidState("not now")
            await VirtualRouters.ensure(objects, name, address)

        class Shaky(VirtualRouters):
            async def ensure(self, name, address):
                await ensure(name, address)

        roll = VRouterRoll(Shaky(api), serving=lambda: serving, known=lambda: None)
        roll.start()
        await asyncio.sleep(5)
        assert roll.errors == {"esx-00": "not now"} and "esx-00" not in addresses(contrail)
        await asyncio.sleep(120)
        assert roll.errors == {} and addresses(contrail)["esx-00"] == "10.0.0.1"
        await roll.stop()
