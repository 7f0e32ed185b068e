"""Networks whose guests bring their own addresses: Contrail and the VRouterAgent learn them and follow them."""

from __future__ import annotations

import asyncio

import pytest
from plugin_stand import PluginStand
from plugin_worlds import connected

pytestmark = pytest.mark.looptime


def has(stand, vm, *addresses, card=0, tools=True):
    with stand.vcenter.world.commit("guest") as tx:
        told = {**vm.guest_addresses, vm.nics[card].key: tuple(addresses)}
        tx.set(vm, tools_running=tools, guest_addresses=told)


def addresses(stand):
    return {one.properties["instance_ip_address"] for one in stand.objects("instance-ip")}


async def placed(stand, name="web"):
    if "lab" not in stand.groups():
        stand.network("lab", "10.9.0.0/24,fd00:9::/64", external_ipam=True)
        await stand.until(lambda: "lab" in stand.groups())
    vm = await stand.vm(name, "lab")
    await stand.settle()
    return vm


async def test_a_guest_s_addresses_are_learned_and_followed(tmp_path):
    async with PluginStand(tmp_path) as stand:
        vm = await placed(stand)
        assert addresses(stand) == set() and connected(stand, vm).ip == "0.0.0.0", "plugged without one"
        has(stand, vm, "169.254.1.1", "10.9.0.77", "fe80::1", "fd00:9::77", "192.0.2.1")
        await stand.until(lambda: connected(stand, vm).ip == "10.9.0.77")
        await stand.settle()
        assert connected(stand, vm).ip6 == "fd00:9::77"
        assert addresses(stand) == {"10.9.0.77", "fd00:9::77"}, "what is in no subnet is nobody's business"
        has(stand, vm, "10.9.0.78", "fd00:9::77")
        await stand.until(lambda: connected(stand, vm).ip == "10.9.0.78")
        await stand.settle()
        assert addresses(stand) == {"10.9.0.78", "fd00:9::77"}


async def test_tools_that_forget_do_not_take_an_address_away(tmp_path):
    async with PluginStand(tmp_path) as stand:
        vm = await placed(stand)
        has(stand, vm, "10.9.0.77", "fd00:9::77")
        await stand.until(lambda: connected(stand, vm).ip == "10.9.0.77")
        for told, tools in (((), False), ((), True), (("10.9.0.77",), True)):
            has(stand, vm, *told, tools=tools)
            await asyncio.sleep(100)
            await stand.settle()
            assert addresses(stand) == {"10.9.0.77", "fd00:9::77"}
        await stand.crash()
        has(stand, vm, tools=False)
        await stand.resume()
        await stand.settle()
        assert addresses(stand) == {"10.9.0.77", "fd00:9::77"}, "nor does a restart of ours"
        assert connected(stand, vm).ip == "10.9.0.77"


async def test_an_address_that_another_vm_has_is_refused_and_said_so(tmp_path):
    async with PluginStand(tmp_path) as stand:
        one, two = await placed(stand, "one"), await placed(stand, "two")
        has(stand, one, "10.9.0.77")
        await stand.until(lambda: connected(stand, one).ip == "10.9.0.77")
        has(stand, two, "10.9.0.77")
        await asyncio.sleep(20)
        assert addresses(stand) == {"10.9.0.77"}
        assert any("10.9.0.77" in entry.reason for entry in stand.health.bad())
        has(stand, one, "10.9.0.80")
        await stand.until(lambda: connected(stand, two).ip == "10.9.0.77", seconds=120)
        await stand.settle()


async def test_nobody_asks_for_addresses_where_contrail_gives_them(tmp_path):
    async with PluginStand(tmp_path) as stand:
        stand.network("blue")
        await stand.until(lambda: "blue" in stand.groups())
        vm = await stand.vm("web", "blue")
        has(stand, vm, "10.1.0.200")
        await stand.settle()
        assert connected(stand, vm).ip != "10.1.0.200"
        assert stand.vcenter.calls["CreateListView"] == 2, "the two that follow tasks, the user's and ours"
