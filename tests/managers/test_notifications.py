"""What is told: tasks and events in vCenter, health with EAM's own apart, signed webhooks, UVEs."""

import hashlib
import hmac
import json
from xml.etree import ElementTree

import pytest
from aiohttp import web
from service_site import ServiceSite

from contrail_vsphere.app.uve import uves
from contrail_vsphere.app.webhooks import SIGNATURE, TRIES
from contrail_vsphere.config.settings import NotifySettings
from contrail_vsphere.contrailvm.notices.health_document import NAMESPACE, render_health
from contrail_vsphere.contrailvm.package import make_demo_package
from contrail_vsphere.simulator.vcenter.task import Task

pytestmark = pytest.mark.looptime
SECRET = "hook line and sinker"


class Receiver:
    """A program that is told; ``answers`` are given in turn, then 204."""

    def __init__(self, *answers):
        self.answers, self.got = list(answers), []

    async def __aenter__(self):
        app = web.Application()
        app.router.add_post("/hook", self._take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()

    async def _take(self, request):
        body = await request.read()
        self.got.append((dict(request.headers), body))
        return web.Response(status=self.answers.pop(0) if self.answers else 204)

    def messages(self):
        return [json.loads(body) for _, body in self.got]


def site(tmp_path, receiver, **options):
    secret = tmp_path / "hook.secret"
    secret.touch(mode=0o600)
    secret.write_text(SECRET)
    more = f'[notify]\nurls = "{receiver.url}"\nsecret_file = "hook.secret"'
    return ServiceSite(tmp_path, more=more, **options)


async def test_a_repair_is_told_to_a_webhook_signed_and_to_vcenter_alike(tmp_path):
    async with Receiver() as receiver, site(tmp_path, receiver, hosts=1) as lab:
        await lab.scenario.power_off(lab.on("esx-00"))
        await lab.heals()
        await lab.until(lambda: receiver.got, seconds=30)
        headers, body = receiver.got[0]
        at, _, signature = headers[SIGNATURE].removeprefix("t=").partition(",v1=")
        assert signature == hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        (event,) = lab.told_in_vcenter("repaired")
        message = receiver.messages()[0]
        assert message["kind"] == "repaired" and message["message"] == event.message
        assert (message["deployment"], message["cluster"], message["host"]) == ("dc1", "C0", "esx-00")
        assert message["user"] and SECRET not in body.decode()


async def test_a_receiver_that_stumbles_gets_the_message_later_and_one_that_refuses_not_again(tmp_path):
    async with Receiver(500, 503, 429) as receiver, site(tmp_path, receiver, hosts=1) as lab:
        await lab.scenario.power_off(lab.on("esx-00"))
        await lab.until(lambda: len(receiver.got) == 4, seconds=120)
        assert len({body for _, body in receiver.got}) == 1
        assert list(lab.service.webhooks.counts.values()) == [1]
        receiver.answers = [410]
        await lab.scenario.power_off(lab.on("esx-00"))
        await lab.until(lambda: len(receiver.got) == 5, seconds=120)
        await lab.pass_time(600)
        assert len(receiver.got) == 5
        assert {outcome for _, outcome in lab.service.webhooks.counts} == {"delivered", "refused"}


async def test_a_receiver_that_stays_away_is_given_up_and_delays_nobody(tmp_path):
    async with Receiver(*[500] * TRIES) as receiver, site(tmp_path, receiver, hosts=1) as lab:
        await lab.scenario.power_off(lab.on("esx-00"))
        await lab.heals()
        await lab.until(lambda: lab.service.webhooks.counts, seconds=900)
        assert len(receiver.got) == TRIES
        assert {outcome for _, outcome in lab.service.webhooks.counts} == {"given-up"}


@pytest.mark.parametrize("urls", ["http://hooks.example.com/x", "ftp://127.0.0.1/x", "https://"])
async def test_a_webhook_in_the_clear_is_refused(urls):
    with pytest.raises(ValueError, match=r"clear|URL"):
        NotifySettings(urls=urls, secret_file="x")
    with pytest.raises(ValueError, match="go together"):
        NotifySettings(urls="https://hooks.example.com/x")


async def test_a_rollout_is_a_task_of_our_extension_also_through_a_restart(tmp_path):
    async with ServiceSite(tmp_path, hosts=3) as lab:
        await lab.data.packages().add(make_demo_package(tmp_path / "two", version="2.0.0"))
        lab.publisher.reload()
        lab.apply(version="2.0.0")

        def tasks():
            found = lab.world.of_type(Task)
            return [each for each in found if each.description_id == "net.juniper.contrail.vm-manager.rollout"]

        await lab.until(lambda: tasks() and tasks()[0].progress, seconds=900)
        await lab.suspend_resume_manager(10)
        await lab.until(lambda: tasks()[0].state == "success", seconds=3000)
        assert len(tasks()) == 1 and tasks()[0].entity.name == "C0"
        assert {each.version for each in lab.manager.hosts()} == {"2.0.0"}


async def test_the_health_of_eam_is_told_apart_from_that_of_contrailvms(tmp_path):
    async with ServiceSite(tmp_path, hosts=2) as lab:

        def colours():
            root = ElementTree.fromstring(render_health(lab.manager.health()))
            return {
                node.get("id"): node.findtext(f"{{{NAMESPACE}}}status") for node in root.iter(f"{{{NAMESPACE}}}health")
            }

        key = lab.settings.manager.extension_key
        assert set(colours().values()) == {"green"}
        with lab.while_faulty(method="AgencyQueryRuntime", fault="EamSystemFault"):
            await lab.until(lambda: colours()[f"{key}.eam"] == "red", seconds=120)
            assert [name for name, colour in colours().items() if colour == "red"] == [key, f"{key}.eam"]
        await lab.until(lambda: set(colours().values()) == {"green"}, seconds=300)


async def test_uves_name_every_contrailvm_as_vcenter_has_it(tmp_path):
    async with ServiceSite(tmp_path, hosts=2) as lab:
        document = uves(lab.manager, name="lab", now=lab.now())
        vms = {each["name"]: each["value"]["ContrailVmState"] for each in document["contrailvm"]}
        assert {name: vm["vm"] for name, vm in vms.items()} == {vm.host.name: vm.moid for vm in lab.contrailvms()}
        assert all(vm["forwards"] for vm in vms.values())
        (manager,) = document["contrailvm-manager"]
        assert manager["value"]["ContrailVmManagerState"]["hosts"] == {"healthy": 2}
        json.dumps(document)
