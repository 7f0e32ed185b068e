"""Large estates, pages over them, and the two ways an object comes to be."""

import json

from contrail_desk import desk
from hypothesis import given, settings
from hypothesis import strategies as st

VMIS = "/virtual-machine-interfaces"


async def pages(at, path, limit):
    """All pages of a list, as lists of uuids."""
    marker, found = "None", []
    while marker is not None:
        body = await at.get(f"{path}{'&' if '?' in path else '?'}page_limit={limit}&page_marker={marker}")
        found.append([item["uuid"] for item in body["virtual-machine-interfaces"]])
        marker = body["marker"]
    return found


async def test_pages_hold_every_object_once():
    async with desk() as at:
        blue, red = (at.contrail.scenario.create_network(name, "10.1.0.0/16") for name in ("blue", "red"))
        for network in (blue, red):
            at.contrail.builder.ports(network, 105, prefix=network.name)
        whole = await pages(at, VMIS, 50)
        assert [len(page) for page in whole] == [50, 50, 50, 50, 10]
        assert len({uuid for page in whole for uuid in page}) == 210
        assert [len(page) for page in await pages(at, f"{VMIS}?back_ref_id={blue.uuid}", 100)] == [100, 5]
        assert [len(page) for page in await pages(at, f"{VMIS}?parent_id={red.parent_uuid}", 105)] == [105, 105]


async def test_a_marker_stays_good_while_objects_come_and_go():
    async with desk() as at:
        scenario = at.contrail.scenario
        network = scenario.create_network("blue", "10.1.0.0/16")
        ports = at.contrail.builder.ports(network, 30)
        before = {port.vmi.uuid for port in ports}
        first = await at.get(f"{VMIS}?page_limit=10&page_marker=None")
        seen = [item["uuid"] for item in first["virtual-machine-interfaces"]]
        gone = next(port for port in ports if port.vmi.uuid == seen[-1])  # the marker's own object
        scenario.delete(gone.ip)
        scenario.delete(gone.vmi)
        for number in range(10):
            scenario.create_port(network, mac=f"00:50:56:00:01:{number:02x}")
        marker = first["marker"]
        while marker is not None:
            body = await at.get(f"{VMIS}?page_limit=10&page_marker={marker}")
            seen += [item["uuid"] for item in body["virtual-machine-interfaces"]]
            marker = body["marker"]
        assert len(seen) == len(set(seen))
        assert before <= set(seen)


async def test_a_built_port_is_like_one_that_was_created():
    async with desk() as at:
        network = at.contrail.scenario.create_network("blue", "10.1.0.0/24")
        (built,) = at.contrail.builder.ports(network, 1, creator="x", prefix="web")
        created = at.contrail.scenario.create_port(network, mac="00:50:56:00:00:01", creator="x")
        kinds = ("virtual-machine", "virtual-machine-interface", "instance-ip")
        for kind, one, other in zip(kinds, (built.vm, built.vmi, built.ip), created, strict=True):
            shapes = [shape(await at.read(kind, item.uuid)) for item in (one, other)]
            assert shapes[0] == shapes[1]


def shape(value, depth=0):
    """What kinds of values are where; texts and numbers themselves do not matter."""
    if isinstance(value, dict):
        return {key: shape(item, depth + 1) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [shape(item, depth + 1) for item in value]
    return type(value).__name__


async def test_ten_thousand_interfaces_are_listed_whole():
    async with desk() as at:
        network = at.contrail.scenario.create_network("blue", "10.0.0.0/14")
        at.contrail.builder.ports(network, 10_000)
        path = f"{VMIS}?fields=id_perms,display_name,virtual_machine_refs,virtual_network_refs&exclude_hrefs=1"
        uuids = {item["uuid"] for item in (await at.get(path))["virtual-machine-interfaces"]}
        assert len(uuids) == 10_000


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["auto", "ask", "free"]), st.integers(0, 15)), max_size=40), st.booleans())
async def test_no_address_is_ever_had_twice(steps, from_start):
    async with desk() as at:
        project = at.contrail.scenario.create_project("p")
        attr = {"subnet": {"ip_prefix": "10.1.0.0", "ip_prefix_len": 28}, "addr_from_start": from_start}
        ipam = {"to": ["default-domain", "p", "p-ipam"], "attr": {"ipam_subnets": [attr]}}
        network = at.contrail.scenario.create("virtual-network", (*project.fq_name, "n"), network_ipam_refs=[ipam])
        refs = {"virtual_network_refs": [{"to": list(network.fq_name)}]}
        held: dict[str, str] = {}
        for number, (step, value) in enumerate(steps):
            if step == "free":
                if held:
                    address = sorted(held)[value % len(held)]
                    assert (await at.ask("DELETE", f"/instance-ip/{held.pop(address)}"))[0] == 200
                continue
            asked = {"instance_ip_address": f"10.1.0.{value}"} if step == "ask" else {}
            body = {"instance-ip": {"fq_name": [f"ip-{number}"], **refs, **asked}}
            status, answer = await at.ask("POST", "/instance-ips", body)
            if status == 200:
                uuid = answer["instance-ip"]["uuid"]
                address = (await at.read("instance-ip", uuid))["instance_ip_address"]
                assert address not in held
                assert address == asked.get("instance_ip_address", address)
                held[address] = uuid
            else:
                assert status == (409 if step == "ask" else 400), answer
        free = {f"10.1.0.{number}" for number in range(1, 15)} - set(held)
        reserved = {"10.1.0.1", "10.1.0.2"} if from_start else {"10.1.0.14", "10.1.0.13"}
        for address in sorted(free - reserved):
            body = {"instance-ip": {"fq_name": [address], **refs, "instance_ip_address": address}}
            assert (await at.ask("POST", "/instance-ips", body))[0] == 200, json.dumps(steps)
