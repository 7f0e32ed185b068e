"""``contrail-vsphere plugin ...`` and the pages of a running plugin, against the simulated worlds."""

import asyncio
import json
import os
import sys
from xml.etree import ElementTree

import aiohttp
import pytest
from standby_rig import StandbyRig

pytestmark = pytest.mark.process


class Desk(StandbyRig):
    """One plugin as a process, without ZooKeeper; ``say`` runs a command beside it."""

    def __init__(self, directory):
        super().__init__(directory, "", path="/unused")

    async def resume(self):
        await super().resume()
        self.url = (await self.start("plugin")).ready["control_url"]

    async def say(self, *words, code=0):
        config = self.directory / "plugin" / "settings.toml"
        env = {**os.environ, "CONTRAIL_VSPHERE__PLUGIN__LISTEN": self.url.rpartition("/")[2]}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "contrail_vsphere.cli.main", "plugin", *words, "--config", str(config),
            env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        assert process.returncode == code, err.decode()
        return json.loads(out) if "--json" in words else out.decode() + err.decode()

    async def page(self, path):
        async with aiohttp.ClientSession() as http, http.get(self.url + path) as reply:
            return reply.status, await reply.read()


async def test_what_a_plugin_says_of_itself(tmp_path):
    async with Desk(tmp_path / "desk") as desk:
        red = desk.network("red")
        await desk.until(lambda: "red" in desk.groups(), seconds=40)
        vm = await desk.vm("web-1", "red")
        off = await desk.vm("web-2", "red", on=False)
        await desk.until_served(vm)
        vlan = desk.vlan(desk.port(vm))

        status, plan, audit, explained, adoption = await asyncio.gather(
            desk.say("status", "--json"), desk.say("plan", "--json"), desk.say("audit", "--json"),
            desk.say("explain", "web-1", "--json"), desk.say("adopt", "--dry-run", "--json"),
        )  # fmt: skip
        states = {port["vm"]: (port["state"], port["vlan"]) for port in status["ports"]}
        assert states["web-1"] == ("ACTIVE", vlan)
        assert states["web-2"][0] == "ACTIVE_OFF"
        assert status["troubles"] == status["problems"] == status["missing"] == []
        assert [network["port_groups"] for network in status["networks"]] == [["red"]]
        assert plan["actions"] == []
        assert audit == {"findings": [], "good": True}
        (card,) = explained["vms"][0]["cards"]
        assert card["broken"] == ""
        assert all(check["ok"] for check in card["checks"])
        assert adoption == {"port_groups": [], "interfaces": [], "left_alone": []}

        said, missing, nothing = await asyncio.gather(
            desk.say("explain", off.name), desk.say("explain", "nobody", code=1), desk.say("release", code=2)
        )
        assert "BROKEN" in said
        assert "the guest runs" in said
        assert "no VM nobody" in missing
        assert "0 deletions wait" in nothing

        _, info = await desk.page("/Snh_VCenterPluginInfo")
        struct = ElementTree.fromstring(info).find("./VCenterPlugin/VCenterPluginStruct")
        assert struct.findtext("master") == "true"
        assert struct.findtext("ApiServerInfo/ApiServerStruct/connected") == "true"
        assert struct.findtext("VCenterServerInfo/VCenterServerStruct/connected") == "true"
        _, machines = await desk.page("/Snh_VirtualMachineRequest?uuid=&name=web-1")
        (data,) = ElementTree.fromstring(machines).findall("./machines/list/VirtualMachineData")
        (interface,) = data.findall("./interfaces/list/VirtualMachineInterfaceData")
        assert (data.findtext("name"), interface.findtext("vlan_id")) == ("web-1", str(vlan))
        assert interface.findtext("vn_uuid") == str(red)
        assert interface.findtext("ip_address").startswith("10.1.0.")
        _, networks = await desk.page(f"/Snh_VirtualNetworkRequest?uuid={red}")
        assert len(ElementTree.fromstring(networks).findall(".//VirtualMachineInterfaceData")) == 2
        _, one = await desk.page(f"/Snh_VirtualMachineInterfaceRequest?uuid={interface.findtext('uuid')}")
        assert len(ElementTree.fromstring(one).findall(".//VirtualMachineInterfaceData")) == 1

        assert (await desk.page("/healthz"))[0] == 200
        assert (await desk.page("/readyz"))[0] == 200
        assert (await desk.page("/metrics"))[0] == 401
