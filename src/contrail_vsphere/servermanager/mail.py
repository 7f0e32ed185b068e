"""Who is told by mail when a run is over: the addresses of its servers, else of its cluster.

One letter per run and set of addresses, with the end of every server and why. Delivery is tried a few times and then
given up with a line in the log: whoever must know everything reads the API. The seed era sent no mail at all for
containers.
"""

from __future__ import annotations

import asyncio
import logging
import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime
from hashlib import sha256
from typing import Final

from sqlalchemy.orm import Session

from contrail_vsphere.model.errors import NotFound
from contrail_vsphere.pki.secrets import Secret
from contrail_vsphere.servermanager.documents import emails
from contrail_vsphere.servermanager.store import Store
from contrail_vsphere.servermanager.tables import Cluster, Run, Server

_LOG = logging.getLogger(__name__)

TRIES: Final = 5
PAUSE: Final = 10.0
"""Seconds before the second try; each further one waits twice as long."""
TIMEOUT: Final = 20.0
"""Seconds for each step of a delivery."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What is told to whom."""

    to: tuple[str, ...]
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Relay:
    """The mail server. ``tls`` None speaks plain SMTP, which only loopback may; else STARTTLS is demanded."""

    host: str
    port: int
    sender: str
    tls: ssl.SSLContext | None = None
    username: str = ""
    password: Callable[[], Secret] | None = None


def letters(session: Session, run: Run) -> list[Letter]:
    """The letters about a run that is over."""
    cluster = session.get(Cluster, run.cluster_id)
    of_cluster = emails(cluster.email) if cluster is not None else []
    lines: dict[tuple[str, ...], list[str]] = {}
    for name in run.servers:
        server = session.get(Server, name)
        own = emails(server.attributes.get("email")) if server is not None else []
        host = run.hosts.get(name, {})
        end = f"{host.get('state', 'pending')} {host.get('task', '')}".strip()
        words = " ".join(str(host.get("message", "")).split())
        differs = "; ".join(host.get("drift", ())) if run.kind == "drift" else ""
        line = ": ".join(each for each in (f"{name} {end}", words, differs) if each)
        lines.setdefault(tuple(sorted(own or of_cluster)), []).append(line)
    subject = f"{run.kind} of cluster {run.cluster_id}: {run.state}"
    head = [f"run {run.id}, asked for by {run.who}", *([run.reason] if run.reason != run.state else []), ""]
    return [Letter(to, subject, "\n".join([*head, *told]) + "\n") for to, told in lines.items() if to]


class Post:
    """Sends letters in the background; ``stop`` gives up what is still under way."""

    def __init__(self, store: Store, relay: Relay, *, pause: float = PAUSE) -> None:
        self._store = store
        self._relay = relay
        self._pause = pause
        self._tasks: set[asyncio.Task[None]] = set()

    def run_is_over(self, run_id: str) -> None:
        """Write and send what is to be told about it."""
        task = asyncio.create_task(self._tell(run_id), name=f"mail about {run_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """End what is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _tell(self, run_id: str) -> None:
        for letter in await asyncio.to_thread(self._letters, run_id):
            await self._send(run_id, letter)

    def _letters(self, run_id: str) -> list[Letter]:
        with self._store.reading() as session:
            run = session.get(Run, run_id)
            if run is None:
                raise NotFound(f"no run {run_id!r}")
            return letters(session, run)

    async def _send(self, run_id: str, letter: Letter) -> None:
        for attempt in range(TRIES):
            try:
                await asyncio.to_thread(self._deliver, run_id, letter)
            except smtplib.SMTPRecipientsRefused as error:
                _LOG.error("mail about %s: %s refused", run_id, ", ".join(error.recipients))
                return
            except (OSError, smtplib.SMTPException) as error:
                _LOG.warning("mail about %s, try %d of %d: %s", run_id, attempt + 1, TRIES, error)
                await asyncio.sleep(self._pause * 2**attempt)
            else:
                return
        _LOG.error("mail about %s to %s is given up", run_id, ", ".join(letter.to))

    def _deliver(self, run_id: str, letter: Letter) -> None:
        relay = self._relay
        with smtplib.SMTP(relay.host, relay.port, timeout=TIMEOUT) as smtp:
            if relay.tls is not None:
                smtp.starttls(context=relay.tls)
            if relay.username and relay.password is not None:
                smtp.login(relay.username, relay.password().reveal())
            refused = smtp.send_message(self._message(run_id, letter), relay.sender, letter.to)
        if refused:
            _LOG.warning("mail about %s: %s refused", run_id, ", ".join(refused))

    def _message(self, run_id: str, letter: Letter) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self._relay.sender
        message["To"] = ", ".join(letter.to)
        message["Subject"] = letter.subject
        message["Date"] = format_datetime(self._store.now())
        # The same for every try: who gets it twice can see that it is one.
        marks = sha256("\n".join(letter.to).encode()).hexdigest()[:12]
        message["Message-ID"] = f"<{run_id}.{marks}@server-manager>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter.text)
        return message
