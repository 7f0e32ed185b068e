"""Certificates change while the manager runs, and nobody notices: who is told first, and who presents when.

* **Publishing.** EAM pins it, and fetches the package before it takes a new pin. So a renewed one waits for a moment in
  which EAM works on no EsxAgent of ours; then it is presented and all agencies are told, at once.
* **Extension.** The successor lies on disk before vCenter is given it: a crash in between leaves two candidates,
  one of which logs in.
* **CA.** Three steps of the operator, with the trust of before kept all along (``pki.ca``).
* **vCenter's own.** Its thumbprint in the settings may be a list: the next one is added before vCenter is changed.

Whatever expires soon is said in time: in the status, the metrics, the health and once in vCenter's events.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from contrail_vsphere.app.certificates import PERIOD, CertificateWatch
from contrail_vsphere.contrailvm.manager import ContrailVmManager
from contrail_vsphere.contrailvm.publish import Publisher
from contrail_vsphere.engine.health import HealthBook
from contrail_vsphere.model.errors import ContrailVsphereError, InvalidState, SettingsError
from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.identity import Identity
from contrail_vsphere.pki.pins import thumbprint

SOON: Final = timedelta(days=30)
"""Whatever expires sooner is warned of."""
LAST_MOMENT: Final = timedelta(days=2)
"""A certificate in use that expires sooner is replaced although EAM is at work."""
PEER_DEADLINE: Final = 20.0
"""Seconds to ask vCenter for its certificate."""
PEER_PERIOD: Final = 6 * 3600.0

_LOG = logging.getLogger(__name__)

Step = Literal["prepare", "activate", "retire"]


@dataclass(frozen=True, slots=True)
class CertificateLine:
    """One certificate as people see it. ``advice`` is what they can do about it; empty when all is well."""

    name: str
    expires: datetime
    sha256: str
    thumbprint: str
    """SHA-1 with colons, as vSphere shows it."""
    advice: str = ""


class CertificateOffice:
    """Follows every certificate of one manager. ``acting`` gives the manager while this process leads, else None."""

    def __init__(
        self,
        *,
        watch: CertificateWatch,
        authority: CertificateAuthority,
        identities: Callable[[], Mapping[str, Identity]],
        publisher: Publisher,
        acting: Callable[[], ContrailVmManager | None],
        renew_extension: Callable[[], Awaitable[bool]],
        peer: Callable[[], Awaitable[bytes]],
        trust: Callable[[str], Awaitable[None]],
        health: HealthBook,
        now: Callable[[], datetime],
    ) -> None:
        self._watch = watch
        self._authority = authority
        self._identities = identities
        self._publisher = publisher
        self._acting = acting
        self._renew_extension = renew_extension
        self._peer = peer
        self._trust = trust
        self._trusted = authority.trust_bundle
        self._health = health
        self._now = now
        self._vcenter: x509.Certificate | None = None
        self._asked_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="certificates")

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def look(self) -> None:
        """Take up what changed on disk, renew what is due, warn of what expires."""
        await self._follow_authority()
        self._watch.look()
        self._stage_publishing()
        await self._renew_if_due()
        if self._loop_time() >= self._asked_at + PEER_PERIOD:
            await self._ask_vcenter()
        self._warn()

    # -- the CA -------------------------------------------------------------------------------------------------

    async def step(self, step: Step, *, force: bool = False) -> tuple[str, ...]:
        """One step of a rotation of our CA; returns what it did, in words. InvalidState for a step out of turn."""
        manager = self._acting()
        if manager is None:
            raise InvalidState("this manager stands by", hint="ask the one that leads")
        if step == "prepare":
            self._authority.prepare()
            await self._follow_authority()
            return ("the next CA is trusted, and does not issue yet",)
        if step == "activate":
            self._authority.activate()
            self._watch.look()
            manager.offer_again()
            return (
                "the next CA issues from now on; the one before stays trusted",
                "agencies are given its digest; ContrailVMs renew their certificates within a day",
            )
        left = manager.enrolled_before(self._authority.fingerprint)
        if left and not force:
            raise InvalidState(
                f"{len(left)} ContrailVMs hold certificates of the CA before, such as that of {left[0]}",
                hint="they renew them within a day, or are deployed anew; or repeat with --force, which cuts them off",
            )
        gone = self._authority.retire()
        self._watch.look()
        await self._follow_authority()
        return (f"{gone} CAs of before are trusted no more",)

    @property
    def stage(self) -> Literal["steady", "prepared", "activated"]:
        """How far a rotation of our CA is."""
        return self._authority.stage

    # -- what is ------------------------------------------------------------------------------------------------

    def lines(self) -> tuple[CertificateLine, ...]:
        """All certificates, those that expire first at the head."""
        found = {name: identity.certificate for name, identity in self._identities().items()}
        found["ca"] = x509.load_pem_x509_certificate(self._authority.cert_pem.encode())
        if self._vcenter is not None:
            found["vcenter"] = self._vcenter
        lines = (self._line(name, each) for name, each in found.items())
        return tuple(sorted(lines, key=lambda each: (each.expires, each.name)))

    def seconds_left(self) -> dict[tuple[str], float]:
        """For the metrics: by name, negative once it has expired."""
        return {(each.name,): (each.expires - self._now()).total_seconds() for each in self.lines()}

    def warnings(self) -> tuple[str, ...]:
        """What expires soon, in words."""
        return tuple(f"certificate {each.name}: {each.advice}" for each in self.lines() if each.advice)

    def _line(self, name: str, certificate: x509.Certificate) -> CertificateLine:
        left = certificate.not_valid_after_utc - self._now()
        days = int(left / timedelta(days=1))
        when = f"has expired {-days} days ago" if left < timedelta(0) else f"expires in {days} days"
        return CertificateLine(
            name=name,
            expires=certificate.not_valid_after_utc,
            sha256=thumbprint(_pem(certificate), "sha256").replace(":", "").lower(),
            thumbprint=thumbprint(_pem(certificate)),
            advice=f"{when}; {_ADVICE.get(name, _RENEW)}" if left < SOON else "",
        )

    # -- inside -------------------------------------------------------------------------------------------------

    async def _follow_authority(self) -> None:
        """Have the listener trust what our CA's directory says, whoever wrote it: we, or a person on a standby."""
        self._authority.reload()
        bundle = self._authority.trust_bundle
        if bundle != self._trusted:
            await self._trust(bundle)
            self._trusted = bundle

    async def _renew_if_due(self) -> None:
        """The extension's certificate; when that fails it is tried again, and warned of, at the next look."""
        identity = self._identities().get("extension")
        if self._acting() is None or identity is None or identity.expires - self._now() >= SOON:
            return
        try:
            await self._renew_extension()
        except (ContrailVsphereError, OSError) as error:
            _LOG.warning("the extension's certificate cannot be renewed: %s", error)

    def _stage_publishing(self) -> None:
        """Present the renewed publishing certificate when EAM is at rest, and tell all agencies at that moment."""
        present = self._publisher.identity
        if present is None or not self._renewed(present):
            return
        manager = self._acting()
        if manager is None:
            self._publisher.switch()
            return
        urgent = present.expires - self._now() < LAST_MOMENT
        if not (urgent or (manager.at_rest() and not self._publisher.active)):
            return
        self._publisher.switch()
        _LOG.info("publish: presents the renewed certificate; the agencies are told now")
        manager.offer_again()

    def _renewed(self, present: Identity) -> bool:
        """Its files hold another one, which is staged then."""
        try:
            found = Identity(present.key_file, present.cert_file)
        except SettingsError as error:
            _LOG.warning("publish: the certificate in use stays: %s", error)
            return False
        if found.cert_pem != present.cert_pem:
            self._publisher.stage(found)
        return self._publisher.staged

    async def _ask_vcenter(self) -> None:
        self._asked_at = self._loop_time()
        try:
            async with asyncio.timeout(PEER_DEADLINE):
                self._vcenter = x509.load_der_x509_certificate(await self._peer())
        except (OSError, ssl.SSLError, TimeoutError, ContrailVsphereError) as error:
            _LOG.info("vCenter's certificate cannot be read: %s", error or "the deadline passed")

    def _warn(self) -> None:
        for line in self.lines():
            before = self._health.get("certificate", line.name)
            if line.advice:
                self._health.failed("certificate", line.name, state="refused", reason=line.advice)
            elif before is None or before.bad:
                self._health.succeeded("certificate", line.name)
        manager = self._acting()
        if manager is not None:
            ours = {each.name: each.advice for each in self.lines() if each.advice}
            manager.note_certificates(ours | manager.certificates_of_guests(before=self._now() + SOON))

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except (ContrailVsphereError, OSError) as error:
                _LOG.warning("certificates cannot be renewed: %s", error)
            await asyncio.sleep(PERIOD)

    @staticmethod
    def _loop_time() -> float:
        return asyncio.get_running_loop().time()


_RENEW = "renew its files; they are taken up within a minute"
_ADVICE: Mapping[str, str] = {
    "ca": "rotate it: `contrailvm certificates ca prepare`",
    "extension": "`contrailvm certificates extension` gives vCenter a new one",
    "vcenter": "add the next thumbprint to the settings before it is replaced",
}


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


async def peer_certificate(host: str, port: int, context: ssl.SSLContext) -> bytes:
    """DER of what the server presents; it must be trusted as every connection to it is."""
    _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    try:
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
    return bytes(der)
