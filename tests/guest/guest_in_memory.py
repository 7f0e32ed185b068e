"""The guest's machine in memory, and a manager that answers it: what the tests of the guest's programs run on."""

import base64
import hashlib
import json
from collections import Counter

from contrail_vsphere.contrailvm.bootstrap.host_configuration import HostConfiguration, RoleNic
from contrail_vsphere.wire.ovf.environment import EthernetAdapter, render_environment
from contrailvm_guest.effects import (
    CertificateSpent,
    CreateRequest,
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
from contrailvm_guest.firstboot import AGENT_CONF, BIOS_UUID, boot

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
        self.ca = self.server_ca = pem(CA_DER)
        self.requests = []
        self.renewals = []
        self.keys = 0

    def answer(self, machine, effect):
        if self.away:
            self.away -= 1
            raise Unreachable("manager cannot be reached")
        if isinstance(effect, FetchAuthority):
            return Reply(200, self.ca)
        if self.server_ca not in effect.authority:
            raise Untrusted("TLS failed")
        if effect.url.endswith("/v1/bootstrap"):
            return self.enrol(json.loads(effect.body))
        certificate = machine.files[effect.certificate_path].decode()
        key = machine.files[effect.key_path].decode()
        if key != certificate_key(certificate):
            raise Untrusted("the stored certificates cannot be used: SSLError")
        if key in self.revoked or key not in self.certified:
            return Reply(403, b'{"error": "revoked"}')
        if effect.url.endswith("/v1/renewal"):
            return self.certify_another(json.loads(effect.body))
        self.revoked.update(self.certified[: self.certified.index(key)])
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

    def certify_another(self, request):
        """A renewal: the key before is good until the new one is used."""
        key = request["csr"].removeprefix("csr for ")
        self.renewals.append(key)
        if key not in self.certified:
            self.certified.append(key)
        answer = {"certificate": pem(key.encode()).decode(), "ca": self.ca.decode()}
        return Reply(200, json.dumps({**answer, "authority": self.configuration.authority}).encode())

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
        self.spent = {}
        """By certificate."""

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
            case CertificateSpent(path):
                return self.spent.get(self.files.get(path), 0.1)
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


def run(machine):
    return drive(boot(), machine.perform)


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
