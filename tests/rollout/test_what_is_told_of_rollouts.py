"""What a person sees of an upgrade: before it, whom it would disturb; under way, whose turn it is; and afterwards."""

from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from contrail_vsphere.app.contrailvm_control import ContrailVmControl
from contrail_vsphere.cli.live import whole_view
from contrail_vsphere.cli.rollout_lines import rollout_lines
from contrail_vsphere.model.errors import DesiredStateError, InvalidState, NotFound

pytestmark = pytest.mark.looptime


def control(lab):
    return ContrailVmControl(
        SimpleNamespace(acting=lab.manager, leads=True),
        vcenter="lab",
        now=lab.vcenter.world.clock.now,
        reload_packages=lambda: None,
        certificates=SimpleNamespace(warnings=tuple),
        renew_extension=lambda: None,
        standby=lambda: None,
    )


def document(lab):
    return control(lab).status().model_dump(mode="json")


def plan(lab, action):
    documents = control(lab).plan().actions
    return [each for each in documents if each.action == action]


def places(rollout):
    return {host["name"]: host["place"] for host in rollout["hosts"]}


async def test_a_dry_run_counts_tenants_and_changes_nothing(scene):
    async with scene(hosts=3) as lab:
        for number in range(5):
            await lab.scenario.create_vm(f"tenant-{number}", host="esx-01")
        await lab.scenario.create_vm("asleep", host="esx-01", power_on=False)
        before = lab.vcenter.calls["Update"]
        told = " ".join(await lab.upgrade("1.1.0", dry_run=True, concurrency=2))
        assert "1.0.0 to 1.1.0" in told and "3 hosts (5 tenant VMs run there now)" in told
        assert "1 first, then 2 at a time" in told and "on a failure: rollback" in told
        assert lab.vcenter.calls["Update"] == before and lab.rollout() is None
        assert not lab.writes_planned()


async def test_the_plan_says_whom_a_turn_cuts_off_and_status_whose_turn_it_is(scene):
    async with scene(hosts=3, rollout='gate = 60\norder = ["esx-02"]\nwindows = ["00:00-00:01"]') as lab:
        for number in range(3):
            await lab.scenario.create_vm(f"tenant-{number}", host="esx-02")
        await lab.upgrade("1.1.0")
        update = plan(lab, "update agency")
        assert not update or update[0].disturbs.startswith("nobody: EAM makes the new ContrailVMs beside the old ones")
        await lab.until(lambda: len(lab.waiting()) == 3, seconds=600)
        (rollout,) = document(lab)["rollouts"]
        assert set(places(rollout).values()) == {"made"} and "maintenance windows" in rollout["held_back"]
        assert (rollout["version"], rollout["before"], rollout["by"]) == ("1.1.0", ["1.0.0"], "tester")
        assert rollout["hosts"][0]["name"] == "esx-02" and rollout["hosts"][0]["canary"]
        lab.apply(lab.text.replace("windows", "# windows"), version="1.1.0")
        lab.manager.operator.upgrades.rollback("dc1", by="tester")
        # The way back does not wait for a window, and has nobody to replace.
        await lab.until(lab.over, seconds=900)
        assert lab.all_on("1.0.0")
        assert document(lab)["rollouts"][0]["state"] == "done"


async def test_status_shows_turns_and_the_gate_and_in_the_end_nothing(scene):
    async with scene(hosts=3, rollout="gate = 60") as lab:
        await lab.upgrade("1.1.0")
        await lab.until(lambda: lab.rollout().turns, seconds=600)
        (rollout,) = document(lab)["rollouts"]
        assert places(rollout)["esx-00"] == "in turn" and rollout["hosts"][0]["since"]
        notes = {host["name"]: host["note"] for host in rollout["hosts"]}
        assert notes["esx-00"] == "1.1.0 does not forward there yet"
        assert notes["esx-01"] == "the canaries come first (esx-00)"
        lines = list(rollout_lines(rollout))
        assert lines[0] == "dc1: upgrade to 1.1.0: 0 of 3 hosts, running, asked for by tester"
        assert "  in turn: esx-00 (1.1.0 does not forward there yet)" in lines
        await lab.until(lambda: "of 60 s" in watched(document(lab)), seconds=300)
        shown = watched(document(lab))
        assert "dc1: upgrade to 1.1.0: 0 of 3 hosts" in shown and "in turn: esx-00 (it has forwarded" in shown
        assert shown.index("in turn") < shown.index("esx-02"), "above the table of hosts"
        await lab.until(lambda: lab.rollout().passed, seconds=900)
        assert places(document(lab)["rollouts"][0])["esx-00"] == "done"
        await lab.until(lab.over, seconds=3600)
        (rollout,) = document(lab)["rollouts"]
        assert (rollout["state"], rollout["done"], rollout["hosts"]) == ("done", 3, [])
        assert {unit["version"] for unit in document(lab)["deployments"][0]["units"]} == {"1.1.0"}


def watched(document):
    """What ``status --watch`` draws of it."""
    console = Console(width=140, file=StringIO())
    console.print(whole_view(document, height=30))
    return console.file.getvalue()


async def test_verbs_that_make_no_sense_are_refused(scene):
    async with scene(hosts=2) as lab:
        upgrades = lab.manager.operator.upgrades
        with pytest.raises(InvalidState, match="never upgraded"):
            upgrades.rollback("dc1", by="tester")
        with pytest.raises(DesiredStateError, match="no package"):
            await lab.upgrade("7.7.7")
        with pytest.raises(NotFound, match="dc9"):
            upgrades.pause("dc9", by="tester")
        assert await lab.upgrade("1.0.0") == ()
        assert upgrades.pause("dc1", by="tester") == upgrades.resume("dc1") == upgrades.approve("dc1") == ()
        await lab.upgrade("1.1.0")
        await lab.until(lab.over, seconds=3600)
        upgrades.rollback("dc1", by="tester")
        with pytest.raises(InvalidState, match="already"):
            upgrades.rollback("dc1", by="tester")
