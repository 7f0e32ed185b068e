"""A port group whose name is taken: by itself, where vCenter made it and could not say so, or by somebody else's."""

from __future__ import annotations

import pytest
from neutron_stand import NeutronStand

from contrail_vsphere.ml2.worker.apply import Applier, Outcome
from contrail_vsphere.ml2.worker.plan import CreateGroup, Mark
from contrail_vsphere.model.errors import Unreachable
from contrail_vsphere.model.ids import DvsId
from contrail_vsphere.model.traffic_filter import FilteredGroupSpec
from contrail_vsphere.vsphere.filtered_ports import FilteredPorts

NAME = "os-network"


def creation(stand, cloud, name=NAME):
    mark = Mark(cloud, name, "segment")
    return CreateGroup(DvsId(stand.dvs.moid), FilteredGroupSpec(name, str(mark), "made for a test", vlan=7), mark)


async def made(stand, *actions):
    outcome = Outcome()
    await Applier(FilteredPorts(stand.client), allowed=lambda: None).groups(actions, outcome)
    return outcome


def names(stand):
    return sorted(group.name for group in stand.dvs.portgroups if group.name.startswith("os-"))


async def test_one_that_was_made_without_an_answer_is_not_made_again(tmp_path):
    async with NeutronStand(tmp_path, None, vms=1, connected=False) as stand:
        stand.vcenter.scenario.add_fault(method="AddDVPortgroup_Task", drop_reply=True, times=1)
        first = await made(stand, creation(stand, "ours"))
        assert [type(error) for error in first.failed.values()] == [Unreachable]
        again = await made(stand, creation(stand, "ours"), creation(stand, "ours", "os-next"))
        assert again.failed == {}
        assert names(stand) == [NAME, "os-next"]


@pytest.mark.parametrize("cloud", ["another", ""])
async def test_one_of_somebody_elses_keeps_its_name(tmp_path, cloud):
    async with NeutronStand(tmp_path, None, vms=1, connected=False) as stand:
        await made(stand, creation(stand, cloud))
        assert (await made(stand, creation(stand, "ours"))).created == 1
        assert names(stand) == [NAME, f"{NAME}~2"]
