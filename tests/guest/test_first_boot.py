"""The first-boot program against an in-memory machine: every path, and a death between every two steps."""

import json

import pytest
from guest_in_memory import CA_DER, Killed, Machine, Manager, certificate_key, configuration, dying, pem, run

from contrail_vsphere.contrailvm.bootstrap.host_configuration import RoleNic
from contrailvm_guest.effects import (
    EffectFailed,
    WriteFile,
    drive,
)
from contrailvm_guest.firstboot import (
    AGENT_CONF,
    APPLIED,
    AUTHORITY,
    BIOS_UUID,
    CERTIFICATE,
    CONFIGURATION,
    ENROLMENT,
    KEY,
    BootFailed,
    Refused,
    boot,
)
from contrailvm_guest.ovf_environment import BadEnvironment


@pytest.fixture
def manager():
    return Manager()


@pytest.fixture
def machine(manager):
    return Machine(manager)


def assert_serves(machine):
    unit = "contrail-vrouter-agent"
    assert machine.running[unit] == machine.files[AGENT_CONF], "the agent runs with the file as it is now"
    assert machine.modes[KEY] == machine.modes[ENROLMENT] == 0o600
    assert certificate_key(machine.files[CERTIFICATE].decode()) == machine.files[KEY].decode()


def test_first_boot_makes_the_vm_a_vrouter(machine, manager):
    outcome = run(machine)
    assert outcome.source == "enrolment"
    assert outcome.roles == {"management": "ens1", "underlay": "ens2", "overlay": "ens3"}
    assert_serves(machine)
    assert machine.offloads == {("ens2", "rx"), ("ens2", "tx"), ("ens3", "lro")}
    sent = manager.requests[0]["identity"]
    assert sent == {
        "instance_uuid": "",
        "bios_uuid": "4221-aa",
        "vm_id": "vm-17",
        "agency_id": "agency-7",
        "macs": [f"00:50:56:80:00:0{n}" for n in (1, 2, 3)],
    }
    conf = machine.files[AGENT_CONF].decode()
    assert "[HYPERVISOR]\ntype=vmware\nvmware_physical_interface=ens3\nvmware_mode=vcenter\n" in conf
    assert "[CONTROL-NODE]\nservers=10.0.0.11:5269 10.0.0.12:5269\n" in conf
    assert "physical_interface=ens2\nip=10.0.0.5/24\ngateway=10.0.0.1\n" in conf


def test_the_token_is_written_nowhere(machine):
    run(machine)
    assert not any(b"canary" in content for content in machine.files.values())
    assert not any("canary" in line for line in machine.log)


def test_later_boots_need_no_token_and_restart_nothing(machine, manager):
    run(machine)
    before = dict(machine.files)
    manager.renew("another")
    machine.properties["contrailvm.bootstrap_token"] = ""
    machine.services.clear()
    assert run(machine).source == "manager"
    assert machine.files == before
    assert machine.services == [("start", "contrail-vrouter-agent")]
    assert manager.keys == 1


def test_a_changed_configuration_restarts_the_agent(machine, manager):
    run(machine)
    manager.configuration = configuration(control_nodes=("10.9.9.9:5269",))
    machine.services.clear()
    run(machine)
    assert machine.services == [("restart", "contrail-vrouter-agent")]
    assert b"10.9.9.9" in machine.running["contrail-vrouter-agent"]


def test_an_enrolled_guest_forwards_while_its_manager_is_away(machine, manager):
    run(machine)
    machine.power_cycle()
    manager.away = 1000
    assert run(machine).source == "stored"
    assert_serves(machine)
    assert machine.slept < 60


def test_a_new_guest_waits_for_its_manager(machine, manager):
    manager.away = 50
    assert run(machine).source == "enrolment"
    assert machine.slept > 600


def test_tools_that_come_late_are_waited_for(machine):
    machine.tools_after = 5
    run(machine)
    assert_serves(machine)


def test_no_ovf_environment_is_said_plainly(machine):
    machine.tools_after = 10_000
    with pytest.raises(BootFailed, match="transport"):
        run(machine)


def test_a_refused_token_is_told_and_starts_nothing(machine, manager):
    manager.redeemed_by = "the thief's key"
    with pytest.raises(Refused, match="the token is used"):
        run(machine)
    assert machine.services == []
    assert CERTIFICATE not in machine.files


def test_a_server_with_another_ca_gets_nothing_from_us(machine, manager):
    manager.ca = pem(b"another CA")
    with pytest.raises(Refused, match="not our manager"):
        run(machine)
    assert manager.requests == []
    assert AUTHORITY not in machine.files


def test_out_of_a_bundle_only_the_known_ca_is_trusted(machine, manager):
    manager.ca = pem(b"another CA") + pem(CA_DER)
    run(machine)
    assert machine.files[AUTHORITY].strip() == pem(CA_DER).strip()


def test_a_revoked_guest_starts_nothing_without_a_new_token(machine, manager):
    run(machine)
    machine.power_cycle()
    manager.revoked.add("key 1")
    with pytest.raises(Refused, match="no new token"):
        run(machine)
    assert machine.running == {}


def test_a_revoked_guest_enrols_again_with_a_new_token_and_a_new_key(machine, manager):
    run(machine)
    manager.revoked.add("key 1")
    manager.renew("a new token of the manager")
    machine.properties["contrailvm.bootstrap_token"] = "a new token of the manager"
    assert run(machine).source == "enrolment"
    assert_serves(machine)
    assert manager.certified == ["key 1", "key 2"]


def test_one_whose_certificate_has_expired_takes_a_new_token_though_its_manager_seems_away(machine, manager):
    run(machine)
    machine.power_cycle()
    machine.spent[machine.files[CERTIFICATE]] = 1.1
    manager.away = 100
    assert run(machine).source == "stored", "there is no new token, and forwarding must go on"
    manager.away = 0
    manager.renew("a new token of the manager")
    machine.properties["contrailvm.bootstrap_token"] = "a new token of the manager"
    machine.power_cycle()
    assert run(machine).source == "enrolment"
    assert_serves(machine)
    assert manager.certified == ["key 1", "key 2"]


def test_a_clone_does_not_use_the_certificate_it_was_copied_with(machine, manager):
    run(machine)
    clone = Machine(manager, bios="4221-bb")
    clone.files |= {path: content for path, content in machine.files.items() if path != BIOS_UUID}
    with pytest.raises(Refused):
        run(clone)
    assert KEY not in clone.files or clone.files[KEY] != machine.files[KEY]
    assert clone.services == []


def test_a_role_without_a_nic_names_what_was_seen(machine):
    machine.nics = machine.nics[:2]
    with pytest.raises(BootFailed, match=r"overlay.*overlay-trunk.*ens2"):
        run(machine)
    assert machine.services == []


def test_two_roles_never_share_a_nic(machine, manager):
    manager.configuration = configuration(nics=(RoleNic("management", unit=9), RoleNic("overlay", unit=9)))
    with pytest.raises(BootFailed, match="share"):
        run(machine)


def test_a_network_that_two_nics_have_is_no_answer(machine, manager):
    machine.networks = ("mgmt", "underlay-pg", "underlay-pg")
    with pytest.raises(BootFailed, match="no single NIC for role underlay"):
        run(machine)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("manager_url", "http://manager.example", "https"),
        ("manager_url", "https://manager.example/../x", "https"),
        ("manager_url", "", "https"),
        ("manager_ca_sha256", "abcd", "SHA-256"),
    ],
)
def test_wrong_properties_are_named(machine, name, value, reason):
    machine.properties[f"contrailvm.{name}"] = value
    with pytest.raises(BadEnvironment, match=reason):
        run(machine)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("story", ["first", "changed", "renewed"])
def test_a_death_between_any_two_steps_is_made_good_by_the_next_run(story, after):
    for at in range(1, 200):
        manager = Manager()
        machine = Machine(manager)
        if story != "first":
            run(machine)
            manager.configuration = configuration(control_nodes=("10.9.9.9:5269",))
        if story == "renewed":
            manager.revoked.add("key 1")
            manager.renew("a new token of the manager")
            machine.properties["contrailvm.bootstrap_token"] = manager.token
        try:
            drive(boot(), dying(machine, at, after=after))
            break
        except Killed:
            pass
        run(machine)
        assert_serves(machine)
        assert json.loads(machine.files[CONFIGURATION]) == manager.configuration.as_json()
        assert machine.files[APPLIED]
    assert at > 10


def test_a_disk_that_fails_is_told(machine):
    def perform(effect):
        if isinstance(effect, WriteFile) and effect.path == KEY:
            raise EffectFailed("cannot write: No space left on device")
        return machine.perform(effect)

    with pytest.raises(EffectFailed, match="No space left"):
        drive(boot(), perform)
