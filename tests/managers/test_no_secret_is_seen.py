"""Secrets appear nowhere: the whole story is lived through, then everything it left is searched for them."""

import json
import logging
import re
import secrets
import stat
from pathlib import Path

import aiohttp
import pytest
from service_site import ServiceSite
from test_notifications import Receiver

from contrail_vsphere.app.contrailvm_adopt import adoptable
from contrail_vsphere.app.control_client import ControlClient
from contrail_vsphere.contrailvm.notices.health_document import render_health
from contrail_vsphere.contrailvm.package import make_demo_package
from contrail_vsphere.pki.tokens import TokenRefused
from contrail_vsphere.simulator.vcenter.event_manager import EventManager
from contrail_vsphere.simulator.vcenter.task import Task

pytestmark = pytest.mark.looptime
PRIVATE = re.compile("-----BEGIN [A-Z ]*PRIVATE KEY-----(.*?)-----END", re.DOTALL)


def canaries():
    """What the operator brings along."""
    return {name: f"canary-{name}-{secrets.token_hex(12)}" for name in ("vcenter", "webhook", "operator", "viewer")}


def keys_in(text):
    """The lines of every private key in a text: one of them is enough to tell."""
    return [line for body in PRIVATE.findall(text) for line in body.split() if len(line) > 40]


class Search:
    """Looks for secrets in what it is given; ``found`` says where."""

    def __init__(self, forbidden):
        self.forbidden = {name: value for name, value in forbidden.items() if value}
        self.found = []
        self.looked = 0

    def look(self, where, content):
        text = content.decode("latin-1") if isinstance(content, bytes) else str(content)
        self.looked += len(text)
        self.found += [f"{name} in {where}" for name, value in self.forbidden.items() if value in text]


async def live(lab, told):
    """Everything that happens in a year."""
    await lab.data.packages().add(make_demo_package(lab.directory / "two", version="2.0.0"))
    lab.publisher.reload()
    tokens = {vm.vapp_properties.get("bootstrap_token", "") for vm in lab.contrailvms()}

    def watch(_done):
        tokens.update(vm.vapp_properties.get("bootstrap_token", "") for vm in lab.contrailvms())

    lab.world.observe(watch)
    await lab.scenario.power_off(lab.on("esx-00"))
    await lab.heals()
    await lab.scenario.delete_vm(lab.on("esx-01"))
    await lab.heals()
    lab.manager.operator.release()
    lab.apply(version="2.0.0")
    await lab.until(lambda: {each.version for each in lab.manager.hosts()} == {"2.0.0"}, seconds=3000)
    await lab.heals()
    await lab.service.renew_extension()
    await lab.service.certificates.step("prepare")
    await lab.service.certificates.step("activate")
    await lab.suspend_resume_manager(30)
    lab.vcenter.expire_sessions()
    lab.fault(method="AgencyQueryRuntime", fault="EamSystemFault", times=2)
    await lab.scenario.power_off(lab.on("esx-00"))
    await lab.heals()
    await adoptable(lab.settings)
    await lab.until(lambda: told.got, seconds=60)
    return {f"bootstrap token {number}": token for number, token in enumerate(sorted(tokens - {""}))}


def bring_along(directory, brought):
    for name, content in {
        "hook.secret": brought["webhook"],
        "tokens": f"operator operator {brought['operator']}\nviewer viewer {brought['viewer']}\n",
    }.items():
        (directory / name).touch(mode=0o600)
        (directory / name).write_text(content)


async def test_no_secret_is_seen_anywhere_after_the_whole_story(tmp_path, caplog):
    brought = canaries()
    bring_along(tmp_path, brought)
    caplog.set_level(logging.DEBUG)
    async with Receiver() as receiver:
        more = f'[notify]\nurls = "{receiver.url}"\nsecret_file = "hook.secret"'
        site = ServiceSite(tmp_path, hosts=2, password=brought["vcenter"], more=more, control="tokens")
        async with site as lab:
            tokens = await live(lab, receiver)
            assert len(tokens) >= 4
            data = lab.settings.manager.data_dir
            private = {
                f"key {path.name} {number}": line
                for path in data.rglob("*")
                if path.is_file() and path.suffix != ".vmdk"
                for number, line in enumerate(keys_in(path.read_text("latin-1")))
            }
            disks = [lab.vcenter.guests.disk(vm) for vm in lab.contrailvms()]
            guests = {
                f"guest key {number}": line
                for number, disk in enumerate(disks)
                for content in disk.files.values()
                for line in keys_in(content.decode("latin-1"))
            }
            assert len(private) >= 4 and guests
            search = Search({**brought, **tokens, **private, **guests})
            await everything_served(lab, search)
            everything_in_vcenter(lab, search)
            for token in tokens.values():
                with pytest.raises(TokenRefused):
                    lab.manager.office._tokens.redeem(token, {}, proof="somebody else")
            for number, (headers, body) in enumerate(receiver.got):
                search.look(f"webhook {number}", f"{headers} {body!r}")
            for disk in disks:
                for path, content in disk.files.items():
                    if disk.modes[path] & (stat.S_IRWXG | stat.S_IRWXO):
                        search.look(f"guest file {path}", content)
    everything_on_disk(tmp_path, search)
    search.look("the log", "\n".join(f"{r.name} {r.getMessage()} {r.exc_text or ''}" for r in caplog.records))
    assert search.looked > 100_000, "there was something to look at"
    assert not search.found, "\n".join(sorted(set(search.found)))


async def everything_served(lab, search):
    async with ControlClient(lab.settings, role="operator") as client:
        for path in ("status", "plan", "hosts", "health", "certificates", "uves", "adoptable", "reign"):
            search.look(f"/v1/{path}", json.dumps(await client.get(f"/v1/{path}")))
    search.look("/metrics", lab.service.metrics.render())
    search.look("health.xml", render_health(lab.manager.health()))
    for package in lab.publisher.store.packages.values():
        for file in package.files:
            with file.open() as source:
                search.look(f"published {file.name}", source.read(file.size) if file.size < 1 << 20 else b"")
    search.look("repr of the service", f"{vars(lab.service)} {lab.settings!r} {vars(lab.manager)}")
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{lab.service.ready['bootstrap_url']}/v1/ca", ssl=False) as answer,
    ):
        search.look("/v1/ca", await answer.read())


def everything_in_vcenter(lab, search):
    manager = lab.world.service(EventManager)
    for _, recorded in manager.between(0, manager.end):
        event, text = recorded.event, f"{recorded.event.fullFormattedMessage} {recorded.event}"
        if type(event).__name__.endswith("VmReconfiguredEvent"):
            # vCenter's own record of a reconfiguration shows what was set, the token too. By now it opens nothing.
            text = re.sub(r"cvt1\.[\w.-]+", "", text)
        search.look(f"event {type(event).__name__}", text)
    for task in lab.world.of_type(Task):
        search.look(f"task {task.description_id}", str(task.info()))
    for agency in lab.agencies():
        search.look("the agency's configuration", str(agency.config))
    extensions = lab.world.get("ExtensionManager")
    search.look("the extension", f"{list(extensions.extensions.values())} {extensions.certificates}")


def everything_on_disk(directory, search):
    """Files that others may read, and the journal, whoever may read it."""
    for path in Path(directory).rglob("*"):
        if not path.is_file() or path.suffix == ".vmdk":
            continue
        open_to_others = path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        if open_to_others or "journal" in path.name:
            search.look(path.relative_to(directory), path.read_bytes())


def test_the_search_finds_what_is_there():
    search = Search({"a": "canary-a"})
    search.look("here", b"...canary-a...")
    assert search.found == ["a in here"]
    assert keys_in("-----BEGIN PRIVATE KEY-----\n" + "x" * 64 + "\n-----END PRIVATE KEY-----")
