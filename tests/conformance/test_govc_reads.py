"""Every command of govc that only reads, against our vCenter over verified TLS."""

import pytest


async def test_about(vcenter, govc):
    about = (await govc("about", "-json")).json["about"]
    assert about["apiVersion"] == "8.0.3.0"
    assert about["apiType"] == "VirtualCenter"
    assert about["instanceUuid"]
    assert vcenter.calls["Login"] == 1


async def test_an_unknown_ca_is_refused_by_the_client(vcenter, govc, tmp_path):
    said = await govc("about", code=1, GOVC_TLS_CA_CERTS="")
    assert "certificate" in said.err
    assert vcenter.calls["Login"] == 0


async def test_a_wrong_password_is_refused(govc):
    said = await govc("about", code=1, GOVC_PASSWORD="wrong")
    assert "incorrect user name or password" in said.err


async def test_ls(govc):
    assert (await govc("ls")).lines == ["/DC0/vm", "/DC0/host", "/DC0/datastore", "/DC0/network"]
    assert (await govc("ls", "vm")).lines == [f"/DC0/vm/vm-000{number}" for number in range(4)]
    assert "/DC0/network/VM Network" in (await govc("ls", "network")).lines
    inside = (await govc("ls", "host/C0")).lines
    assert inside[:3] == [f"/DC0/host/C0/esx-0{number}" for number in range(3)]
    assert inside[-1] == "/DC0/host/C0/Resources"


async def test_find(govc, vcenter):
    assert (await govc("find", "/", "-type", "m")).lines == [f"/DC0/vm/vm-000{number}" for number in range(4)]
    assert (await govc("find", ".", "-type", "h", "-name", "*-01")).lines == ["/DC0/host/C0/esx-01"]
    host = vcenter.scenario.host("esx-00")
    on_it = {f"vm/{vm.name}" for vm in host.vms}
    assert set((await govc("find", "vm", "-type", "m", "-runtime.host", f"HostSystem:{host.moid}")).lines) == on_it
    assert (await govc("find", ".", "-type", "m", "-runtime.powerState", "suspended")).lines == []


async def test_vm_info(govc, vcenter):
    vm = vcenter.scenario.vm("vm-0001")
    (info,) = (await govc("vm.info", "-json", "-e", "-r", "vm-0001")).json["virtualMachines"]
    assert info["self"]["value"] == vm.moid
    assert info["runtime"]["host"]["value"] == vm.host.moid
    assert info["config"]["instanceUuid"] == vm.instance_uuid
    assert vm.host.name in (await govc("vm.info", "vm-0001")).out
    by_uuid = await govc("vm.info", f"-vm.uuid={vm.bios_uuid}")
    assert "vm-0001" in by_uuid.out
    assert vcenter.calls["FindAllByUuid"] + vcenter.calls["FindByUuid"] == 1


async def test_vm_ip(govc, vcenter):
    told = (await govc("vm.ip", "-wait", "20s", "vm-0000", "vm-0001")).lines
    assert told == [vcenter.scenario.vm(name).guest_ip for name in ("vm-0000", "vm-0001")]
    hosts = [vcenter.scenario.host(f"esx-0{number}").address for number in range(3)]
    assert len({*told, *hosts}) == 5, "nobody's but theirs"


async def test_host_info(govc, vcenter):
    (info,) = (await govc("host.info", "-json", "/DC0/host/C0/esx-02")).json["hostSystems"]
    assert info["self"]["value"] == vcenter.scenario.host("esx-02").moid
    assert info["runtime"]["connectionState"] == "connected"


async def test_device_info(govc, vcenter):
    devices = {item["name"]: item for item in (await govc("device.info", "-json", "-vm", "vm-0000")).json["devices"]}
    card = devices["ethernet-0"]
    assert card["key"] == 4000
    assert card["macAddress"] == vcenter.scenario.vm("vm-0000").nics[0].mac
    assert {"ide-200", "pci-100", "video-500", "pvscsi-1000"} <= set(devices)


async def test_extension_info(govc):
    extensions = {item["key"] for item in (await govc("extension.info", "-json")).json["extensions"]}
    assert "com.vmware.vim.eam" in extensions


async def test_session_ls(govc, vcenter):
    said = (await govc("session.ls", "-json")).json
    (session,) = said["sessionList"]
    assert session["userName"] == vcenter.ready["username"]
    assert session["key"] == said["currentSession"]["key"]


async def test_object_collect(govc, vcenter):
    said = await govc("object.collect", "-s", "vm/vm-0000", "runtime.powerState", "name")
    assert said.lines == ["poweredOn", "vm-0000"]
    said = await govc("object.collect", "-s", "vm/vm-0000", "config.hardware.device[4000].macAddress")
    assert said.lines == [vcenter.scenario.vm("vm-0000").nics[0].mac]
    everything = await govc("object.collect", "host/C0/esx-00", "runtime")
    assert "runtime.connectionState" in everything.out
    waiting = await govc("object.collect", "-wait", "1s", "-s", "vm/vm-0000", "runtime.powerState")
    assert waiting.lines == ["poweredOn"]
    assert vcenter.calls["WaitForUpdatesEx"] >= 1


async def test_pools_datastores_and_datacenters(govc):
    assert "Resources" in (await govc("pool.info", "C0/Resources")).out
    (store,) = (await govc("datastore.info", "-json", "nfs-shared")).json["datastores"]
    assert store["summary"]["multipleHostAccess"] is True
    assert "Virtual Machines:  4" in (await govc("datacenter.info")).out


async def test_datastore_ls(govc):
    folders = (await govc("datastore.ls", "-ds", "nfs-shared")).lines
    assert "vm-0000" in folders
    assert "vm-0000.vmx" in (await govc("datastore.ls", "-ds", "nfs-shared", "vm-0000")).lines
    missing = await govc("datastore.ls", "-ds", "nfs-shared", "nowhere", code=1)
    assert "not found" in missing.err


async def test_options_roles_and_permissions_are_listed(govc, vcenter):
    assert "config.vmacore.soap.sessionTimeout" in (await govc("option.ls")).out
    assert (await govc("role.ls")).lines[-1].split()[0] == "Admin"
    (permission,) = (await govc("permissions.ls", "-json")).json["Permissions"]
    assert permission["principal"] == "VSPHERE.LOCAL\\Administrators"
    assert permission["roleId"] == -1
    privileges = (await govc("role.ls", "ReadOnly")).lines
    assert privileges == ["System.Anonymous", "System.Read", "System.View"]


async def test_the_whole_inventory_is_saved(govc, vcenter, tmp_path):
    await govc("object.save", "-d", tmp_path / "saved")
    saved = {path.name for path in (tmp_path / "saved").iterdir()}
    assert {"0000-ServiceInstance-ServiceInstance.xml"} <= saved
    for vm in vcenter.scenario.vms():
        assert any(f"VirtualMachine-{vm.moid}" in name for name in saved)


@pytest.mark.parametrize("path", ["vm/nothing", "/nowhere/*", "host/C0/esx-99"])
async def test_what_is_not_there_is_not_found(govc, path):
    assert (await govc("ls", path)).lines == []
