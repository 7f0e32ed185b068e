"""The guest's certificate is renewed long before it expires, also where the ContrailVM is never started anew.

A timer runs this once a day. Renewing takes a new key, which the manager takes beside the present one until it is used
for the first time; so the program may die at any step, or the answer get lost, and the next run goes on. Nothing here
touches forwarding: whatever fails, the vRouter agent keeps running on what it has.
"""

from __future__ import annotations

import json
from typing import Literal

from contrailvm_guest.effects import (
    CertificateSpent,
    CreateRequest,
    GenerateKey,
    Http,
    Log,
    Program,
    ReadFile,
    WriteFile,
    ask,
)
from contrailvm_guest.enrolment import Enrolment, Renewed
from contrailvm_guest.firstboot import (
    CERTIFICATE,
    ENROLMENT,
    KEY,
    NEXT_KEY,
    RENEWED,
    SECRET,
    BootFailed,
    Guest,
    Policy,
    answer,
    identify,
    refresh,
    settle,
)

DUE = 2 / 3
"""Of its life; what is left is the time in which a manager may be away, or a person find out why renewing fails."""

Renewal = Literal["not due", "renewed"]


def renew(policy: Policy | None = None) -> Program[Renewal]:
    """Renew if it is due, or if the manager has another CA now. Raises as ``boot`` does; the certificate stays then."""
    patience = policy or Policy()
    guest = yield from identify(patience)
    record = Enrolment.parse((yield from ask(ReadFile(ENROLMENT))))
    if record is None or record.bios_uuid != guest.bios_uuid:
        raise BootFailed("this VM is not enrolled: it has no certificate to renew")
    configuration = yield from refresh(guest, patience.refresh)
    spent = yield from ask(CertificateSpent(CERTIFICATE))
    moved = configuration.authority not in {"", record.authority}
    if spent is not None and spent < DUE and not moved:
        return "not due"
    yield from _request(guest, patience)
    yield from settle(guest.settings)
    yield from refresh(guest, patience.refresh)  # From here on the manager knows the new key only.
    yield from ask(Log("the client certificate was renewed"))
    return "renewed"


def _request(guest: Guest, patience: Policy) -> Program[None]:
    """Ask for a certificate for the next key; the same one until it is certified, however often we die."""
    if (yield from ask(ReadFile(NEXT_KEY))) is None:
        yield from ask(WriteFile(NEXT_KEY, (yield from ask(GenerateKey())), SECRET))
    csr = yield from ask(CreateRequest(NEXT_KEY, guest.name))
    request = Http(
        "POST",
        f"{guest.settings.manager_url}/v1/renewal",
        guest.authority,
        body=json.dumps({"version": 1, "csr": csr.decode("ascii")}).encode(),
        certificate_path=CERTIFICATE,
        key_path=KEY,
    )
    renewed = Renewed.parse((yield from answer(request, patience.refresh)).body)
    yield from ask(WriteFile(RENEWED, renewed.render(), SECRET))
