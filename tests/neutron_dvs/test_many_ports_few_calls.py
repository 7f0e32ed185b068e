"""What many DVPorts cost vCenter: a read for a thousand, a task for 64, whatever becomes of single ones."""

from __future__ import annotations

import dataclasses
import math

from neutron_stand import NeutronStand

from contrail_vsphere.ml2.tables import journal
from contrail_vsphere.ml2.worker.apply import Applier, Outcome
from contrail_vsphere.ml2.worker.plan import EditPort
from contrail_vsphere.model.ids import DvsId
from contrail_vsphere.model.traffic_filter import CLOSED, PASS_ARP, FilteredGroupSpec, FilteredPortEdit
from contrail_vsphere.simulator.vcenter.dvs_settings import rules
from contrail_vsphere.vsphere.filtered_ports import PORTS_PER_TASK, FilteredPorts

COUNT = 2 * PORTS_PER_TASK + 2
READ, WRITE = "FetchDVPorts", "ReconfigureDVPort_Task"


async def many(stand):
    """A port group with so many ports, and an edit for each of them."""
    ports, dvs = FilteredPorts(stand.client), DvsId(stand.dvs.moid)
    spec = FilteredGroupSpec("os-many", "ours/many/segment", "made for a test", vlan=7, fixed_ports=COUNT)
    await ports.create(dvs, [spec])
    keys = stand.dvs.ports.of_group(next(group for group in stand.dvs.portgroups if group.name == spec.name))
    found = await ports.of_keys(dvs, keys)
    edits = [
        EditPort(
            dvs, f"port-{port.key}", FilteredPortEdit(port.key, port.version, f"port-{port.key}",
            rules=(PASS_ARP, *CLOSED)), ("filter rules differ",), wired=True,
        )
        for port in found
    ]  # fmt: skip
    return ports, edits


async def written(stand, ports, edits):
    outcome, before = Outcome(), stand.calls()
    await Applier(ports, allowed=lambda: None).ports(edits, outcome)
    after = stand.calls()
    return outcome, {name: after.get(name, 0) - before.get(name, 0) for name in (READ, WRITE)}


async def test_a_rule_of_many_ports_is_a_task_for_64_and_no_read(tmp_path):
    async with NeutronStand(tmp_path, None, vms=1, connected=False) as stand:
        ports, edits = await many(stand)
        assert stand.calls()[READ] == 1
        outcome, spent = await written(stand, ports, edits)
        assert spent == {READ: 0, WRITE: math.ceil(COUNT / PORTS_PER_TASK)} == {READ: 0, WRITE: 3}
        assert outcome.edited == COUNT
        assert all(len(rules(stand.dvs.ports.get(each.edit.key).override)) == 3 for each in edits)


async def test_a_port_that_changed_meanwhile_is_left_out_of_its_task(tmp_path):
    async with NeutronStand(tmp_path, None, vms=1, connected=False) as stand:
        ports, edits = await many(stand)
        stale = dataclasses.replace(edits[70], edit=dataclasses.replace(edits[70].edit, version="999"))
        outcome, spent = await written(stand, ports, [*edits[:70], stale, *edits[71:]])
        assert set(outcome.failed) == {(journal.PORT, stale.port_id)}
        assert outcome.edited == COUNT - 1
        assert spent == {READ: 1, WRITE: 4}
        assert stand.dvs.ports.get(stale.edit.key).override is None
