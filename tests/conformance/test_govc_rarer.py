"""What an administrator types less often: files, pools, snapshots, devices, moves of hosts; read in our world."""

import json
import ssl

import aiohttp

from contrail_vsphere.simulator.vcenter.authorization import Account, Accounts
from contrail_vsphere.simulator.vcenter.compute_resource import ClusterComputeResource
from contrail_vsphere.simulator.vcenter.datastore import Datastore


async def test_files_come_and_go_on_a_datastore(vcenter, govc, tmp_path):
    (tmp_path / "x.iso").write_bytes(b"an image" * 1000)
    store, on = vcenter.scenario.find(Datastore, "nfs-shared"), ("-ds", "nfs-shared")
    await govc("datastore.mkdir", *on, "iso")
    again = await govc("datastore.mkdir", *on, "iso", code=1)
    assert "already exists" in again.err
    await govc("datastore.mkdir", *on, "a/b/c", code=1)
    await govc("datastore.mkdir", "-p", *on, "a/b/c")
    await govc("datastore.upload", *on, "x.iso", "iso/x.iso")
    await govc("datastore.cp", *on, "iso/x.iso", "iso/y.iso")
    await govc("datastore.mv", *on, "iso/y.iso", "a/b/c/z.iso")
    assert (await govc("datastore.ls", *on, "iso")).lines == ["x.iso"]
    assert {path for path, content in store.loose.items() if content is not None} == {"iso/x.iso", "a/b/c/z.iso"}
    await govc("datastore.download", *on, "a/b/c/z.iso", "back.iso")
    assert (tmp_path / "back.iso").read_bytes() == (tmp_path / "x.iso").read_bytes()
    locked = await govc("datastore.rm", *on, "vm-0000", code=1)
    assert "locked" in locked.err
    await govc("datastore.rm", *on, "a")
    assert set(store.loose) == {"iso", "iso/x.iso"}
    missing = await govc("datastore.download", *on, "a/b/c/z.iso", "back.iso", code=1)
    assert "404" in missing.err


async def test_files_need_a_session_and_a_privilege(vcenter, govc, tmp_path):
    (tmp_path / "x.iso").write_bytes(b"x")
    rights = frozenset({"System.View", "System.Read", "Datastore.Browse"})
    vcenter.world.service(Accounts).add(Account("reader@vsphere.local", "secret", privileges=rights))
    reader = {"GOVC_USERNAME": "reader@vsphere.local", "GOVC_PASSWORD": "secret"}
    upload = ("datastore.upload", "-ds", "nfs-shared", "x.iso", "x.iso")
    assert "403" in (await govc(*upload, code=1, **reader)).err
    assert vcenter.scenario.find(Datastore, "nfs-shared").loose == {}
    await govc(*upload)
    await govc("datastore.download", "-ds", "nfs-shared", "x.iso", "back.iso", **reader)
    trust = ssl.create_default_context(cafile=vcenter.ready["ca_file"])
    url = vcenter.ready["url"].removesuffix("/sdk") + "/folder/x.iso?dsName=nfs-shared"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as http, http.get(url) as answer:
        assert answer.status == 401


async def test_a_host_is_rebooted_and_moved_to_another_cluster(vcenter, govc):
    await govc("cluster.create", "C9")
    host, vms = vcenter.scenario.host("esx-01"), vcenter.scenario.host("esx-01").vms
    refused = await govc("cluster.mv", "-cluster", "C9", "esx-01", code=1)
    assert "maintenance mode" in refused.err
    await govc("host.maintenance.enter", "esx-01")
    booted = host.boot_time
    await govc("host.shutdown", "-r", "esx-01")
    assert host.boot_time > booted
    assert (host.connection_state, host.in_maintenance) == ("connected", True)
    await govc("cluster.mv", "-cluster", "C9", "esx-01")
    cluster = vcenter.scenario.find(ClusterComputeResource, "C9")
    assert host.parent is cluster
    assert all(vm.host is not host for vm in vms), "they went before"
    assert "/DC0/host/C9/esx-01" in (await govc("ls", "host/C9")).lines
    assert "/DC0/host/C0/esx-01" not in (await govc("ls", "host/C0")).lines
    forced = await govc("host.shutdown", "esx-02", code=1)
    assert "maintenance mode" in forced.err
    assert vcenter.events.of_type("HostShutdownEvent")[0].host.name == "esx-01"


async def test_pools_folders_and_moves(vcenter, govc):
    pool = "/DC0/host/C0/Resources/gold"
    await govc("pool.create", "-cpu.reservation", "500", pool)
    assert "Reservation:" in (told := (await govc("pool.info", "/DC0/host/C0/Resources")).out)
    assert "NaN" not in told
    refused = await govc("pool.create", "-mem.reservation", "99999999", "/DC0/host/C0/Resources/more", code=1)
    assert "Resource pool 'Resources' has" in refused.err
    await govc("pool.change", "-mem.limit", "4096", pool)
    assert "4096MB" in (await govc("pool.info", pool)).out
    await govc("folder.create", "/DC0/vm/tenants")
    await govc("object.mv", "/DC0/vm/vm-0003", "/DC0/vm/tenants")
    assert vcenter.scenario.vm("vm-0003").parent.name == "tenants"
    await govc("pool.destroy", pool)
    assert "gold" not in vcenter.inventory
    assert "vm-0003" in (await govc("tree", "/DC0/vm")).out


async def test_snapshots_are_taken_shown_and_reverted_to(vcenter, govc):
    vm = vcenter.scenario.vm("vm-0000")
    for name in ("one", "two"):
        await govc("snapshot.create", "-vm", "vm-0000", "-m=false", name)
    await govc("vm.change", "-vm", "vm-0000", "-e", "guestinfo.a=b")
    assert [line.split()[-1] for line in (await govc("snapshot.tree", "-vm", "vm-0000")).lines[:2]] == ["one", "two"]
    await govc("snapshot.revert", "-vm", "vm-0000", "one")
    assert "guestinfo.a" not in vm.extra_config
    await govc("snapshot.remove", "-vm", "vm-0000", "*")
    assert vm.snapshots == ()


async def test_devices_templates_and_tools(vcenter, govc):
    vm = vcenter.scenario.vm("vm-0000")
    await govc("device.disconnect", "-vm", "vm-0000", "ethernet-0")
    assert not vm.nics[0].connected
    await govc("device.connect", "-vm", "vm-0000", "ethernet-0")
    assert vm.nics[0].connected
    assert "ToolsUpgradePolicy" in (await govc("vm.info", "-g", "-t", "vm-0000")).out
    await govc("vm.power", "-off", "vm-0001")
    await govc("vm.markastemplate", "vm-0001")
    assert vcenter.scenario.vm("vm-0001").template
    await govc("vm.markasvm", "-pool", "C0/Resources", "vm-0001")
    assert not vcenter.scenario.vm("vm-0001").template


async def test_switches_of_hosts_and_a_distributed_one_are_changed(vcenter, govc):
    on = ("-host", "esx-00")
    await govc("host.vswitch.add", *on, "-mtu", "1600", "vSwitch9")
    await govc("host.portgroup.add", *on, "-vswitch", "vSwitch9", "-vlan", "9", "nine")
    await govc("host.portgroup.change", *on, "-vlan-id", "10", "nine")
    groups = json.loads((await govc("host.portgroup.info", *on, "-json")).out)["portgroup"]
    assert [item["spec"]["vlanId"] for item in groups if item["spec"]["name"] == "nine"] == [10]
    await govc("host.portgroup.remove", *on, "nine")
    await govc("host.vswitch.remove", *on, "vSwitch9")
    assert "nine" not in {network.name for network in vcenter.scenario.host("esx-00").networks}
    await govc("dvs.change", "-mtu", "8000", "dvs0")
    assert vcenter.inventory["dvs0"].read("config.maxMtu") == 8000
