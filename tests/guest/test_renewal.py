"""The guest renews its certificate: when it is due, and whatever becomes of the run in between."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from guest_in_memory import Killed, Machine, Manager, certificate_key, configuration, dying, pem, run

from contrail_vsphere.pki.ca import CertificateAuthority
from contrailvm_guest.effects import CertificateSpent, Unreachable, drive
from contrailvm_guest.firstboot import (
    AUTHORITY,
    CERTIFICATE,
    ENROLMENT,
    KEY,
    NEXT_KEY,
    RENEWED,
    BootFailed,
    Policy,
    Refused,
)
from contrailvm_guest.machine import Machine as RealMachine
from contrailvm_guest.renewal import renew

NEXT_CA = b"the manager's next CA"


@pytest.fixture
def manager():
    return Manager()


@pytest.fixture
def machine(manager):
    machine = Machine(manager)
    run(machine)
    return machine


def due(machine):
    machine.spent[machine.files[CERTIFICATE]] = 0.7


def renewed(machine):
    return drive(renew(), machine.perform)


def assert_whole(machine, manager):
    """One key with its certificate, private, which the manager takes; nothing half done lies about."""
    assert certificate_key(machine.files[CERTIFICATE].decode()) == machine.files[KEY].decode()
    assert machine.files[KEY].decode() in manager.certified
    assert machine.files[KEY].decode() not in manager.revoked
    assert machine.modes[KEY] == machine.modes[CERTIFICATE] == machine.modes[ENROLMENT] == 0o600
    assert not {NEXT_KEY, RENEWED} & machine.files.keys()


def test_before_two_thirds_of_its_life_it_stays(machine, manager):
    machine.spent[machine.files[CERTIFICATE]] = 0.66
    assert renewed(machine) == "not due"
    assert not manager.renewals


def test_from_then_on_it_is_renewed_with_a_new_key_and_the_one_before_is_void(machine, manager):
    services, before = list(machine.services), machine.files[KEY].decode()
    due(machine)
    assert renewed(machine) == "renewed"
    assert_whole(machine, manager)
    assert machine.files[KEY].decode() != before and before in manager.revoked
    assert machine.services == services, "forwarding is not touched"
    assert renewed(machine) == "not due"
    assert run(machine).source == "manager"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_death_between_any_two_steps_is_made_good_by_the_next_run(after):
    for at in range(1, 100):
        manager = Manager()
        machine = Machine(manager)
        run(machine)
        due(machine)
        try:
            drive(renew(), dying(machine, at, after=after))
            break
        except Killed:
            pass
        if at % 2:
            assert run(machine).source == "manager", "a boot comes first"
        renewed(machine)
        assert_whole(machine, manager)
        assert len(set(manager.renewals)) == 1, "the same key, however often it is asked for"
    assert at > 15


def test_a_revoked_one_is_not_renewed_and_nothing_is_touched(machine, manager):
    files = dict(machine.files)
    due(machine)
    manager.revoked.add(machine.files[KEY].decode())
    with pytest.raises(Refused, match="revoked"):
        renewed(machine)
    assert machine.files == files and not manager.renewals


def test_a_manager_that_is_away_is_asked_another_day(machine, manager):
    files = dict(machine.files)
    due(machine)
    manager.away = 1000
    with pytest.raises(Unreachable):
        drive(renew(Policy()), machine.perform)
    assert machine.files == files
    manager.away = 0
    assert renewed(machine) == "renewed"


def test_a_vm_that_is_not_enrolled_or_the_copy_of_one_renews_nothing(manager):
    fresh = Machine(manager)
    with pytest.raises(BootFailed, match="not enrolled"):
        renewed(fresh)
    run(fresh)
    copy = Machine(manager, bios="4221-cc")
    copy.files |= {path: content for path, content in fresh.files.items() if path not in copy.files}
    with pytest.raises(BootFailed, match="not enrolled"):
        renewed(copy)


def test_after_a_rotation_of_the_ca_it_is_renewed_at_once_and_follows_the_ca(machine, manager):
    manager.ca = manager.ca + pem(NEXT_CA)
    manager.configuration = configuration(authority=hashlib.sha256(NEXT_CA).hexdigest())
    assert renewed(machine) == "renewed"
    assert renewed(machine) == "not due"
    # The CA of before is retired; the OVF environment still names it, for it is of the power-on.
    manager.ca = manager.server_ca = pem(NEXT_CA)
    assert run(machine).source == "manager"
    due(machine)
    assert renewed(machine) == "renewed"
    assert machine.files[AUTHORITY] == pem(NEXT_CA), "the one of before is not trusted any more"
    machine.properties["contrailvm.manager_ca_sha256"] = hashlib.sha256(NEXT_CA).hexdigest()
    assert run(machine).source == "manager"
    assert json.loads(machine.files[ENROLMENT])["bios_uuid"] == "4221-aa"


def test_openssl_tells_the_real_machine_how_much_is_spent(tmp_path):
    now = datetime.now(UTC)
    made = CertificateAuthority.create(tmp_path / "ca", name="test CA", now=lambda: now - timedelta(days=9))
    (tmp_path / "client.pem").write_bytes(made.issue_client("guest", lifetime=timedelta(days=10)).cert_pem)
    machine = RealMachine(str(tmp_path))
    # From a day before it was issued, which allows for clocks that are behind.
    assert machine.perform(CertificateSpent("/client.pem")) == pytest.approx(10 / 11, abs=0.001)
    assert machine.perform(CertificateSpent("/none.pem")) is None
