"""Switches by name: every way of setting one, and what is refused."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

import aiohttp
import pytest
from typer.testing import CliRunner

from contrail_vsphere.cli.main import app
from contrail_vsphere.model.errors import UsageError
from contrail_vsphere.simulator import switchboard
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.open_questions import OPEN_QUESTIONS
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.simulator.vcenter.switches import Switches as DvsSwitches


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("eam.maintenance_status=green", "green"),
        ("eam.parallel_deployments=3", 3),
        ("eam.pre_power_on_hook=false", False),
        ("eam.maintenance_issue=none", None),
        ("eam.pool_name=", ""),
        ("eam.event_argument_names=a, b, c, d", ("a", "b", "c", "d")),
        ("dvs.write_while_off=lost", "lost"),
        ("dvs.proxy_host_lag=2.5", 2.5),
    ],
)
def test_texts_become_values(setting, value):
    assert switchboard.parse([setting]) == {setting.partition("=")[0]: value}


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ("eam.maintenance_state=green", "eam.maintenance_status"),
        ("eam.maintenance_status=blue", "green, yellow"),
        ("eam.event_argument_names=a, b", "4 words"),
        ("eam.maintenance_status", "NAME=VALUE"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(setting, hint):
    with pytest.raises(UsageError) as refused:
        switchboard.parse([setting])
    assert hint in refused.value.hint


def test_every_question_has_its_switches_and_every_switch_its_question():
    asked = [name for item in OPEN_QUESTIONS for name in item.switches]
    assert sorted(asked) == sorted(switchboard.names())
    assert [item.question for item in OPEN_QUESTIONS if bool(item.switches) == bool(item.instead)] == []


async def test_what_has_no_switch_is_as_the_page_says():
    async with VCenterSimulator(hosts=1, timing=Timing.instant()) as vcenter:
        url, trust = urlsplit(vcenter.ready["url"]), ssl.create_default_context(cafile=vcenter.ready["ca_file"])
        trust.set_alpn_protocols(["h2", "http/1.1"])
        _, writer = await asyncio.open_connection(url.hostname, url.port, ssl=trust)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() is None
        writer.close()
        await writer.wait_closed()
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=vcenter.ready["ca_file"]))
        async with aiohttp.ClientSession(connector=connector) as http:
            for path in ("ServiceInstance/ServiceInstance/content", "SessionManager/SessionManager/Login"):
                async with http.get(f"https://{url.netloc}/sdk/vim25/8.0.1.0/{path}") as answer:
                    assert answer.status == 404


@pytest.mark.looptime
async def test_options_verbs_and_a_reset():
    positions = {"eam.maintenance_status": "green", "dvs.write_while_off": "lost"}
    async with VCenterSimulator(hosts=1, timing=Timing.instant(), switches=positions) as vcenter:
        assert vcenter.eam.switches.maintenance_status == "green"
        assert DvsSwitches.of(vcenter.world).write_while_off == "lost"
        vcenter.scenario.set_switch("eam.user_migration", "tolerated")
        assert vcenter.scenario.switches()["eam.user_migration"] == "tolerated"
        await vcenter.reset()
        assert vcenter.eam.switches.user_migration == "orphan"
        assert vcenter.eam.switches.maintenance_status == "green"


async def test_over_the_control_port_and_the_command_line():
    async with VCenterSimulator(hosts=1, timing=Timing.instant(), control=True) as vcenter:
        url = vcenter.ready["control_url"]
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{url}/v1/switches") as answer:
                assert sorted(await answer.json()) == sorted(switchboard.names())
            async with http.post(f"{url}/v1/switches", json={"name": "eam.x", "value": "1"}) as answer:
                assert answer.status == 422

        def command():
            return CliRunner().invoke(
                app, ["simulate", "control", "switch", "dvs.auto_shrink", "false", "--url", url, "--json"]
            )

        result = await asyncio.to_thread(command)
        assert result.exit_code == 0, result.output
        assert vcenter.scenario.switches()["dvs.auto_shrink"] is False
