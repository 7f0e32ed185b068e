"""The first-boot program against an in-memory machine: every path, and a death between every two steps."""

import base64
import hashlib
import json
from collections import Counter

import pytest

from contrail_vsphere.contrailvm.bootstrap.host_configuration import HostConfiguration, RoleNic
from contrail_vsphere.wire.ovf.environment import EthernetAdapter, render_environment
from contrailvm_guest.effects import (
    CreateRequest,
    EffectFailed,
    FetchAuthority,
    GenerateKey,
    Http,
    LinuxNic,
    ListNics,
    Log,
    ReadFile,
    ReadOvfEnvironment,
    RemoveFile,
    Reply,
    RunService,
    SetOffload,
    Sleep,
    Unreachable,
    Untrusted,
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

TOKEN = "cvt1.0123456789abcdef.secret-canary"
CA_DER = b"the manager's CA"


def pem(der):
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def configuration(**changes):
    values = {
        "host": "host-12",
        "host_name": "esx-00",
        "nics": (
            RoleNic("management", unit=7),
            RoleNic("underlay", network="underlay-pg"),
            RoleNic("overlay", mac="00:50:56:80:00:03"),
        ),
        "control_nodes": ("10.0.0.11:5269", "10.0.0.12:5269"),
        "vrouter_name": "esx-00.vrouter",
        "address": "10.0.0.5/24",
        "gateway": "10.0.0.1",
        **changes,
    }
    return HostConfiguration(**values)


class Manager:
    """Redeems its token once, or again for the same key, as the real one."""

    def __init__(self):
        self.token = TOKEN
        self.redeemed_by = ""
        self.certified = []
        self.revoked = set()
        self.configuration = configuration()
        self.away = 0
        self.ca = pem(CA_DER)
        self.requests = []
        self.keys = 0

    def answer(self, machine, effect):
        if self.away:
            self.away -= 1
            raise Unreachable("manager cannot be reached")
        if isinstance(effect, FetchAuthority):
            return Reply(200, self.ca)
        if effect.authority != pem(CA_DER):
            raise Untrusted("TLS failed")
        if effect.url.endswith("/v1/bootstrap"):
            return self.enrol(json.loads(effect.body))
        certificate = machine.files[effect.certificate_path].decode()
        key = machine.files[effect.key_path].decode()
        assert key in certificate_key(certificate)
        if key in self.revoked or key not in self.certified:
            return Reply(403, b'{"error": "revoked"}')
        return Reply(200, json.dumps(self.configuration.as_json()).encode())

    def enrol(self, request):
        self.requests.append(request)
        key = request["csr"].removeprefix("csr for ")
        if request["token"] != self.token or self.redeemed_by not in {"", key}:
            return Reply(403, b'{"error": "the token is used"}')
        self.redeemed_by = key
        self.certified.append(key)
        return Reply(
            200,
            json.dumps(
                {
                    "version": 1,
                    "certificate": pem(key.encode()).decode(),
                    "configuration": self.configuration.as_json(),
                }
            ).encode(),
        )

    def renew(self, token):
        self.token, self.redeemed_by = token, ""


def certificate_key(certificate):
    return base64.b64decode("".join(certificate.splitlines()[1:-1])).decode()


class Machine:
    def __init__(self, manager, *, token=TOKEN, bios="4221-aa"):
        self.manager = manager
        self.files = {BIOS_UUID: bios.encode()}
        self.modes = {}
        self.nics = tuple(LinuxNic(f"ens{n}", f"00:50:56:80:00:0{n}") for n in (1, 2, 3))
        self.networks = ("mgmt", "underlay-pg", "overlay-trunk")
        self.properties = {
            "contrailvm.manager_url": "https://manager.example:8444",
            "contrailvm.manager_ca_sha256": hashlib.sha256(CA_DER).hexdigest().upper(),
            "contrailvm.bootstrap_token": token,
            "contrailvm.agency_id": "agency-7",
        }
        self.tools_after = 0
        self.services = []
        self.running = {}
        self.slept = 0.0
        self.log = []
        self.offloads = set()
        self.effects = Counter()

    def environment(self):
        adapters = [
            EthernetAdapter(f"00:50:56:80:00:0{n}", network, 6 + n) for n, network in enumerate(self.networks, 1)
        ]
        return render_environment(properties=self.properties, adapters=adapters, vm_id="vm-17").encode()

    def power_cycle(self):
        self.running.clear()

    def perform(self, effect):
        self.effects[type(effect).__name__] += 1
        match effect:
            case ReadOvfEnvironment():
                if self.tools_after:
                    self.tools_after -= 1
                    return None
                return self.environment()
            case ReadFile(path):
                return self.files.get(path)
            case WriteFile(path, content, mode):
                self.files[path], self.modes[path] = content, mode
            case RemoveFile(path):
                self.files.pop(path, None)
            case GenerateKey():
                self.manager.keys += 1
                return f"key {self.manager.keys}".encode()
            case CreateRequest(path, _name):
                return b"csr for " + self.files[path]
            case Http() | FetchAuthority():
                return self.manager.answer(self, effect)
            case ListNics():
                return self.nics
            case SetOffload(interface, feature):
                self.offloads.add((interface, feature))
            case RunService(verb, unit):
                self.services.append((verb, unit))
                if verb == "restart" or unit not in self.running:
                    self.running[unit] = self.files[AGENT_CONF]
            case Sleep(seconds):
                self.slept += seconds
            case Log(text):
                self.log.append(text)
        return None


@pytest.fixture
def manager():
    return Manager()


@pytest.fixture
def machine(manager):
    return Machine(manager)


def run(machine):
    return drive(boot(), machine.perform)


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


class Killed(Exception):
    pass


def dying(machine, at, *, after):
    """Performs effects and dies at the n-th one, before or after doing it."""
    count = 0

    def perform(effect):
        nonlocal count
        count += 1
        if count == at and not after:
            raise Killed
        answer = machine.perform(effect)
        if count == at:
            raise Killed
        return answer

    return perform


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
