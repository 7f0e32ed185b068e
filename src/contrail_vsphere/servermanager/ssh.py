"""One command on a server over SSH, for what is no provisioning: reading logs, restarting it.

The same rules as for runs: the server is held to its pinned host key, neither the operator's nor the machine's ssh
settings apply, and a key or password is never in a command line or the environment: it lies in a private directory as
long as the command runs.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import join
from typing import Final

from contrail_vsphere.model.errors import InvalidState, OutOfResources, SettingsError, Unreachable
from contrail_vsphere.pki.secrets import write_private

CONNECT_TIMEOUT: Final = 5
"""Seconds until a server that does not answer counts as unreachable."""
FAILED: Final = 255
"""What ssh itself ends with when it does not get as far as the command."""
_ASKPASS: Final = b'#!/bin/sh\nexec cat "${0%/*}/password"\n'


@dataclass(frozen=True, slots=True)
class Login:
    """Where a server is and who we are there."""

    server: str
    address: str
    port: int
    user: str
    host_key: str
    password: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Said:
    """What a command left."""

    code: int
    out: bytes
    err: str


async def run(login: Login, command: Sequence[str], *, timeout: float = 30.0, limit: int = 1_000_000) -> Said:
    """The command's end, as root; ``Unreachable`` if ssh does not get there.

    ``OutOfResources`` if it says more than ``limit`` bytes; ``timeout`` in seconds.
    """
    if shutil.which("ssh") is None:
        raise SettingsError("ssh is not installed", hint="apt-get install openssh-client")
    if not login.host_key:
        raise InvalidState(
            f"server {login.server}: its SSH host key is not pinned yet", hint=f"server-manager check {login.server}"
        )
    words = list(command) if login.user == "root" else ["sudo", "-n", "--", *command]
    with tempfile.TemporaryDirectory(prefix="sm-login-") as name:
        private = Path(name)
        options, environment = await asyncio.to_thread(_lay_out, login, private)
        process = await asyncio.create_subprocess_exec(
            "ssh", *options, "--", login.address, join(words), env=environment, limit=limit,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(timeout):
                out, err = await asyncio.gather(_read(process.stdout, limit), _read(process.stderr, 20_000))
                code = await process.wait()
        except TimeoutError as error:
            raise Unreachable(f"server {login.server}: no answer within {timeout:g} s", hint="try again") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    said = err.decode(errors="replace").strip()
    if code == FAILED:
        last = said.splitlines()[-1:] or ["ssh failed"]
        raise Unreachable(f"server {login.server}: {last[0]}", hint="check its address, key and that sshd runs")
    return Said(code, out, said)


async def _read(stream: asyncio.StreamReader | None, limit: int) -> bytes:
    if stream is None:
        return b""
    parts, size = [], 0
    while part := await stream.read(65536):
        parts.append(part)
        size += len(part)
        if size > limit:
            raise OutOfResources(f"the server said more than {limit:,} bytes", hint="ask for less")
    return b"".join(parts)


def _lay_out(login: Login, private: Path) -> tuple[list[str], dict[str, str]]:
    place = login.address if login.port == 22 else f"[{login.address}]:{login.port}"
    write_private(private / "known_hosts", f"{place} {login.host_key}\n".encode())
    options = [
        "-F", "/dev/null", "-p", str(login.port), "-l", login.user,
        "-o", f"UserKnownHostsFile={private / 'known_hosts'}",
        "-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes",
        "-o", f"ConnectTimeout={CONNECT_TIMEOUT}", "-o", "ServerAliveInterval=5", "-o", "NumberOfPasswordPrompts=1",
        "-o", "ForwardAgent=no", "-o", "IdentityAgent=none",
    ]  # fmt: skip
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
    if login.private_key:
        write_private(private / "key", login.private_key.rstrip("\n").encode() + b"\n")
        options += ["-i", str(private / "key"), "-o", "BatchMode=yes"]
    else:
        write_private(private / "password", login.password.encode())
        askpass = private / "askpass"
        askpass.write_bytes(_ASKPASS)
        askpass.chmod(0o700)
        environment |= {"SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
    return options, environment
