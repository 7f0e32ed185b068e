"""Looks at a server before anything is done to it: does SSH answer, and with the host key that is pinned.

The key is taken once, when the server is added, and from then on every run holds the server to it. A key that changed
is told and never taken by itself: it is another machine, or somebody in between.
"""

from __future__ import annotations

import asyncio
import shutil
from typing import Final

from contrail_vsphere.model.errors import InvalidState, SettingsError, Unreachable
from contrail_vsphere.servermanager.objects import found
from contrail_vsphere.servermanager.records import Actor, audit, move
from contrail_vsphere.servermanager.states import ServerState
from contrail_vsphere.servermanager.store import Store
from contrail_vsphere.servermanager.tables import Server

SCAN_TIMEOUT: Final = 5
"""Seconds."""
KINDS: Final = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "ssh-rsa")
"""Of the keys a host shows, the first of these is pinned."""


async def host_key(address: str, port: int) -> str:
    """The host key, as ``TYPE BASE64``; ``Unreachable`` if nothing like SSH answers in time."""
    if shutil.which("ssh-keyscan") is None:
        raise SettingsError("ssh-keyscan is not installed", hint="apt-get install openssh-client")
    process = await asyncio.create_subprocess_exec(
        "ssh-keyscan", "-T", str(SCAN_TIMEOUT), "-p", str(port), "--", address,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        out, _ = await asyncio.wait_for(process.communicate(), SCAN_TIMEOUT * 4)
    except TimeoutError:
        process.kill()
        await process.wait()
        out = b""
    keys = {}
    for line in out.decode(errors="replace").splitlines():
        words = line.split()
        if len(words) == 3 and not line.startswith("#"):
            keys[words[1]] = f"{words[1]} {words[2]}"
    for kind in KINDS:
        if kind in keys:
            return keys[kind]
    raise Unreachable(f"SSH does not answer on {address} port {port}", hint="check the address and that sshd runs")


async def check_server(store: Store, actor: Actor, server_id: str) -> str:
    """Reach a server, pin its key or hold it to the pinned one; returns the key.

    The server's state becomes ``checked`` or ``unreachable``. ``InvalidState`` if it shows another key than before.
    """
    address, port, pinned = await asyncio.to_thread(_where, store, server_id)
    try:
        key = await host_key(address, port)
    except Unreachable as error:
        await asyncio.to_thread(_note, store, actor, server_id, reason=error.message)
        raise
    if pinned and key != pinned:
        reason = "it shows another SSH host key than the one pinned"
        await asyncio.to_thread(_note, store, actor, server_id, reason=reason)
        raise InvalidState(
            f"server {server_id}: {reason}", hint="if it was installed anew, set its host_key to null and check again"
        )
    await asyncio.to_thread(_note, store, actor, server_id, key=key, reason="SSH answers, host key pinned")
    return key


def _where(store: Store, server_id: str) -> tuple[str, int, str]:
    with store.reading() as session:
        row = found(session, Server, server_id)
        return row.ip_address, row.ssh_port, row.host_key


def _note(store: Store, actor: Actor, server_id: str, *, reason: str, key: str = "") -> None:
    with store.writing() as session:
        row = found(session, Server, server_id)
        if key and not row.host_key:
            row.host_key = key
            audit(session, actor, "pin", kind="server", object_id=server_id, detail={"host_key": key})
        idle = (ServerState.ADDED, ServerState.CHECKED, ServerState.UNREACHABLE)
        if row.state in idle:
            move(session, actor, row, ServerState.CHECKED if key else ServerState.UNREACHABLE, reason=reason)
