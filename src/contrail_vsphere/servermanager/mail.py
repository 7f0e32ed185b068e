"""Who is told by mail when a run is over: the addresses of its servers, else of its cluster.

One letter per run and set of addresses, with the end of every server and why. Letters are written into the database in
the unit of work that ends the run, and leave it when the mail server took them: a process that dies in between sends
them when it is back, at worst a second time under the same Message-ID. Delivery is tried a few times and then given up,
which the audit log keeps. The seed era sent no mail at all for containers.
"""

from __future__ import annotations

import asyncio
import logging
import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from functools import partial
from hashlib import sha256
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.pki.secrets import Secret
from contrail_vsphere.servermanager.documents import emails
from contrail_vsphere.servermanager.records import SYSTEM, Actor, audit
from contrail_vsphere.servermanager.store import Store
from contrail_vsphere.servermanager.tables import Cluster, Letter, Run, Server

_LOG = logging.getLogger(__name__)

TRIES: Final = 5
PAUSE: Final = 10.0
"""Seconds before the second try; each further one waits twice as long."""
TIMEOUT: Final = 20.0
"""Seconds for each step of a delivery."""
DELIVERIES: Final = 2
"""At once: they block threads that others need too."""


@dataclass(frozen=True, slots=True)
class Relay:
    """The mail server. ``tls`` None speaks plain SMTP, which only loopback may; else STARTTLS is demanded."""

    host: str
    port: int
    sender: str
    tls: ssl.SSLContext | None = None
    username: str = ""
    password: Callable[[], Secret] | None = None


def letters(session: Session, run: Run, at: datetime) -> list[Letter]:
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
    return [
        Letter(run_id=run.id, recipients=list(to), subject=subject, body="\n".join([*head, *told]) + "\n", written=at)
        for to, told in lines.items()
        if to
    ]


class Post:
    """Writes letters, and sends in the background what the database holds of them."""

    def __init__(self, store: Store, relay: Relay, *, pause: float = PAUSE) -> None:
        self._store = store
        self._relay = relay
        self._pause = pause
        self._at_once = asyncio.Semaphore(DELIVERIES)
        self._letters: dict[int, asyncio.Task[None]] = {}
        self._looks: set[asyncio.Task[None]] = set()

    def write(self, session: Session, run: Run, at: datetime) -> None:
        """In the unit of work that ends the run; ``send`` after it."""
        session.add_all(letters(session, run, at))

    def send(self) -> None:
        """Send what is in the database and not under way: after an end, and at the start what a dead process left."""
        look = asyncio.create_task(self._look(), name="letters to send")
        self._looks.add(look)
        look.add_done_callback(self._looked)

    async def stop(self) -> None:
        """End what is under way; the letters stay for the next start."""
        tasks = [*self._looks, *self._letters.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        while tasks := {*self._looks, *self._letters.values()}:
            await asyncio.wait(tasks)

    async def _look(self) -> None:
        for letter_id in await asyncio.to_thread(self._waiting):
            if letter_id not in self._letters:
                task = asyncio.create_task(self._send(letter_id), name=f"letter {letter_id}")
                self._letters[letter_id] = task
                task.add_done_callback(partial(self._over, letter_id))

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looks.discard(task)
        _tell_of(task)

    def _over(self, letter_id: int, task: asyncio.Task[None]) -> None:
        del self._letters[letter_id]
        _tell_of(task)

    async def _send(self, letter_id: int) -> None:
        while (letter := await asyncio.to_thread(self._letter, letter_id)) is not None:
            try:
                async with self._at_once:
                    await asyncio.to_thread(self._deliver, letter)
            except smtplib.SMTPRecipientsRefused as error:
                await asyncio.to_thread(self._give_up, letter_id, f"{', '.join(error.recipients)} refused")
                return
            except (OSError, smtplib.SMTPException, ContrailVsphereError) as error:
                tries = letter.tries + 1
                _LOG.warning("mail about %s, try %d of %d: %s", letter.run_id, tries, TRIES, error)
                if tries == TRIES:
                    await asyncio.to_thread(self._give_up, letter_id, f"{TRIES} tries: {error}")
                    return
                await asyncio.to_thread(self._count, letter_id)
                await asyncio.sleep(self._pause * 2**letter.tries)
            else:
                await asyncio.to_thread(self._delivered, letter_id)
                return

    # -- units of work, on threads --------------------------------------------------------------------------------

    def _waiting(self) -> list[int]:
        with self._store.reading() as session:
            return list(session.scalars(select(Letter.id).order_by(Letter.id)))

    def _letter(self, letter_id: int) -> Letter | None:
        """None if it was sent meanwhile."""
        with self._store.reading() as session:
            return session.get(Letter, letter_id)

    def _count(self, letter_id: int) -> None:
        with self._store.writing() as session:
            session.get_one(Letter, letter_id).tries += 1

    def _delivered(self, letter_id: int) -> None:
        with self._store.writing() as session:
            session.delete(session.get_one(Letter, letter_id))

    def _give_up(self, letter_id: int, reason: str) -> None:
        with self._store.writing() as session:
            letter = session.get_one(Letter, letter_id)
            _LOG.error("mail about %s to %s is given up: %s", letter.run_id, ", ".join(letter.recipients), reason)
            detail = {"to": letter.recipients, "reason": reason}
            actor = Actor(SYSTEM, self._store.now())
            audit(session, actor, "give up mail", kind="run", object_id=letter.run_id, detail=detail)
            session.delete(letter)

    # -- SMTP, on threads -----------------------------------------------------------------------------------------

    def _deliver(self, letter: Letter) -> None:
        relay = self._relay
        with smtplib.SMTP(relay.host, relay.port, timeout=TIMEOUT) as smtp:
            if relay.tls is not None:
                smtp.starttls(context=relay.tls)
            if relay.username and relay.password is not None:
                smtp.login(relay.username, relay.password().reveal())
            refused = smtp.send_message(self._message(letter), relay.sender, letter.recipients)
        if refused:
            _LOG.warning("mail about %s: %s refused", letter.run_id, ", ".join(refused))

    def _message(self, letter: Letter) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self._relay.sender
        message["To"] = ", ".join(letter.recipients)
        message["Subject"] = letter.subject
        message["Date"] = format_datetime(letter.written)
        # The same for every try: who gets it twice can see that it is one.
        marks = sha256("\n".join(letter.recipients).encode()).hexdigest()[:12]
        message["Message-ID"] = f"<{letter.run_id}.{marks}@server-manager>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter.body)
        return message


def _tell_of(task: asyncio.Task[None]) -> None:
    """Of a database that did not answer: the letters are in it, and go out at the next look."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _LOG.error("%s: not sent now: %s", task.get_name(), error)
