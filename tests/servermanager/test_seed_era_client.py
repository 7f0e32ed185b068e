"""The old client's requests and what it reads out of the answers: routes, codes, shapes, words."""

import json

import pytest
from api_stand import serving
from sm_stand import ACTOR
from test_provisioning import CANARY, fill

from contrail_vsphere.servermanager.states import RunState


async def ask(client, method, path, **more):
    answer = await client.request(method, path, **more)
    assert answer.headers["content-type"].startswith("text/html")
    return answer.status_code, json.loads(answer.text)


async def test_the_seeds_way_from_server_to_provision(store, tmp_path):
    async with serving(store, tmp_path, insecure_seed_era=True) as stand, stand.client(token="") as client:
        fill(store, stand.service.objects, servers=1)
        document = {"server": [{"id": "s9", "cluster_id": "c1", "mac_address": "00-11-22-AA-BB-CC", "password": CANARY,
                                "ip_address": "10.0.0.9", "subnet_mask": "255.255.255.0", "gateway": "10.0.0.254",
                                "roles": ["contrail-agent"]}]}  # fmt: skip
        code, told = await ask(client, "PUT", "/server", json=document)
        assert (code, told["return_code"]) == (200, 0)
        code, told = await ask(client, "GET", "/server?mac_address=00:11:22:aa:bb:cc")
        assert told == {"server": [{"id": "s9", "ip_address": "10.0.0.9", "mac_address": "00:11:22:aa:bb:cc"}]}
        code, told = await ask(client, "GET", "/server?id=s9&detail")
        assert told["server"][0]["password"] == "*****"
        code, told = await ask(
            client, "POST", "/server/provision", json={"cluster_id": "c1", "package_image_id": "img"}
        )
        assert (code, told["return_code"], told["return_message"]) == (200, "0", "server(s) provision issued")
        assert told["server"] == [{"id": "s1", "package_id": "img"}, {"id": "s9", "package_id": "img"}]
        (run_id,) = stand.ansible.requests
        stand.ansible.end(run_id, RunState.FAILED, {"s1": "completed", "s9": "unreachable"})
        await stand.service.provisioner.settled(run_id)
        code, told = await ask(client, "GET", "/server_status?cluster_id=c1")
        assert [each["status"] for each in told["server"]] == ["provision_completed", "provision_failed"]
        code, told = await ask(client, "GET", "/provision_status?id=s1")
        assert told["servers"][0]["provision_completed"] == "['agent', 'controller']"
        code, told = await ask(client, "GET", "/server", params={"where": "roles = 'agent' and id != 's1'"})
        assert [each["id"] for each in told["server"]] == ["s9"]


async def test_roles_are_added_and_taken_away_for_good(store, tmp_path):
    async with serving(store, tmp_path, insecure_seed_era=True) as stand, stand.client(token="") as client:
        fill(store, stand.service.objects, servers=2)
        for oper, roles in (("add", ["agent", "controller", "lb"]), ("delete", ["agent", "controller"])):
            body = {"id": ["s1", "s2"], "oper": oper, "role_list": ["contrail-lb"]}
            code, told = await ask(client, "POST", "/provision_role", json=body)
            assert (code, told["return_code"]) == (200, 0), told
            run_id = list(stand.ansible.requests)[-1]
            asked = stand.ansible.requests[run_id].hosts
            actions = {role.role: role.container.action for role in asked["s1"].roles}
            assert actions["lb"] == ("create" if oper == "add" else "remove")
            stand.ansible.end(run_id, RunState.SUCCEEDED, dict.fromkeys(asked, "completed"))
            await stand.service.provisioner.settled(run_id)
            _, told = await ask(client, "GET", "/server?id=s2&detail")
            assert sorted(told["server"][0]["roles"]) == roles
        code, told = await ask(client, "POST", "/provision_role", json=body)
        assert (code, "does not have the role lb" in told["return_msg"]) == (404, True)


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [("DELETE", "/server?id=none", None, 1), ("DELETE", "/cluster?id=none", None, 2),
     ("DELETE", "/image?id=none", None, 3), ("POST", "/server/provision", {"where": "id = 'none'"}, 1),
     ("GET", "/server?colour=red", None, 12), ("GET", "/server?where=1=1", None, 12),
     ("GET", "/server?show_pass=true", None, 12), ("DELETE", "/server", None, 10), ("PUT", "/server", {}, 9),
     ("POST", "/server/provision", {}, 10), ("POST", "/server/provision", {"id": "s1", "opcode": "issu"}, 8),
     ("GET", "/columns?table=x", None, 11), ("POST", "/provision_role", {"id": ["s1"], "oper": "add"}, 10),
     ("POST", "/provision_role", {"id": ["s1"], "oper": "x", "role_list": ["contrail-agent"]}, 11)],
)  # fmt: skip
async def test_25_every_failure_is_a_404_with_the_eras_code(sqlite_store, tmp_path, method, path, body, code):
    async with serving(sqlite_store, tmp_path, insecure_seed_era=True) as stand, stand.client(token="") as client:
        status, told = await ask(client, method, path, json=body)
        assert (status, told["return_code"]) == (404, code)
        assert told["return_msg"]


async def test_one_file_adds_all_in_whatever_order_and_an_image_is_in_the_background(store, tmp_path):
    image = {"id": "contrail-container", "category": "container", "version": "4.0.0.0-3016",
             "type": "contrail-container-ubuntu", "parameters": {"containers": [{"role": "control"}]}}  # fmt: skip
    cluster = {"id": "c1", "package_image_id": "contrail-container", "parameters": {"provision": {"contrail_4": {}}}}
    server = {"id": "s1", "cluster_id": "c1", "ip_address": "10.0.0.1"}
    document = {"server": [server], "cluster": [cluster], "image": [image]}
    async with serving(store, tmp_path, insecure_seed_era=True) as stand, stand.client(token="") as client:
        code, told = await ask(client, "PUT", "/config", json={**document, "server": [{**server, "cluster_id": "c2"}]})
        assert (code, "no cluster 'c2'" in told["return_msg"]) == (404, True)
        _, told = await ask(client, "GET", "/all")
        assert (told["image"], told["cluster"], told["server"]) == ([], [], []), "all of a file or nothing"
        code, told = await ask(client, "PUT", "/config", json=document)
        assert code == 200, told
        await stand.service.images.settled("contrail-container")
        _, told = await ask(client, "GET", "/all")
        assert [list(each) for each in (told["cluster"], told["server"], told["image"])] == [
            [{"id": "c1"}], [{"id": "s1", "ip_address": "10.0.0.1", "mac_address": ""}], [{"id": "contrail-container"}]
        ]  # fmt: skip
        _, told = await ask(client, "GET", "/cluster?id=c1&detail")
        assert told["cluster"][0]["package_image_id"] == "contrail-container"
        code, told = await ask(client, "PUT", "/image", json={"image": [{**image, "id": "Bad"}]})
        assert (code, "lower-case" in told["return_msg"]) == (404, True)


async def test_an_image_that_is_there_is_not_changed_but_a_file_with_it_can_be_given_again(store, tmp_path):
    async with serving(store, tmp_path, insecure_seed_era=True) as stand, stand.client(token="") as client:
        image = {"id": "img", "category": "container", "version": "4.1", "type": "contrail-container",
                 "path": "/img.tgz"}  # fmt: skip
        with store.writing() as session:
            stand.service.images.register(session, ACTOR, image)
        for path, given, code in (
            ("/config", image, 0), ("/image", image, 6), ("/config", {**image, "version": "4.2"}, 6)
        ):  # fmt: skip
            _, told = await ask(client, "PUT", path, json={"image": [given]})
            assert told["return_code"] == code, told


async def test_images_are_deleted_by_where_too(store, tmp_path):
    async with serving(store, tmp_path, insecure_seed_era=True) as stand, stand.client(token="") as client:
        for name in ("one", "two"):
            document = {"id": name, "category": "container", "version": "1", "type": "contrail-container",
                        "parameters": {"containers": [{"role": "lb"}]}}  # fmt: skip
            assert (await ask(client, "PUT", "/image", json={"image": [document]}))[0] == 200
            await stand.service.images.settled(name)
        code, _ = await ask(client, "DELETE", "/image", params={"where": "id in (one, two)"})
        assert code == 200
        for name in ("one", "two"):
            await stand.service.images.settled(name)
        _, told = await ask(client, "GET", "/image?detail")
        # Its registry never answers: the job was there, and says so.
        assert [(each["id"], "does not answer" in each["reason"]) for each in told["image"]] == [
            ("one", True), ("two", True)
        ]  # fmt: skip
        assert {each["state"] for each in told["image"]} == {"failed"}


async def test_defaults_and_the_log_of_a_cluster(store, tmp_path):
    async with serving(store, tmp_path, insecure_seed_era=True) as stand, stand.client(token="") as client:
        _, told = await ask(client, "GET", "/defaults?object=cluster")
        roles = told["parameters"]["provision"]["containers"]
        assert roles["controller"]["CONTROLLER"]["bgp_asn"] == 64512
        assert "password" not in roles["controller"]["RABBITMQ"]
        assert (await ask(client, "GET", "/defaults?object=server"))[1]["ssh_port"] == 22
        assert (await ask(client, "GET", "/defaults?object=server&level=config"))[1] == {}
        code, told = await ask(client, "GET", "/defaults?object=chassis")
        assert (code, told["return_code"]) == (404, 11)
        fill(store, stand.service.objects, servers=1)
        await ask(client, "POST", "/server/provision", json={"cluster_id": "c1"})
        (run_id,) = stand.ansible.requests
        stand.ansible.end(run_id, RunState.FAILED, {"s1": "unreachable"})
        await stand.service.provisioner.settled(run_id)
        page = await client.get("/logs")
        assert 'href="/logs/c1_provision.log"' in page.text
        lines = (await client.get("/logs/c1_provision.log")).text.splitlines()
        assert [line.split()[1:4] for line in lines[:3]] == [
            [run_id, "provision", word] for word in ("queued:", "running:", "failed:")
        ]
        assert lines[3].endswith("why")
        for name in ("c2_provision.log", "c1", "..%2f..%2fetc%2fpasswd"):
            assert (await client.get(f"/logs/{name}")).status_code == 404


async def test_an_upload_by_form(sqlite_store, tmp_path):
    async with serving(sqlite_store, tmp_path, insecure_seed_era=True) as stand, stand.client(token="") as client:
        fields = {"id": "up", "version": "4.1", "type": "contrail-ubuntu-package", "category": "package"}
        status, told = await ask(client, "PUT", "/image/upload", data=fields, files={"file": ("../../x.tgz", b"x")})
        assert (status, told["return_msg"]) == (200, "Image Uploaded")
        await stand.service.images.settled("up")
        _, told = await ask(client, "GET", "/image?id=up&detail")
        assert told["image"][0]["path"].endswith("/x.tgz")
        assert str(stand.service.uploads) in told["image"][0]["path"]


async def test_bare_metal_points_elsewhere_and_without_the_switch_a_token_is_needed(sqlite_store, tmp_path):
    async with serving(sqlite_store, tmp_path, insecure_seed_era=True) as stand, stand.client(token="") as client:
        for method, path in (("POST", "/server/reimage"), ("PUT", "/dhcp_host"), ("GET", "/MonitorInfo")):
            status, told = await ask(client, method, path, json={})
            assert (status, "MAAS" in told["return_msg"]) == (501, True)
        status, told = await ask(client, "POST", "/server/restart", json={"id": "s1", "net_boot": "y"})
        assert (status, told["return_code"]) == (404, 8)
        assert (await client.get("/v1/servers")).status_code == 401
    async with serving(sqlite_store, tmp_path) as stand, stand.client(token="") as client:
        assert (await client.get("/server")).status_code == 401
