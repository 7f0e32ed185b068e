"""A saved inventory comes back as it was, ids, relations and agencies included; others are refused or named in part."""

import asyncio
import json
import os
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from types import SimpleNamespace
from xml.sax.saxutils import escape

import pytest
from pyVmomi import eam, vim

from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.eam.agency import Agency
from contrail_vsphere.simulator.inventory_file import InventoryFileError, document
from contrail_vsphere.simulator.scenario import plain
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity
from contrail_vsphere.wire.soap.encode import encode_property
from contrail_vsphere.wire.soap.metadata import VERSIONS, VIM, property_type

GOVC = os.environ.get("GOVC_BIN") or shutil.which("govc") or next(iter(Path(".tools/bin").glob("govc")), None)


async def furnish(vcenter, run):
    """A bit of everything: a port group with connected ports, a template, a pool, an extension, an agency."""
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(name="blue", type="earlyBinding", numPorts=4)
    group = await run(vcenter.inventory["dvs0"], "CreateDVPortgroup_Task", spec=spec)
    port = vim.dvs.PortConnection(switchUuid=group.dvs.uuid, portgroupKey=group.moid)
    backing = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port)
    card = vim.vm.device.VirtualDeviceSpec(
        operation="add", device=vim.vm.device.VirtualVmxnet3(key=-1, backing=backing)
    )
    await run(vcenter.inventory["vm-0000"], "ReconfigVM_Task", spec=vim.vm.ConfigSpec(deviceChange=[card]))
    await run(vcenter.inventory["vm-0001"], "PowerOffVM_Task")
    await run(vcenter.inventory["vm-0001"], "MarkAsTemplate")
    limits = vim.ResourceAllocationInfo(reservation=100)
    pools = vim.ResourceConfigSpec(cpuAllocation=limits, memoryAllocation=vim.ResourceAllocationInfo())
    await run(vcenter.inventory["C0"].root_pool, "CreateResourcePool", name="tenants", spec=pools)
    label = vim.Description(label="x", summary="x")
    extension = vim.Extension(
        key="org.example", version="1", description=label, lastHeartbeatTime=vcenter.world.clock.now()
    )
    await run(next(item for item in vcenter.world.objects.values() if item.wsdl == "ExtensionManager"),
              "RegisterExtension", extension=extension)  # fmt: skip
    scope = eam.Agency.ComputeResourceScope(computeResource=[vcenter.inventory["C0"].ref])
    entry = eam.Agent.ConfigInfo(ovfPackageUrl="https://127.0.0.1:1/nothing.ovf")
    config = eam.Agency.ConfigInfo(agencyName="guards", agentName="guard", agentConfig=[entry], scope=scope)
    call = SimpleNamespace(user="org.example", extension=True)
    vcenter.eam.create(call, config, goal="enabled")
    await vcenter.eam.idle()


EAM_STATE = ("config", "goal", "agents", "issues", "phase", "vm")


def whole(vcenter):
    """Inventory, agencies and EsxAgents as plain data."""
    own = [item for item in vcenter.world.objects.values() if item.namespace == "urn:eam" and hasattr(item, "issues")]
    found = {item.moid: {name: plain(getattr(item, name, None)) for name in EAM_STATE} for item in own}
    return found | vcenter.scenario.snapshot()


def at_rest(value):
    """Without tasks, which are not kept."""
    if isinstance(value, dict):
        return {name: at_rest(item) for name, item in value.items() if name != "recent_tasks"}
    return [at_rest(item) for item in value] if isinstance(value, list) else value


async def test_a_saved_inventory_comes_back_as_it_was(lab, run, make_simulator, tmp_path):
    await furnish(lab, run)
    path = tmp_path / "lab.json"
    lab.scenario.save(path)
    assert path.stat().st_mode & 0o077 == 0
    before = at_rest(whole(lab))
    async with make_simulator(load=path) as again:
        assert at_rest(whole(again)) == before
        (agency,) = again.world.of_type(Agency)
        assert (agency.name, len(agency.agents)) == ("guards", 3)
        assert {issue.type for agent in agency.agents for issue in agent.issues}
        assert "org.example" in {item.key for item in again.world.get("ExtensionManager").extension_list()}
        used = set(again.world.objects)
        made = await again.scenario.create_vm("one-more", power_on=False)
        assert made.moid not in used
        macs = [nic.mac for vm in again.scenario.vms() for nic in vm.nics]
        assert len(macs) == len(set(macs))
        await again.scenario.power_off("vm-0000")
        await again.scenario.move_vm("vm-0000", "esx-01")
        (port,) = again.inventory["dvs0"].ports.used_in([again.inventory["blue"]])
        assert port.proxy_host is again.inventory["esx-01"]
        assert not again.world.defects


async def test_every_kind_of_object_is_kept_or_belongs_to_the_service(lab, run):
    await furnish(lab, run)
    kept = set(document(lab)["objects"])
    forgotten = {
        entity.wsdl for entity in lab.world.objects.values()
        if isinstance(entity, ManagedEntity) or entity.namespace == "urn:eam" if entity.moid not in kept
    }  # fmt: skip
    assert forgotten <= {"EsxAgentManager"}


async def test_a_running_simulator_loads_and_refuses_what_does_not_fit(lab, tmp_path):
    good, path = tmp_path / "good.json", tmp_path / "bad.json"
    lab.scenario.save(good)
    url = lab.ready["url"]
    await lab.scenario.create_vm("later")
    await lab.scenario.load(str(good))
    assert "later" not in lab.inventory
    assert lab.ready["url"] == url
    saved = json.loads(good.read_text())
    host = next(moid for moid, item in saved["objects"].items() if moid.startswith("host-"))
    for text, message in [
        ("{", "is not JSON"),
        ("{}", "is not a saved inventory"),
        (json.dumps(saved | {"version": 99}), "has version 99"),
        (json.dumps(saved).replace("vcenter.host_system.HostSystem", "vcenter.host_system.Nothing"), "does not fit"),
        (json.dumps(saved).replace("vcenter.host_system.HostSystem", "core.clock.Clock"), "does not fit"),
        (json.dumps(saved).replace('"uuid"', '"colour"'), "does not fit"),
        (json.dumps(saved | {"objects": {k: v for k, v in saved["objects"].items() if k != host}}), host),
    ]:
        path.write_text(text)
        with pytest.raises(InventoryFileError, match=message):
            await lab.scenario.load(str(path))
        assert "esx-00" in lab.inventory
    with pytest.raises(InventoryFileError, match="cannot be read"):
        await lab.scenario.load(str(tmp_path / "absent.json"))


# -- directories of govc ------------------------------------------------------------------------------------------


def write_as_go_does(entity, path):
    """``govc object.save``: no namespace of vSphere, and Go's own name for the schema instance."""
    parts = []
    for name, project in type(entity).properties.items():
        value = project(entity)
        if "." in name or value is None:
            continue
        text = encode_property(property_type(entity.wsdl, name), value, version=VERSIONS[VIM].newest)
        text = text.replace("xsi:type", "_XMLSchema-instance:type")
        parts.append(f"<propSet><name>{escape(name)}</name>{text}</propSet>")
    space = 'xmlns:_XMLSchema-instance="http://www.w3.org/2001/XMLSchema-instance"'
    path.write_text(
        f'<ObjectContent {space}><obj type="{entity.wsdl}">{entity.moid}</obj>{"".join(parts)}</ObjectContent>'
    )


def write_all(vcenter, directory):
    directory.mkdir()
    for number, entity in enumerate(vcenter.world.of_type(Entity)):
        if isinstance(entity, ManagedEntity):
            write_as_go_does(entity, directory / f"{number:04}-{entity.wsdl}-{entity.moid}.xml")


UNORDERED = ("hosts", "vms", "children", "portgroups")
ORDERED = ("name", "parent", "datastores", "networks", "host", "resource_pool", "power_state", "template", "disks")
SINGLE = ("connection_state", "child_type", "uuid", "instance_uuid", "owner", "status", "extra_config", "setting")


def shape(vcenter):
    """State that a directory of govc carries."""
    found = {}
    for moid, state in vcenter.scenario.snapshot().items():
        found[moid] = {name: state.get(name) for name in (*ORDERED, *SINGLE)}
        found[moid] |= {name: sorted(state.get(name, ())) for name in UNORDERED}
    return found


async def test_a_directory_of_govc_is_loaded(lab, run, make_simulator, tmp_path):
    await furnish(lab, run)
    write_all(lab, tmp_path / "saved")
    strange = '<ObjectContent><obj type="VirtualApp">resgroup-v9</obj></ObjectContent>'
    (tmp_path / "saved" / "9999-VirtualApp-resgroup-v9.xml").write_text(strange)
    async with make_simulator(load=tmp_path / "saved", timing=Timing.instant()) as again:
        assert shape(again) == shape(lab)
        assert again.not_understood == ("VirtualApp: not understood (1 objects)",)
        nic, old = again.inventory["vm-0000"].nics[-1], lab.inventory["vm-0000"].nics[-1]
        assert (nic.port_key, nic.mac, nic.connection_cookie) == (old.port_key, old.mac, old.connection_cookie)
        await again.scenario.move_vm("vm-0000", "esx-02")
        await again.scenario.create_vm("one-more")
        assert not again.world.defects


@pytest.mark.process
@pytest.mark.skipif(GOVC is None, reason="there is no govc")
async def test_what_govc_itself_saves_is_loaded(lab, make_simulator, tmp_path):
    environment = {
        "GOVC_URL": lab.ready["url"],
        "GOVC_USERNAME": lab.ready["username"],
        "GOVC_PASSWORD": lab.ready["password"],
        "GOVC_TLS_CA_CERTS": lab.ready["ca_file"],
        "GOVC_PERSIST_SESSION": "false",
        "HOME": str(tmp_path),
    }
    command = (str(GOVC), "object.save", "-d", str(tmp_path / "saved"))
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=DEVNULL, stderr=PIPE)
    _, complaint = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, complaint.decode()
    async with make_simulator(load=tmp_path / "saved") as again:
        assert shape(again) == shape(lab)


async def test_what_cannot_be_placed_is_named(lab, make_simulator, tmp_path):
    write_all(lab, tmp_path / "saved")
    for path in (tmp_path / "saved").glob("*-HostSystem-*"):
        path.unlink()
    async with make_simulator(load=tmp_path / "saved") as again:
        assert not again.scenario.hosts()
        assert len([line for line in again.not_understood if line.startswith("VirtualMachine")]) == 4
        assert "its host" in again.not_understood[0]


@pytest.mark.parametrize("text", ["<a/>", "<ObjectContent", '<!DOCTYPE a [<!ENTITY b "c">]><ObjectContent/>', ""])
async def test_files_that_are_no_objects_are_refused(make_simulator, tmp_path, text):
    (tmp_path / "0000-x.xml").write_text(text)
    with pytest.raises(InventoryFileError, match=r"0000-x\.xml cannot be read"):
        await make_simulator(load=tmp_path).start()
