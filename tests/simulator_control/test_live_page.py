"""The live page loads without outside assets and complaints, shows what happens, and takes no name for markup."""

import re

import aiohttp
import pytest
from headless import CHROMIUM, browse

from contrail_vsphere.simulator.control.page import PAGE
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.simulator import VCenterSimulator

NASTY = "<img src=x onerror=\"alert(1)\"> & 'co'"


def test_the_document_names_no_outside_asset():
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", PAGE)
    assert "innerHTML" not in PAGE


async def test_the_overview_is_served_beside_the_page():
    simulator = VCenterSimulator(hosts=2, vms=3, control=True, guests=False, timing=Timing.instant())
    async with simulator as vcenter, aiohttp.ClientSession() as web:
        async with web.get(vcenter.ready["page_url"]) as answer:
            assert answer.status == 200
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        base = vcenter.ready["control_url"]
        async with web.get(f"{base}/v1/view") as answer:
            view = await answer.json()
        assert view["counts"]["vms"] == 3
        assert [host["state"] for host in view["hosts"]] == ["connected", "connected"]
        waiting = web.get(f"{base}/v1/view", params={"after": view["seq"], "wait": 20})
        await vcenter.scenario.lose_host("esx-01")
        async with waiting as answer:
            after = await answer.json()
        assert after["hosts"][1]["state"] == "not responding"
        assert after["events"][0]["type"] == "HostConnectionLostEvent"
        async with web.get(f"{base}/v1/view/{view['hosts'][0]['id']}") as answer:
            assert {vm["name"] for vm in (await answer.json())["vms"]} == {"vm-0000", "vm-0002"}
        async with web.get(f"{base}/v1/view/nothing") as answer:
            assert answer.status == 404
        await vcenter.scenario.reset()
        assert vcenter.ready["page_url"] == f"{base}/"


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
async def test_a_browser_follows_the_simulator_without_complaint(tmp_path):
    options = {"hosts": 3, "vms": 4, "guests": False, "timing": Timing.instant(), "control_token": "s3cret"}
    async with VCenterSimulator(control=True, **options) as vcenter:
        await vcenter.scenario.rename_vm("vm-0000", NASTY)
        async with browse(f"{vcenter.ready['page_url']}#token=s3cret", tmp_path) as page:
            await page.until("document.getElementById('link').textContent === 'live'")
            assert await page.value("document.querySelectorAll('#hosts tbody tr').length") == 3
            await vcenter.scenario.enter_maintenance("esx-02")
            await page.until("document.getElementById('hosts').textContent.includes('maintenance')")
            await page.value(
                "[...document.querySelectorAll('nav button')].find(b => b.textContent === 'esx-00').click()"
            )
            await page.until("!document.getElementById('detail').hidden")
            assert NASTY in await page.value("document.body.textContent")
            assert await page.value("document.querySelectorAll('img').length") == 0
            for scheme in ("light", "dark"):
                assert len(await page.picture(scheme=scheme)) > 10_000
            assert page.complaints == []
