"""What is told in vCenter, told to other programs as well: signed JSON over HTTP, with a bounded number of tries.

Each address has a queue of its own, so that one that is away delays no other. What cannot be delivered in time is
dropped and counted: a receiver that needs everything reads the control API. The signature is an HMAC-SHA256 over the
time and the body under a shared secret, which is read for every message and so may be replaced at any time.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from contrail_vsphere.config.settings import NotifySettings
from contrail_vsphere.contrailvm.notices.announce import Notice
from contrail_vsphere.engine.backoff import Backoff
from contrail_vsphere.model.errors import SettingsError
from contrail_vsphere.pki.identity import client_context
from contrail_vsphere.pki.secrets import read_secret

SIGNATURE: Final = "X-Contrail-Signature"
"""``t=<epoch seconds>,v1=<hex>``; what is signed is the time, a dot, and the body."""
TRIES: Final = 6
RETRY: Final = Backoff(first=2.0, most=120.0)
DEADLINE: Final = 15.0
"""Seconds for one delivery."""
MOST_WAITING: Final = 1000
"""Messages that wait for one address; the oldest go first."""

_LOG = logging.getLogger(__name__)


class Webhooks:
    """Delivers notices to every address of ``[notify]``. ``now`` gives aware UTC times."""

    def __init__(self, settings: NotifySettings, *, source: str, now: Callable[[], datetime], random: Random) -> None:
        self._urls = tuple(part.strip() for part in settings.urls.split(",") if part.strip())
        self._secret_file = settings.secret_file
        self._ca_file = settings.ca_file
        self._source = source
        self._now = now
        self._random = random
        self._waiting: dict[str, deque[bytes]] = {url: deque(maxlen=MOST_WAITING) for url in self._urls}
        self._woken: dict[str, asyncio.Event] = {url: asyncio.Event() for url in self._urls}
        self._tasks: list[asyncio.Task[None]] = []
        self._http: aiohttp.ClientSession | None = None
        self.counts: Counter[tuple[str, str]] = Counter()
        """By address and what became of a message: delivered, refused, given-up, dropped."""

    async def start(self) -> None:
        """Check what is needed, and begin; SettingsError for a secret that cannot be read."""
        if not self._urls:
            return
        read_secret(self._file())
        context = client_context(ca_file=self._ca_file) if self._ca_file is not None else True
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))
        self._tasks = [
            asyncio.create_task(self._run(url), name=f"webhook {urlsplit(url).netloc}") for url in self._urls
        ]

    async def stop(self) -> None:
        """What waits is not delivered any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._http is not None:
            await self._http.close()
            self._http = None

    def send(self, notice: Notice) -> None:
        """Put a notice on its way."""
        document = {"id": secrets.token_hex(8), "source": self._source, **asdict(notice), "at": notice.at.isoformat()}
        body = json.dumps(document, sort_keys=True).encode()
        for url in self._urls:
            queue = self._waiting[url]
            if len(queue) == MOST_WAITING:
                self.counts[_host(url), "dropped"] += 1
            queue.append(body)
            self._woken[url].set()

    async def _run(self, url: str) -> None:
        queue, woken = self._waiting[url], self._woken[url]
        while True:
            while not queue:
                woken.clear()
                await woken.wait()
            outcome = await self._deliver(url, queue.popleft())
            self.counts[_host(url), outcome] += 1

    async def _deliver(self, url: str, body: bytes) -> str:
        problem = ""
        for attempt in range(1, TRIES + 1):
            if attempt > 1:
                await asyncio.sleep(RETRY.delay(attempt - 1, self._random))
            try:
                status = await self._post(url, body)
            except (aiohttp.ClientError, OSError, TimeoutError, SettingsError) as error:
                problem = str(error) or type(error).__name__
                continue
            if 200 <= status < 300:
                return "delivered"
            problem = f"it answers {status}"
            if 400 <= status < 500 and status not in (408, 425, 429):
                _LOG.warning("webhook %s does not take a message: %s", _host(url), problem)
                return "refused"
        _LOG.warning("webhook %s: a message is given up after %d tries: %s", _host(url), TRIES, problem)
        return "given-up"

    async def _post(self, url: str, body: bytes) -> int:
        if self._http is None:
            raise RuntimeError("the webhooks are not started")
        at = int(self._now().timestamp())
        headers = {
            "Content-Type": "application/json",
            SIGNATURE: f"t={at},v1={sign(read_secret(self._file()).reveal(), at, body)}",
        }
        timeout = aiohttp.ClientTimeout(total=DEADLINE)
        async with self._http.post(url, data=body, headers=headers, timeout=timeout, allow_redirects=False) as answer:
            return answer.status

    def _file(self) -> Path:
        if self._secret_file is None:
            raise SettingsError("webhooks have no secret", hint="set secret_file in [notify]")
        return self._secret_file


def sign(secret: str, at: int, body: bytes) -> str:
    """The signature, hexadecimal; receivers compute it anew and compare in constant time."""
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()


def _host(url: str) -> str:
    """An address as the log and the metrics show it: paths of such addresses are often secrets themselves."""
    return urlsplit(url).netloc.rpartition("@")[2]
