"""What an operator does to a server besides provisioning it: read its logs, restart it.

Logs are files below one directory, named as they are listed; a link in a log directory leads nowhere, since containers
write there and the one who reads is root.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

from contrail_vsphere.model.errors import InvalidArgument, InvalidState, NotFound
from contrail_vsphere.servermanager import ssh
from contrail_vsphere.servermanager.objects import found
from contrail_vsphere.servermanager.records import Actor, audit
from contrail_vsphere.servermanager.states import ServerState
from contrail_vsphere.servermanager.store import Store
from contrail_vsphere.servermanager.tables import Server
from contrail_vsphere.servermanager.vault import Vault

LOGS: Final = "/var/log/contrail"
MOST_FILES: Final = 2000
MOST_BYTES: Final = 1_000_000
"""Of one file, its end."""
RESTART: Final = "command -v systemctl >/dev/null && set -- systemctl reboot || set -- shutdown -r now; " \
    'command -v "$1" >/dev/null || exit 127; (sleep 1; "$@") </dev/null >/dev/null 2>&1 &'  # fmt: skip
"""Asked for in the background: the answer gets out before the network goes down."""

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@:-]*(?:/[A-Za-z0-9_][A-Za-z0-9._@:-]*)*")


class Upkeep:
    """Asks servers over SSH; the store is asked on threads."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    async def log_files(self, server_id: str) -> list[str]:
        """The names of the server's log files, below ``LOGS``."""
        said = await ssh.run(await self._login(server_id), ["find", LOGS, "-xdev", "-type", "f", "-printf", r"%P\n"])
        if said.code and not said.out:
            return []  # There is no such directory before the first role.
        names = said.out.decode(errors="replace").splitlines()
        return sorted(each for each in names if _NAME.fullmatch(each))[:MOST_FILES]

    async def log(self, server_id: str, file: str, *, size: int = 65536) -> list[str]:
        """The last lines of a log file, at most ``size`` bytes of them; ``NotFound`` if there is no such file."""
        if not _NAME.fullmatch(file) or not 0 < size <= MOST_BYTES:
            raise InvalidArgument(f"{file!r} is no log file", hint="a name as the list of them has it")
        command = ["find", LOGS, "-xdev", "-type", "f", "-path", f"{LOGS}/{file}", "-printf", "found\\n",
                   "-exec", "tail", "-c", str(size), "{}", ";"]  # fmt: skip
        said = await ssh.run(await self._login(server_id), command, limit=MOST_BYTES + 1000)
        head, _, rest = said.out.partition(b"\n")
        if head != b"found":
            raise NotFound(f"server {server_id} has no log file {file!r}", hint=f"there are those below {LOGS}")
        return rest.decode(errors="replace").splitlines()

    async def boot(self, server_id: str) -> str:
        """What names the server's present boot; another one after a restart."""
        said = await ssh.run(await self._login(server_id), ["cat", "/proc/sys/kernel/random/boot_id"])
        return said.out.decode(errors="replace").strip()

    async def restart(self, actor: Actor, server_id: str) -> str:
        """Ask the server to restart; returns what ``boot`` says before. ``InvalidState`` while a run is on it."""
        login = await self._login(server_id, idle=True)
        before = await self.boot(server_id)
        said = await ssh.run(login, ["sh", "-c", RESTART])
        if said.code:
            raise InvalidState(f"server {server_id} does not restart: {said.err or f'exit code {said.code}'}")
        await asyncio.to_thread(self._note, actor, server_id)
        return before

    def _note(self, actor: Actor, server_id: str) -> None:
        with self._store.writing() as session:
            audit(session, actor, "restart", kind="server", object_id=server_id)

    async def _login(self, server_id: str, *, idle: bool = False) -> ssh.Login:
        return await asyncio.to_thread(self._read, server_id, idle)

    def _read(self, server_id: str, idle: bool) -> ssh.Login:
        with self._store.reading() as session:
            row = found(session, Server, server_id)
            if idle and row.state in (ServerState.PROVISIONING, ServerState.REMOVING):
                raise InvalidState(f"server {server_id} is {row.state}", hint="wait for its run, or cancel it")
            opened = self._vault.open(session, dict(row.attributes))
            return ssh.Login(
                server_id, row.ip_address, row.ssh_port, row.ssh_user, row.host_key,
                password=str(opened.get("password") or ""), private_key=str(opened.get("ssh_private_key") or ""),
            )  # fmt: skip
