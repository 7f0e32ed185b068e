"""Introspect of a VRouterAgent (Sandesh over HTTP, port 8085): has it a controller, which ports, what does it drop?

``GET /Snh_AgentXmppConnectionStatusReq`` lists one entry per configured control node. ``state`` is only ever
``Established`` or ``Down`` there (the agent folds every other state of its machine into ``Down``), and is empty while
the agent has not made the channel yet; what lies behind is in ``last_state``. Source: controller_sandesh.cc.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID
from xml.etree.ElementTree import Element, ParseError

import aiohttp
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from contrail_vsphere.contrail.http import Address, bounded_read, door
from contrail_vsphere.model.errors import NotReadyYet, ProtocolError
from contrail_vsphere.wire.contrail.drop_counters import HARMLESS

PORT = 8085
MAX_DOCUMENT = 16 * 1024 * 1024
NO_VLAN = 0xFFFF
"""How a port without VLAN is shown."""


@dataclass(frozen=True, slots=True)
class XmppSession:
    """The agent's session with one control node."""

    controller: str
    """Address of the control node."""
    established: bool
    configures: bool
    """The agent takes its configuration from this one."""
    last_state: str = ""
    """``Idle``, ``Active``, ``Connect``, ``OpenSent``, ``OpenConfirm`` or ``Established``."""
    last_event: str = ""
    flaps: int = 0


class Introspect:
    """Asks any VRouterAgent; one per process, on a shared connection pool. ``timeout``: seconds for a whole answer."""

    def __init__(self, http: aiohttp.ClientSession, *, port: int = PORT, timeout: float = 5.0) -> None:
        self._http = http
        self._port = port
        self._timeout = aiohttp.ClientTimeout(total=timeout)

    async def plugged(self, address: str) -> dict[UUID, tuple[UUID, int | None]]:
        """Every port the agent has been told of: VMI -> (VM, VLAN). Its link state is not told. Raises as below."""
        return parse_port_subscriptions(await self._page(address, "Snh_FetchVmiPortSubscriptionReq"))

    async def xmpp_sessions(self, address: str) -> tuple[XmppSession, ...]:
        """The agent's sessions, in the order it is configured with them.

        ``address`` is ``HOST`` or ``HOST:PORT``. Raises Unreachable, NotReadyYet, ProtocolError.
        """
        return parse_xmpp_sessions(await self._page(address, "Snh_AgentXmppConnectionStatusReq"))

    async def dropped(self, address: str) -> int:
        """Frames its vRouter has dropped since it started, but for those that every vRouter drops. Raises as below."""
        return parse_drops(await self._page(address, "Snh_KDropStatsReq"))

    async def _page(self, address: str, request: str) -> bytes:
        peer = Address.parse(address, port=self._port)
        with door(f"introspect of the vRouter agent at {peer}"):
            async with self._http.get(
                f"http://{peer}/{request}", timeout=self._timeout, allow_redirects=False
            ) as reply:
                body = await bounded_read(reply, most=MAX_DOCUMENT)
                if reply.status >= 500:
                    raise NotReadyYet(f"the vRouter agent at {peer} answers introspect with {reply.status}")
                if reply.status != 200:
                    raise ProtocolError(f"the vRouter agent at {peer} answers introspect with {reply.status}")
        return body

    async def forwards(self, address: str) -> bool:
        """True when the agent has an Established session with a controller; raises as :meth:`xmpp_sessions`."""
        return any(session.established for session in await self.xmpp_sessions(address))


def parse_xmpp_sessions(document: bytes) -> tuple[XmppSession, ...]:
    """Read the answer to ``Snh_AgentXmppConnectionStatusReq``; ProtocolError for anything else, DTDs included."""
    root = _parse(document, "AgentXmppConnectionStatus")
    return tuple(_session(entry) for entry in root.iterfind("./peer/list/AgentXmppData"))


def parse_port_subscriptions(document: bytes) -> dict[UUID, tuple[UUID, int | None]]:
    """Read the answer to ``Snh_FetchVmiPortSubscriptionReq``; ProtocolError for anything else."""
    root = _parse(document, "VmiPortSubscriptionRsp")
    found = {}
    for entry in root.iter("VmiPortSubscription"):
        try:
            vlan = int(_field(entry, "tx_vlan_id"))
            found[UUID(_field(entry, "vmi_uuid"))] = (UUID(_field(entry, "vm_uuid")), None if vlan == NO_VLAN else vlan)
        except ValueError:
            raise ProtocolError("introspect lists a port without proper ids or VLAN") from None
    return found


def parse_drops(document: bytes) -> int:
    """Read the answer to ``Snh_KDropStatsReq``: the sum of all counters that tell of trouble, those we do not know too.

    ProtocolError for anything else; the agent answers ``ErrResp`` while its vRouter does not answer it.
    """
    root = _parse(document, "KDropStatsResp")
    counted = 0
    for counter in root:
        name = counter.tag.removeprefix("ds_")
        if name in (counter.tag, "rid") or name in HARMLESS:
            continue
        text = (counter.text or "").strip()
        if not (text.isascii() and text.isdigit()):
            raise ProtocolError(f"introspect counts {text[:20]!r} frames as {name[:40]}")
        counted += int(text)
    return counted


def _parse(document: bytes, name: str) -> Element:
    try:
        root: Element = fromstring(document, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as wrong:
        raise ProtocolError(f"introspect sent no readable XML: {type(wrong).__name__}") from None
    if root.tag != name:
        raise ProtocolError(f"introspect answered with {root.tag[:80]!r}, not with {name}")
    return root


def _session(entry: Element) -> XmppSession:
    flaps = _field(entry, "flap_count")
    return XmppSession(
        controller=_field(entry, "controller_ip"),
        established=_field(entry, "state") == "Established",
        configures=_field(entry, "cfg_controller") == "Yes",
        last_state=_field(entry, "last_state"),
        last_event=_field(entry, "last_event"),
        flaps=int(flaps) if flaps.isascii() and flaps.isdigit() else 0,
    )


def _field(entry: Element, name: str) -> str:
    return (entry.findtext(name) or "").strip()
