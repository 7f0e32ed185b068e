"""Updates name only what changed: whatever the order they come in, a VM is what was last told of each property."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrail_vsphere.model.ids import VmId
from contrail_vsphere.model.inventory import Nic, VirtualMachine
from contrail_vsphere.vsphere.stream import Row
from contrail_vsphere.vsphere.told import Reading, folded_vms

VALUES = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["web", "a%2fb", "a%252fb"]),
        "runtime.host": st.none() | st.sampled_from(["host-1", "host-2"]),
        "config.template": st.none() | st.booleans(),
        "config.hardware.memoryMB": st.none() | st.integers(0, 9),
        "config.hardware.device": st.none() | st.just((Nic(4000, "00:50:56:00:00:01"),)),
        "guest.ipAddress": st.none() | st.just("10.0.0.1"),
        "rootSnapshot": st.none() | st.just(("snapshot-1",)),
    },
)
NAMES = {"web": "web", "a%2fb": "a/b", "a%252fb": "a%2fb"}


@pytest.mark.parametrize("table", [dict, folded_vms])
@given(st.lists(st.tuples(st.sampled_from(["modify", "modify", "enter"]), VALUES), max_size=5))
def test_a_vm_is_what_was_last_told_of_it(table, rows):
    reading, told = Reading(table()), {}
    for kind, values in [("enter", {"name": "web"}), *rows]:
        reading.merge(Row(kind, "VirtualMachine", "vm-1", values))
        told = values if kind == "enter" else {**told, **values}
    assert reading.vms["vm-1"] == VirtualMachine(
        id=VmId("vm-1"),
        name=NAMES.get(told.get("name"), ""),
        host=told.get("runtime.host"),
        template=bool(told.get("config.template")),
        memory_mb=told.get("config.hardware.memoryMB") or 0,
        nics=told.get("config.hardware.device") or (),
        ip_address=told.get("guest.ipAddress") or "",
        snapshots=told.get("rootSnapshot") or (),
    )
