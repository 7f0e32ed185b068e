"""Server Manager's story: from image archives to a healthy cluster, and nothing left to do the second time.

Real here: registry, Ansible server, sshd, Podman, containers. Stand-ins: the services inside the containers. All of it
lives in a network of its own without a way out, and is told with the product's own commands.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any, Final

from contrail_vsphere.demo.processes import SERVER_MANAGER, Children
from contrail_vsphere.demo.screen import Screen
from contrail_vsphere.demo.server_lab import GATEWAY, obstacles
from contrail_vsphere.demo.service_images import BUSYBOX, archive
from contrail_vsphere.demo.tale import Tale, workshop
from contrail_vsphere.model.errors import ContrailVsphereError, SettingsError
from contrail_vsphere.servermanager.catalogue import catalogue

LAB: Final = "contrail_vsphere.demo.server_lab"
CLUSTER: Final = "demo"
IMAGE: Final = "contrail-container"
VERSION: Final = "4.1.1.0-1"
PLACEMENT: Final = {
    "server1": ["controller", "analytics"],
    "server2": ["controller", "analyticsdb"],
    "server3": ["lb", "agent"],
}


async def tell(*, once: bool, timeout: float, live: bool) -> dict[str, Any]:
    """Tell it and return the summary; ``NotConverged`` when it is not over within ``timeout`` seconds."""
    _check_machine()
    with workshop("servers") as directory, Screen(live=live) as screen:
        screen.say("Real: registry, Ansible, SSH, Podman. Stand-ins: servers (namespaces) and services.")
        async with Children(directory) as children:
            tale = Tale(screen)
            summary = await tale.in_time(_Teller(directory, children, tale).story(), timeout)
            if not once:
                screen.say("it goes on running until Ctrl-C")
                await asyncio.Event().wait()
    return summary


def _check_machine() -> None:
    found = obstacles()
    if shutil.which("docker-registry") is None:
        found.append("not installed: docker-registry; as root: apt-get install docker-registry")
    if not BUSYBOX.exists():
        found.append(f"{BUSYBOX} is missing; as root: apt-get install busybox-static")
    if found:
        raise SettingsError("the servers cannot be set up here: " + "; ".join(found), hint="make demo needs none of it")


class _Teller:
    def __init__(self, directory: Path, children: Children, tale: Tale) -> None:
        self._directory = directory
        self._children = children
        self._tale = tale
        self._config = directory / "contrail-vsphere.toml"

    async def story(self) -> dict[str, Any]:
        """All chapters."""
        await self._set_up()
        await self._add()
        first = await self._provision(f"provision: {_count()} containers in stages, each answers before the next stage")
        second = await self._provision("provision again: nothing to do")
        if changes := _changes(second):
            raise ContrailVsphereError(f"the second provision changed {changes} things", hint="see debug.log")
        states = await self._servers()
        return {
            "ok": True, "seconds": self._tale.watch.seconds(), "servers": states, "roles": PLACEMENT,
            "steps": self._tale.steps, "changes": {"first": _changes(first), "second": _changes(second)},
        }  # fmt: skip

    async def _set_up(self) -> None:
        with self._tale.step(f"three servers: {', '.join(PLACEMENT)}, each with SSH and a Podman of its own"):
            lab = (await self._children.start("lab", *PLACEMENT, module=LAB)).ready
        self._children.inside = ("nsenter", "--target", str(lab["pid"]), "--net", "--")
        self._lab = lab
        self._config.write_text(SETTINGS.format(data=self._directory, gateway=GATEWAY))
        with self._tale.step("Ansible server on 9003"):
            await self._serve("serve-ansible")
        with self._tale.step("Server Manager on 9001, with its registry on 5100"):
            await self._serve("serve")

    async def _add(self) -> None:
        with self._tale.step(f"add image {IMAGE}: five roles into the registry"):
            parts = []
            for name in sorted({role for roles in PLACEMENT.values() for role in roles}):
                path = self._directory / f"contrail-{name}-{VERSION}.tar"
                path.write_bytes(await asyncio.to_thread(archive, catalogue().role(name), version=VERSION))
                parts.append({"role": name, "container_path": str(path)})
            await self._command("add", "image", "-f", self._file("image", {"image": [{
                "id": IMAGE, "category": "container", "type": "contrail-container-ubuntu", "version": VERSION,
                "parameters": {"containers": parts}}]}), "--wait")  # fmt: skip
        with self._tale.step(f"add cluster {CLUSTER} and its servers; their host keys are pinned"):
            await self._command("add", "cluster", "-f", self._file("cluster", {"cluster": [{
                "id": CLUSTER, "package_image_id": IMAGE, "parameters": {"provision": {"containers": {
                    "controller": {"RABBITMQ": {"password": "not-for-production"}}}}}}]}))  # fmt: skip
            await self._command("add", "server", "-f", self._file("server", {"server": self._server_documents()}))

    def _server_documents(self) -> list[dict[str, Any]]:
        key = Path(self._lab["private_key_file"]).read_text()
        return [
            {"id": name, "cluster_id": CLUSTER, "ip_address": self._lab["hosts"][name]["address"], "roles": roles,
             "ssh_private_key": key} for name, roles in PLACEMENT.items()
        ]  # fmt: skip

    async def _provision(self, words: str) -> dict[str, Any]:
        with self._tale.step(words):
            return await self._command("provision", "--cluster-id", CLUSTER, "--yes", "--wait")

    async def _servers(self) -> dict[str, str]:
        document = await self._command("status", "server", "--cluster-id", CLUSTER)
        states = {row["id"]: row["state"] for row in document["items"]}
        for name, state in states.items():
            self._tale.screen.say(f"  {name}: {state}: {', '.join(PLACEMENT[name])}")
        return states

    async def _serve(self, verb: str) -> None:
        await self._children.start(verb, "--config", str(self._config), verb, module=SERVER_MANAGER)

    async def _command(self, *arguments: str) -> dict[str, Any]:
        return await self._children.call("--config", str(self._config), *arguments, "--json", module=SERVER_MANAGER)

    def _file(self, name: str, document: dict[str, Any]) -> str:
        path = self._directory / f"{name}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(document))
        return str(path)


def _count() -> int:
    return sum(len(roles) for roles in PLACEMENT.values())


def _changes(run: dict[str, Any]) -> int:
    return sum(host["changed"] for host in run["hosts"].values())


SETTINGS: Final = """\
[server_manager]
data_dir = "{data}/manager"
ansible_data_dir = "{data}/ansible"
registry_listen = "{gateway}:5100"
"""
