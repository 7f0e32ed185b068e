"""A whole inventory leaves and comes back through the control port, by HTTP and by the command line."""

import asyncio
import json
import stat

import aiohttp
import pytest
from typer.testing import CliRunner

from contrail_vsphere.cli.main import app


@pytest.fixture
def vcenter_options():
    return {"hosts": 2, "vms": 2, "guests": False, "verify_fragments": True, "control": True}


async def command(vcenter, *words):
    """The command line in a thread of its own, where it has a loop of its own."""
    arguments = ["simulate", "control", *map(str, words), "--url", vcenter.ready["control_url"]]
    return await asyncio.to_thread(CliRunner().invoke, app, arguments)


async def test_what_was_saved_comes_back_with_its_ids_and_stays_after_a_reset(vcenter, tmp_path):
    made = await vcenter.scenario.create_vm("web-1", host="esx-00")
    moid, url = made.moid, vcenter.ready["url"]
    file = tmp_path / "inventory.json"
    done = await command(vcenter, "save", file, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["saved"] == str(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    await vcenter.scenario.delete_vm("web-1")
    done = await command(vcenter, "load", file)
    assert done.exit_code == 0, done.output
    assert vcenter.inventory["web-1"].moid == moid
    assert vcenter.ready["url"] == url
    file.unlink()
    await vcenter.scenario.delete_vm("web-1")
    async with aiohttp.ClientSession(vcenter.ready["control_url"]) as web:
        async with web.post("/v1/reset") as answer:
            assert answer.status == 204
        assert vcenter.inventory["web-1"].moid == moid


async def test_a_document_that_is_no_inventory_changes_nothing(vcenter, tmp_path):
    before = vcenter.inventory["vm-0000"].moid
    async with aiohttp.ClientSession(vcenter.ready["control_url"]) as web:
        for document in ({}, {"format": "contrail-vsphere simulated inventory", "version": 99}):
            async with web.put("/v1/inventory", json=document) as answer:
                assert (answer.status, (await answer.json())["error"]) == (422, "InventoryFileError")
        async with web.put("/v1/inventory", data=b"nonsense", headers={"content-type": "application/json"}) as answer:
            assert answer.status == 422
    assert vcenter.inventory["vm-0000"].moid == before
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    done = await command(vcenter, "load", broken)
    assert isinstance(done.exception, Exception)
    assert "cannot be read" in str(done.exception)
