"""Faults of the seed era's Server Manager, each of which must not come back.

Their tests bear their numbers in the list that was made when its source was read: `pytest -k test_NN_`, here and in the
other directories of Server Manager.
"""

import asyncio
import gzip
import json
import re
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from image_kit import docker_archive, tar
from sm_stand import ACTOR
from test_provisioning import fill

from contrail_vsphere.config.settings import ServerManagerSettings
from contrail_vsphere.model.errors import DocumentError, InvalidArgument, SettingsError
from contrail_vsphere.pki.secrets import Secret
from contrail_vsphere.servermanager import documents
from contrail_vsphere.servermanager.archive import read_archive
from contrail_vsphere.servermanager.catalogue import catalogue
from contrail_vsphere.servermanager.collection import PATH
from contrail_vsphere.servermanager.images import Images
from contrail_vsphere.servermanager.names import Reference, Release, check_image_id, repository
from contrail_vsphere.servermanager.objects import server_document
from contrail_vsphere.servermanager.parameters import Findings
from contrail_vsphere.servermanager.planner import Order, Planner
from contrail_vsphere.servermanager.registry import Registry
from contrail_vsphere.servermanager.sm_config import read_sm_config
from contrail_vsphere.servermanager.tables import Image, Server

SAMPLES = Path(__file__).parents[2] / "docs" / "samples" / "server-manager"


def test_03_each_server_is_reached_with_its_own_password(sqlite_store, objects, vault):
    fill(sqlite_store, objects, servers=3)
    with sqlite_store.writing() as session:
        objects.put_server(session, ACTOR, {"id": "s2", "password": "other"})
    planner = Planner(catalogue=catalogue(), vault=vault, config_dir="/etc/contrail")
    with sqlite_store.writing() as session:
        hosts = planner.prepare(session, Order(cluster="c1")).request_hosts
    assert {name: host.password for name, host in hosts.items()} == {
        "s1": "canary-77aa", "s2": "other", "s3": "canary-77aa"
    }  # fmt: skip


def test_10_two_archives_are_read_at_once(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    def read(role):
        (tmp_path / role).mkdir()
        path = tmp_path / f"{role}.tar"
        path.write_bytes(docker_archive(role))
        return read_archive(path, tmp_path / role)[0].config.digest

    with ThreadPoolExecutor() as pool:
        digests = list(pool.map(read, ["controller", "agent", "lb", "analytics"]))
    assert len(set(digests)) == 4


@pytest.mark.parametrize("image_id", ["Contrail", "1contrail", "contrail_", "contrail--", "con trail", "", "a/b", "é"])
def test_15_an_id_that_no_registry_takes_is_refused_before_any_work(image_id):
    with pytest.raises(InvalidArgument):
        check_image_id(image_id)


def test_15_the_seeds_own_names_are_taken_in_both_spellings():
    assert check_image_id("contrail-container")
    assert repository("contrail-container", "controller", Release.parse("liberty:3.1.1.0-29")) == (
        "contrail-container-controller-liberty"
    )
    assert Release.parse("4.1.1.0-1") == Release("4.1.1.0-1", "")
    for wrong in ("4.1~rc1", "4.1+x", "a:b:c", ":1", "", "x" * 129):
        with pytest.raises(InvalidArgument):
            Release.parse(wrong)
    assert str(Reference.parse("10.1.1.9:5000/contrail-analytics:4.0")) == "10.1.1.9:5000/contrail-analytics:4.0"


def test_16_what_is_stored_is_text_and_never_run(store, objects):
    evil = "__import__('os').system('touch /tmp/never')"
    document = {
        "id": "s1",
        "ip_address": "10.0.0.1",
        "domain": evil,
        "network": {},
        "email": "'; DROP TABLE server; --",
    }
    with store.writing() as session:
        objects.put_server(session, ACTOR, document)
    with store.reading() as session:
        kept = server_document(session.get(Server, "s1"))
    assert (kept["domain"], kept["email"]) == (evil, "'; DROP TABLE server; --")


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"a": NaN}', "[1]", "{", '{"a": ' * 2000, b"\xff\xfe{}"])
def test_16_a_document_is_json_and_nothing_else(text):
    with pytest.raises(DocumentError):
        documents.parse(text)


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.name)
def test_26_every_sample_is_right(sample):
    document = documents.parse(sample.read_bytes())
    findings = Findings()
    checks = {"image": documents.check_image, "cluster": documents.check_cluster, "server": documents.check_server}
    for kind in document:
        for each in documents.listed(document, kind):
            checks[kind](each, findings, path=f"$.{kind}", catalogue=catalogue())
        assert json.loads(sample.read_text())[kind]
    assert document
    assert findings.problems == []


def test_there_are_samples():
    assert len(list(SAMPLES.glob("*.json"))) == 5


def test_the_old_settings_file_is_read_and_what_has_no_effect_is_named(tmp_path):
    path = tmp_path / "sm-config.ini"
    path.write_text("[SERVER-MANAGER]\nlisten_ip_addr = 127.0.0.7\nlisten_port = 9901\ndatabase_name = smgr.db\n"
                    "cobbler = true\n[ANSIBLE-SERVER]\nansible_srvr_ip = 127.0.0.1\n"
                    "docker_registry = reg:5100\n")  # fmt: skip
    made, ignored = read_sm_config(path, ServerManagerSettings())
    assert (str(made.listen), made.registry, made.ansible_url) == (
        "127.0.0.7:9901", "reg:5100", "http://127.0.0.1:9003"
    )  # fmt: skip
    assert made.database == "sqlite:////var/lib/contrail-server-manager/smgr.db"
    assert ignored == ["[SERVER-MANAGER] cobbler"]
    path.write_text("[SERVER-MANAGER]\nlisten_port = many\n")
    with pytest.raises(SettingsError, match="listen"):
        read_sm_config(path, ServerManagerSettings())


async def test_a_registry_that_wants_tokens_gets_them_and_no_stranger_gets_our_password(tmp_path):
    asked, elsewhere = [], []

    async def token(request):
        asked.append((request.query.getall("scope", []), request.headers["Authorization"][:5]))
        return web.json_response({"token": "t-1"})

    async def base(request):
        if request.headers.get("Authorization") == "Bearer t-1":
            return web.json_response({}, headers={"Docker-Content-Digest": "sha256:" + "0" * 64})
        realm = elsewhere[0] if elsewhere else f"http://127.61.0.5:{port}/token"
        return web.Response(status=401, headers={"WWW-Authenticate": f'Bearer realm="{realm}",service="reg"'})

    app = web.Application()
    app.router.add_get("/token", token)
    app.router.add_route("*", "/v2/{rest:.*}", base)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.61.0.5", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with Registry(f"127.61.0.5:{port}", tls=None, username="u", password=Secret("p")) as registry:
            assert await registry.digest("a/b", "1") == "sha256:" + "0" * 64
        assert asked == [(["repository:a/b:pull,push"], "Basic")]
        elsewhere.append("http://evil.example.com/token")
        async with Registry(f"127.61.0.5:{port}", tls=None, username="u", password=Secret("p")) as registry:
            with pytest.raises(Exception, match="in the clear"):
                await registry.digest("a/b", "1")
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)


async def test_07_a_job_that_breaks_says_so_and_the_next_one_runs(sqlite_store, tmp_path):
    @asynccontextmanager
    async def broken():
        raise RuntimeError("boom")
        yield

    images = Images(sqlite_store, catalogue=catalogue(), registries=broken, address="reg:5100", scratch=tmp_path / "s")
    await images.resume()
    for name in ("one", "two"):
        document = {"id": name, "category": "container", "type": "contrail-container", "version": "1",
                    "parameters": {"containers": [{"role": "lb"}]}}  # fmt: skip
        with sqlite_store.writing() as session:
            images.register(session, ACTOR, document)
        images.begin(name)
    for name in ("one", "two"):
        await images.settled(name)
        with sqlite_store.reading() as session:
            row = session.get_one(Image, name)
            assert (row.state, row.reason) == ("failed", "RuntimeError: boom")


def test_08_every_wait_for_a_service_has_an_end():
    assert all(0 < role.health.timeout <= 600 for role in catalogue())
    assert ServerManagerSettings().ansible_run_timeout < float("inf")


def test_13_every_archive_of_a_bundle_is_unpacked(tmp_path):
    (tmp_path / "out").mkdir()
    path = tmp_path / "bundle.tgz"
    inner = {f"contrail-{part}-images_4.tgz": gzip.compress(tar({
        f"contrail-{role}-u16.04-4.tar.gz": gzip.compress(docker_archive(role))}))
        for part, role in (("docker", "controller"), ("cloud-docker", "agent"))}  # fmt: skip
    path.write_bytes(gzip.compress(tar(inner)))
    assert {image.role_hint for image in read_archive(path, tmp_path / "out")} == {
        "contrail-controller",
        "contrail-agent",
    }


def test_every_one_of_the_28_has_its_test():
    tests = Path(__file__).parents[1]
    text = "".join(path.read_text() for path in tests.glob("servermanager*/test_*.py"))
    assert set(re.findall(r"def test_(\d\d)_", text)) == {f"{number:02}" for number in range(1, 29)}


def test_27_provisioning_reboots_no_server():
    for path in PATH.rglob("*"):
        if path.suffix in (".py", ".yml"):
            assert not {"reboot", "lsmod"} & set(path.read_text().split()), path


def test_28_ansible_runs_in_processes_of_its_own():
    """Its Python API is private: neither server has it loaded, and one module of ours starts it."""
    code = ("import sys, contrail_vsphere.app.ansible_server, contrail_vsphere.app.server_manager;"
            "print([name for name in sys.modules if name.split('.')[0] in ('ansible', 'ansible_runner')])")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
