"""Performs the first-boot program's effects inside a simulated guest: files in memory, TLS over real sockets.

The counterpart of ``contrailvm_guest.machine``: the same effects with the same failures, but asynchronous and on the
simulator's clock. Connections leave from the guest's own address, so the manager sees each guest where it really is.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from contrail_vsphere.simulator.core.clock import Clock
from contrailvm_guest.effects import (
    CertificateSpent,
    CreateRequest,
    Effect,
    EffectFailed,
    FetchAuthority,
    GenerateKey,
    Http,
    LinuxNic,
    ListNics,
    Log,
    Program,
    ReadFile,
    ReadOvfEnvironment,
    RemoveFile,
    Reply,
    RunService,
    SetOffload,
    Sleep,
    Unreachable,
    Untrusted,
    WriteFile,
)

R = TypeVar("R")

HTTP_TIMEOUT = 30.0


@dataclass(slots=True)
class Disk:
    """A guest's file system; lives and dies with the VM, not with its power state."""

    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    modes: dict[str, int] = field(default_factory=dict)

    def write(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Replace a file."""
        self.files[path] = content
        self.modes[path] = mode

    def remove(self, path: str) -> None:
        """Delete a file if it is there."""
        self.files.pop(path, None)
        self.modes.pop(path, None)

    def copy(self) -> Disk:
        """What a clone of the VM gets."""
        return Disk(dict(self.files), dict(self.modes))


@dataclass(slots=True)
class SimulatedMachine:
    """One boot of one guest. ``services`` and ``offloads`` show what the program asked the system for."""

    clock: Clock
    disk: Disk
    environment: bytes | None
    """As vSphere made it at this power-on."""
    nics: tuple[LinuxNic, ...]
    address: str = ""
    """Connections are made from here; any local address when empty."""
    step: float = 0.0
    """Simulated seconds that a slow step (network, key, service) takes."""
    services: dict[str, str] = field(default_factory=dict)
    """Unit -> the last verb."""
    offloads: set[tuple[str, str]] = field(default_factory=set)
    journal: list[str] = field(default_factory=list)

    async def perform(self, effect: Effect[Any]) -> Any:
        """Do it; EffectFailed when it cannot be done."""
        match effect:
            case ReadOvfEnvironment():
                return self.environment
            case ReadFile(path):
                return self.disk.files.get(path)
            case WriteFile(path, content, mode):
                return self.disk.write(path, content, mode)
            case RemoveFile(path):
                return self.disk.remove(path)
            case GenerateKey():
                await self.clock.sleep(self.step)
                key = ec.generate_private_key(ec.SECP256R1())
                return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            case CreateRequest(key_path, common_name):
                return _request(self.disk.files.get(key_path, b""), common_name)
            case CertificateSpent(path):
                return self._spent(path)
            case Http():
                return await self._http(effect)
            case FetchAuthority(url, most):
                return await self._exchange(_unverified(), "GET", url, b"", most)
            case ListNics():
                return self.nics
            case SetOffload(interface, feature):
                return self.offloads.add((interface, feature))
            case RunService(verb, unit):
                await self.clock.sleep(self.step)
                self.services[unit] = verb
                return None
            case Sleep(seconds):
                return await self.clock.sleep(seconds)
            case Log(text):
                return self.journal.append(text)
        raise TypeError(f"no such effect: {type(effect).__name__}")

    def _spent(self, path: str) -> float | None:
        if path not in self.disk.files:
            return None
        certificate = x509.load_pem_x509_certificate(self.disk.files[path])
        since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return (self.clock.now() - since) / (until - since)

    async def _http(self, request: Http) -> Reply:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_verify_locations(cadata=request.authority.decode("ascii"))
            if request.certificate_path:
                self._load(context, request.certificate_path, request.key_path)
        except (ssl.SSLError, ValueError, KeyError) as wrong:
            raise Untrusted(f"the stored certificates cannot be used: {type(wrong).__name__}") from wrong
        return await self._exchange(context, request.method, request.url, request.body, request.most)

    def _load(self, context: ssl.SSLContext, certificate: str, key: str) -> None:
        """OpenSSL takes a client certificate from a file only; the guest's disk is in memory."""
        with tempfile.NamedTemporaryFile(prefix="guest-", suffix=".pem") as file:
            Path(file.name).write_bytes(self.disk.files[certificate] + self.disk.files[key])
            context.load_cert_chain(file.name)

    async def _exchange(self, context: ssl.SSLContext, method: str, url: str, body: bytes, most: int) -> Reply:
        await self.clock.sleep(self.step)
        connector = aiohttp.TCPConnector(local_addr=(self.address, 0) if self.address else None, force_close=True)
        timeout = aiohttp.ClientTimeout(total=HTTP_TIMEOUT)
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.request(
                    method, url, data=body or None, headers=headers, ssl=context, allow_redirects=False
                ) as reply,
            ):
                content = await reply.content.read(most + 1)
                while len(content) <= most and (more := await reply.content.read(most + 1 - len(content))):
                    content += more
        except (aiohttp.ClientSSLError, ssl.SSLError) as wrong:
            raise Untrusted(f"TLS with {url} failed: {type(wrong).__name__}") from wrong
        except (aiohttp.ClientError, TimeoutError, OSError) as gone:
            raise Unreachable(f"{url} cannot be reached: {type(gone).__name__}") from gone
        if len(content) > most:
            raise EffectFailed(f"the answer of {url} is longer than {most} bytes")
        return Reply(reply.status, content)


async def drive(program: Program[R], perform: Callable[[Effect[Any]], Awaitable[Any]]) -> R:
    """``contrailvm_guest.effects.drive`` for a performer that is a coroutine function."""
    answer: Any = None
    failure: EffectFailed | None = None
    while True:
        try:
            effect = program.send(answer) if failure is None else program.throw(failure)
        except StopIteration as done:
            result: R = done.value
            return result
        answer, failure = None, None
        try:
            answer = await perform(effect)
        except EffectFailed as failed:
            failure = failed


def _request(key_pem: bytes, common_name: str) -> bytes:
    try:
        key = load_pem_private_key(key_pem, password=None)
    except ValueError as wrong:
        raise EffectFailed("openssl failed with 1: the key cannot be read") from wrong
    assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - this guest made it
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, SHA256()).public_bytes(Encoding.PEM)


def _unverified() -> ssl.SSLContext:
    """As in the real guest: for the CA certificate alone, whose digest the program knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
