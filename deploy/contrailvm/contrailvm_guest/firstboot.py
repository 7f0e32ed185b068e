"""What happens at boot, as a program of effects (``effects``): enrol, get the configuration, find the NICs, start.

Every step is safe to repeat and finds what an earlier run left, so the program may die between any two of them: the key
is kept before it is certified, the record of the enrolment is written last, and the digest of the agent's configuration
is noted after the services were restarted with it. A guest that is enrolled needs no token, and when its manager is
away it starts on the configuration it has: forwarding must not depend on management. A guest whose certificate is
refused starts nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Literal

from contrailvm_guest.agent_conf import render_agent_conf
from contrailvm_guest.configuration import (
    BadConfiguration,
    Configuration,
    RolesNotFound,
    find_roles,
    parse_configuration,
)
from contrailvm_guest.effects import (
    CertificateSpent,
    CreateRequest,
    EffectFailed,
    FetchAuthority,
    GenerateKey,
    Http,
    ListNics,
    Log,
    Program,
    ReadFile,
    ReadOvfEnvironment,
    RemoveFile,
    Reply,
    Retry,
    RunService,
    SetOffload,
    Sleep,
    Untrusted,
    WriteFile,
    ask,
)
from contrailvm_guest.enrolment import Enrolment, Granted, Renewed, Settings, authority_with, refusal, render_request
from contrailvm_guest.ovf_environment import OvfEnvironment, parse_environment
from contrailvm_guest.plugin_conf import plugin_files

STATE = "/var/lib/contrailvm"
KEY = f"{STATE}/client.key"
CERTIFICATE = f"{STATE}/client.pem"
AUTHORITY = f"{STATE}/ca.pem"
ENROLMENT = f"{STATE}/enrolment.json"
CONFIGURATION = f"{STATE}/configuration.json"
NEXT_KEY = f"{STATE}/next.key"
RENEWED = f"{STATE}/renewed.json"
"""A renewal that was granted; from when it is written until all files are those it gave."""
APPLIED = f"{STATE}/applied"
AGENT_CONF = "/etc/contrail/contrail-vrouter-agent.conf"
BIOS_UUID = "/sys/class/dmi/id/product_uuid"

SECRET = 0o600

_TOOLS = Retry(attempts=30, first=1, factor=1.5, most=10)
_ENROL = Retry(attempts=200, first=1, factor=2, most=30)
_REFRESH = Retry(attempts=4, first=1, factor=2, most=10)
_NICS = Retry(attempts=8, first=1, factor=2, most=10)


class BootFailed(Exception):  # noqa: N818
    """The boot cannot make the VM a vRouter; the message is one line that says why, free of secrets."""


class Refused(BootFailed):
    """The manager does not want this guest: token or certificate refused, or the manager is not the one we know."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient each step is."""

    tools: Retry = _TOOLS
    enrol: Retry = _ENROL
    """Not enrolled yet: nothing to do but wait for the manager."""
    refresh: Retry = _REFRESH
    """Enrolled: ask a few times, then start on what is stored."""
    nics: Retry = _NICS


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the boot ended: the vRouter agent runs."""

    configuration: Configuration
    roles: dict[str, str] = field(default_factory=dict)
    """Role to interface name."""
    source: Literal["enrolment", "manager", "stored"] = "manager"
    """Where the configuration came from; ``stored``: the manager did not answer."""


@dataclass(frozen=True, slots=True)
class Guest:
    """Who this VM is, and which manager it belongs to."""

    environment: OvfEnvironment
    settings: Settings
    bios_uuid: str
    authority: bytes = field(repr=False)
    """The CAs that the manager may be known by (PEM)."""

    @property
    def name(self) -> str:
        """Common name of our certificate."""
        return self.settings.instance_uuid or self.bios_uuid or self.environment.vm_id


def boot(policy: Policy | None = None) -> Program[Outcome]:
    """The whole boot. Raises BootFailed, BadEnvironment or BadConfiguration when it cannot end well."""
    patience = policy or Policy()
    guest = yield from identify(patience)
    configuration, source = yield from _configuration(guest, patience)
    roles = yield from _roles(guest, configuration, patience.nics)
    yield from _apply(configuration, roles, guest.settings.manager_url)
    return Outcome(configuration, roles, source)


def identify(patience: Policy) -> Program[Guest]:
    """Read who we are. What a renewal left half done is finished first."""
    environment = parse_environment((yield from _read_environment(patience.tools)))
    settings = Settings.read(environment)
    bios_uuid = ((yield from ask(ReadFile(BIOS_UUID))) or b"").decode("ascii", "replace").strip().lower()
    yield from settle(settings)
    return Guest(environment, settings, bios_uuid, (yield from _authority(settings, patience)))


def settle(settings: Settings) -> Program[None]:
    """Put every file of a granted renewal in its place; doing so again changes nothing."""
    content = yield from ask(ReadFile(RENEWED))
    record = Enrolment.parse((yield from ask(ReadFile(ENROLMENT))))
    if content is None or record is None:
        return
    renewed = Renewed.parse(content)
    key = yield from ask(ReadFile(NEXT_KEY))
    if key is not None:
        yield from ask(WriteFile(KEY, key, SECRET))
    yield from ask(WriteFile(CERTIFICATE, renewed.certificate, SECRET))
    yield from ask(WriteFile(AUTHORITY, renewed.authority))
    now = replace(record, authority=renewed.issuer, trusted_since=settings.ca_sha256)
    yield from ask(WriteFile(ENROLMENT, now.render(), SECRET))
    yield from ask(RemoveFile(NEXT_KEY))
    yield from ask(RemoveFile(RENEWED))


def _read_environment(retry: Retry) -> Program[bytes]:
    for pause in (*retry.pauses(), None):
        document = yield from ask(ReadOvfEnvironment())
        if document is not None:
            return document
        if pause is not None:
            yield from ask(Sleep(pause))
    raise BootFailed("VMware Tools give no OVF environment: is the transport com.vmware.guestInfo set?")


def _authority(settings: Settings, patience: Policy) -> Program[bytes]:
    """The manager's CA, from disk or from the manager itself; trusted for its digest alone.

    Where a renewal brought CAs over a connection that was trusted so, those hold until the digest changes.
    """
    stored = yield from ask(ReadFile(AUTHORITY))
    record = Enrolment.parse((yield from ask(ReadFile(ENROLMENT))))
    if stored is not None and record is not None and record.trusted_since == settings.ca_sha256:
        return stored
    known = authority_with(settings.ca_sha256, stored or b"")
    if known is not None:
        return known
    reply = yield from answer(FetchAuthority(f"{settings.manager_url}/v1/ca"), patience.enrol)
    authority = authority_with(settings.ca_sha256, reply.body)
    if authority is None:
        raise Refused("the server at manager_url is not our manager: its CA has another digest than manager_ca_sha256")
    yield from ask(WriteFile(AUTHORITY, authority))
    return authority


def _configuration(
    guest: Guest, patience: Policy
) -> Program[tuple[Configuration, Literal["enrolment", "manager", "stored"]]]:
    record = Enrolment.parse((yield from ask(ReadFile(ENROLMENT))))
    if record is not None and record.bios_uuid != guest.bios_uuid:
        yield from ask(Log("this disk was enrolled by another VM: its certificate is put away"))
        yield from _forget()
        record = None
    if record is None:
        return (yield from _enrol(guest, patience)), "enrolment"
    has_token = guest.settings.token_sha256 not in {"", record.token_sha256}
    if has_token and ((yield from ask(CertificateSpent(CERTIFICATE))) or 0) >= 1:
        # A server cannot say in TLS that a certificate has expired: to us it would merely seem to be away.
        yield from ask(Log("our certificate has expired; enrolling again with the new token"))
        yield from _forget()
        return (yield from _enrol(guest, patience)), "enrolment"
    try:
        return (yield from refresh(guest, patience.refresh)), "manager"
    except (Refused, Untrusted) as refused:
        if not has_token:
            raise Refused(f"{refused}; there is no new token to enrol with") from refused
        yield from ask(Log(f"{refused}; enrolling again with the new token"))
    except EffectFailed as away:
        stored = yield from ask(ReadFile(CONFIGURATION))
        if stored is None:
            raise BootFailed(f"{away}; and no configuration is stored") from away
        yield from ask(Log(f"{away}; starting on the stored configuration"))
        return parse_configuration(stored), "stored"
    yield from _forget()
    return (yield from _enrol(guest, patience)), "enrolment"


def _forget() -> Program[None]:
    """Give up an enrolment; the record goes first, so that no run ever believes it again."""
    for path in (ENROLMENT, RENEWED, NEXT_KEY, CERTIFICATE, KEY, CONFIGURATION):
        yield from ask(RemoveFile(path))


def _enrol(guest: Guest, patience: Policy) -> Program[Configuration]:
    """Redeem the token. The same key is used until it is certified: only then may the manager see the token twice."""
    if not guest.settings.token_sha256:
        raise Refused("not enrolled, and property bootstrap_token is empty")
    if (yield from ask(ReadFile(KEY))) is None:
        yield from ask(WriteFile(KEY, (yield from ask(GenerateKey())), SECRET))
    csr = yield from ask(CreateRequest(KEY, guest.name))
    body = render_request(environment=guest.environment, settings=guest.settings, bios_uuid=guest.bios_uuid, csr=csr)
    request = Http("POST", f"{guest.settings.manager_url}/v1/bootstrap", guest.authority, body=body)
    granted = Granted.parse((yield from answer(request, patience.enrol)).body)
    yield from ask(WriteFile(CERTIFICATE, granted.certificate, SECRET))
    yield from ask(WriteFile(CONFIGURATION, granted.configuration_document))
    record = Enrolment(
        bios_uuid=guest.bios_uuid,
        token_sha256=guest.settings.token_sha256,
        authority=granted.configuration.authority,
    )
    yield from ask(WriteFile(ENROLMENT, record.render(), SECRET))
    return granted.configuration


def refresh(guest: Guest, retry: Retry) -> Program[Configuration]:
    """The configuration as the manager has it now, for the holder of our certificate; kept if it is news."""
    url = f"{guest.settings.manager_url}/v1/configuration"
    request = Http("GET", url, guest.authority, certificate_path=CERTIFICATE, key_path=KEY)
    reply = yield from answer(request, retry)
    configuration = parse_configuration(reply.body)
    if (yield from ask(ReadFile(CONFIGURATION))) != reply.body:
        yield from ask(WriteFile(CONFIGURATION, reply.body))
    return configuration


def answer(request: Http | FetchAuthority, retry: Retry) -> Program[Reply]:
    """Ask until there is a 200. Raises Refused for a refusal, the last EffectFailed when patience ends."""
    failure = EffectFailed("not asked")
    for pause in (*retry.pauses(), None):
        try:
            reply: Reply = yield request
        except Untrusted:
            raise
        except EffectFailed as failed:
            failure = failed
        else:
            if reply.status == 200:
                return reply
            if 400 <= reply.status < 500 and reply.status not in {408, 429}:
                raise Refused(f"the manager refuses ({reply.status}): {refusal(reply.body)}")
            failure = EffectFailed(f"the manager answers {reply.status}: {refusal(reply.body)}")
        if pause is not None:
            yield from ask(Log(f"{failure}; asking again in {pause:g} s"))
            yield from ask(Sleep(pause))
    raise failure


def _roles(guest: Guest, configuration: Configuration, retry: Retry) -> Program[dict[str, str]]:
    """Interfaces may appear after us; they are looked for until every role has one."""
    missing = RolesNotFound("no roles")
    for pause in (*retry.pauses(), None):
        nics = yield from ask(ListNics())
        try:
            return find_roles(configuration.roles, guest.environment.adapters, nics)
        except RolesNotFound as not_yet:
            missing = not_yet
        if pause is not None:
            yield from ask(Sleep(pause))
    raise BootFailed(str(missing))


def _apply(configuration: Configuration, roles: dict[str, str], manager_url: str) -> Program[None]:
    """Write the services' files and have them run with those; restart them only when something changed."""
    identity = (AUTHORITY, CERTIFICATE, KEY)
    files = {
        AGENT_CONF: render_agent_conf(configuration, roles),
        **plugin_files(configuration, manager_url=manager_url, identity=identity),
    }
    units = configuration.services
    digest = hashlib.sha256("\0".join([*units, ""]).encode() + b"\0".join(files.values())).hexdigest().encode()
    applied = yield from ask(ReadFile(APPLIED))
    for path, content in files.items():
        if (yield from ask(ReadFile(path))) != content:
            yield from ask(WriteFile(path, content))
    fabric = roles.get("underlay") or roles.get("management")
    if fabric is not None:
        yield from ask(SetOffload(fabric, "rx"))
        yield from ask(SetOffload(fabric, "tx"))
    yield from ask(SetOffload(roles["overlay"], "lro"))
    for unit in units:
        yield from ask(RunService("start" if applied == digest else "restart", unit))
    if applied != digest:
        yield from ask(WriteFile(APPLIED, digest))


FAILURES = (BootFailed, EffectFailed, BadConfiguration)
"""What ``boot`` raises, besides ``ovf_environment.BadEnvironment``."""
