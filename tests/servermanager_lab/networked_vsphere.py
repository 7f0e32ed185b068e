"""Run on a provisioned server: the product's services from the files that Server Manager wrote there, until vSphere is
networked. Prints what a user of that vCenter sees then.

Beside the files there is only what an operator does by hand once: build and publish a package, register the extension,
apply a deployment. VCenter and Contrail are simulated and run already; the first argument says where, as JSON.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from urllib.request import Request, urlopen

from contrail_vsphere.app.connect import administrator, endpoint
from contrail_vsphere.config.load import load
from contrail_vsphere.demo.contrailvm_story import DEPLOYMENT
from contrail_vsphere.demo.estate import Estate
from contrail_vsphere.demo.processes import Children
from contrail_vsphere.servermanager.catalogue import catalogue

DEADLINE = 600.0


def ask(url, body=None):
    data = json.dumps(body).encode() if body is not None else None
    with urlopen(Request(url, data, {"Content-Type": "application/json"}), timeout=20) as answer:
        return json.loads(answer.read() or b"null")


async def until(condition):
    while not (found := await condition()):  # noqa: ASYNC110 - it looks at another process
        await asyncio.sleep(0.2)
    return found


async def networked(children, directory, worlds):
    commands = {role: catalogue().role(role).command[1:] for role in ("contrailvm-manager", "vcenter-plugin")}
    manager_file, plugin_file = (arguments[-1] for arguments in commands.values())
    for each in (manager_file, plugin_file):
        await children.call("config", "check", "--config", each, "--json")
    made = await children.call("contrailvm", "package", "build", "--demo", "--out", str(directory), "--json")
    config = ("--config", manager_file, "--json")
    await children.call("contrailvm", "package", "publish", made["directory"], *config)
    await children.call("contrailvm", "register", *config)
    for role, arguments in commands.items():
        await children.start(role, *arguments)
    deployment = directory / "deployments.toml"
    deployment.write_text(DEPLOYMENT)
    await children.call("contrailvm", "apply", str(deployment), *config)
    ask(f"{worlds['contrail']}/v1/networks", {"name": "web", "prefix": "10.1.0.0/16", "project": "vCenter"})
    (table,) = load(Path(manager_file), {}).vcenter.values()
    async with Estate(endpoint(table), administrator(table)) as estate:

        async def a_group():
            return estate.groups()

        groups = await until(a_group)
        await estate.place(estate.tenants(), groups.values())

        async def all_active():
            audit = await estate.audit()
            return audit if audit.active == len(estate.tenants()) and not audit.shut else None

        async def all_plugged():
            agents = ask(f"{worlds['vcenter']}/v1/vrouters")
            return agents if sum(agent["ports"] for agent in agents) == len(estate.tenants()) else None

        audit, agents = await until(all_active), await until(all_plugged)
        return {
            "groups": sorted(groups), "ports": audit.active, "conflicts": audit.conflicts, "hosts": len(estate.hosts()),
            "agents": len(agents), "plugged": sum(agent["ports"] for agent in agents),
        }  # fmt: skip


async def main(worlds):
    with tempfile.TemporaryDirectory() as name:
        async with asyncio.timeout(DEADLINE), Children(Path(name)) as children:
            try:
                return await networked(children, Path(name), worlds)
            except BaseException:
                for log in Path(name).glob("*.log"):  # noqa: ASYNC240
                    sys.stderr.write(f"{log.name}: {log.read_text()[-1500:]}\n")
                raise


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(json.loads(sys.argv[1])))) + "\n")
