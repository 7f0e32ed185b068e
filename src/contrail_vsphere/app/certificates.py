"""Certificates that change while the manager runs: renewed by an operator's tool, or by us before they expire."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from contrail_vsphere.model.errors import SettingsError
from contrail_vsphere.pki.identity import Identity

PERIOD = 60.0
"""Seconds between two looks at the files."""

_LOG = logging.getLogger(__name__)


class CertificateWatch:
    """Presents what lies on disk. ``identities`` by the name of their listener; ``renew`` is done before each look.

    Files that do not hold together (one of the two is written before the other) leave the old certificate in use.
    """

    def __init__(self, identities: Mapping[str, Identity], *, renew: tuple[Callable[[], object], ...] = ()) -> None:
        self._identities = dict(identities)
        self._renew = renew
        self._wrong: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, name: str, identity: Identity) -> None:
        """Watch one more."""
        self._identities[name] = identity

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="certificates")

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def look(self) -> tuple[str, ...]:
        """Take up what changed; returns the names of the listeners that present another certificate now."""
        for renew in self._renew:
            renew()
        return tuple(name for name, identity in self._identities.items() if self._reload(name, identity))

    def _reload(self, name: str, identity: Identity) -> bool:
        try:
            changed = identity.reload()
        except SettingsError as error:
            if self._wrong.get(name) != error.message:
                _LOG.warning("%s: the certificate in use stays: %s", name, error)
            self._wrong[name] = error.message
            return False
        self._wrong.pop(name, None)
        if changed:
            _LOG.info("%s: presents the renewed certificate, valid until %s", name, identity.expires.isoformat())
        return changed

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            try:
                self.look()
            except (SettingsError, OSError) as error:
                _LOG.warning("certificates cannot be renewed: %s", error)
