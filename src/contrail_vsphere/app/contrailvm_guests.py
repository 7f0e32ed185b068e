"""What ContrailVMs and vCenter ask at the bootstrap listener, answered by the manager that acts.

The listener is up on a process that stands by too: it knows nobody, and asks guests to come again, which brings them
to the leader once the address does.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import datetime

from contrail_vsphere.app.reign import Reigns
from contrail_vsphere.contrailvm.bootstrap.host_configuration import HostConfiguration
from contrail_vsphere.contrailvm.bootstrap.request import ClientCertificate, GuestIdentity, RenewalRequest
from contrail_vsphere.contrailvm.bootstrap.server import BootstrapServer, Report, Vouch
from contrail_vsphere.contrailvm.manager import ContrailVmManager
from contrail_vsphere.contrailvm.notices.health_document import HealthMessage, HealthNode
from contrail_vsphere.model.eam import Status
from contrail_vsphere.model.ids import HostId
from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.identity import Identity
from contrail_vsphere.vsphere.vcenter import VCenter


class GuestDesk:
    """``acting`` raises NotReadyYet while another process acts; ``missing`` says why, and what a standby lacks."""

    def __init__(
        self,
        *,
        solution_id: str,
        reigns: Callable[[], Reigns[ContrailVmManager]],
        lacks: Callable[[], tuple[str, ...]],
        now: Callable[[], datetime],
    ) -> None:
        self._solution_id = solution_id
        self._reigns = reigns
        self._lacks = lacks
        self._now = now

    def server(
        self,
        listen: str,
        identity: Identity,
        authority: CertificateAuthority,
        *,
        vouch: Vouch | None,
        report: Report | None,
    ) -> BootstrapServer:
        """The listener, not started."""
        return BootstrapServer(
            tls=guest_context(identity, authority.trust_bundle),
            ca_pem=lambda: trusted(authority),
            redeem=self.redeem,
            configuration=self.configuration,
            sign=self.sign,
            health=self.health,
            listen=listen,
            vouch=vouch,
            report=report,
            renew=self.renew,
        )

    async def redeem(self, token: str, guest: GuestIdentity) -> HostConfiguration:
        """Spend a token."""
        return await self._reigns().acting.office.redeem(token, guest)

    async def configuration(self, certificate: ClientCertificate) -> HostConfiguration:
        """For the holder of a certificate."""
        return await self._reigns().acting.office.configuration(certificate)

    def host_of(self, certificate: ClientCertificate) -> HostId:
        """Whose ContrailVM holds a certificate."""
        return self._reigns().acting.office.host_of(certificate)

    def sign(self, request: bytes, guest: GuestIdentity) -> bytes:
        """A client certificate."""
        return self._reigns().acting.office.sign(request, guest)

    async def renew(self, certificate: ClientCertificate, wanted: RenewalRequest) -> bytes:
        """The next client certificate of a guest."""
        return await self._reigns().acting.office.renew(certificate, wanted)

    def health(self) -> HealthNode:
        """Of the manager, or of a process that stands by."""
        reigns = self._reigns()
        if reigns.leads:
            return reigns.acting.health()
        lacks = self._lacks()
        texts = (*reigns.not_ready(), *lacks)
        messages = tuple(HealthMessage(f"standby{n}", text, self._now()) for n, text in enumerate(texts))
        status: Status = "yellow" if lacks else "green"
        return HealthNode(self._solution_id, "ContrailVM Manager", status, messages)


def guest_context(identity: Identity, bundle: str) -> ssl.SSLContext:
    """Asks for certificates of these CAs, and serves those who have none yet."""
    return identity.server_context(client_ca_pem=bundle, clients="optional")


def trusted(authority: CertificateAuthority) -> bytes:
    """What guests are to trust, as it is at this moment."""
    return authority.trust_bundle.encode()


async def clone_ticket(vcenter: VCenter) -> str:
    """For the plugin of a host: one login to vCenter with our own session's rights."""
    await vcenter.session.ensure()
    return str(await vcenter.session.call(vcenter.session.content.sessionManager, "AcquireCloneTicket"))
