"""The publishing server: nothing but the files of published packages, at URLs that never change their meaning.

What fetches here is old and simple: no redirects, no chunks, no compression, no authentication, always an exact length.
Requests are answered from a table of known paths, so there is no path that leads anywhere else.

Bodies are written in pieces and wait for the reader. TLS is made in this process, where the kernel cannot send a file
by itself, and the thread pool that aiohttp's ``FileResponse`` reads with would break virtual time.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote

from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding

from contrail_vsphere.config.settings import Address
from contrail_vsphere.contrailvm.package.bundle import OfflineBundle
from contrail_vsphere.contrailvm.package.values import Package, PackageFile
from contrail_vsphere.contrailvm.publish.bundles import BundleStore, file_of, path_of
from contrail_vsphere.contrailvm.publish.conditions import Answer, answer
from contrail_vsphere.contrailvm.publish.probe import ProbeResult, check_identity, probe
from contrail_vsphere.contrailvm.publish.store import PackageStore
from contrail_vsphere.model.errors import NotFound, SettingsError
from contrail_vsphere.pki.identity import Identity
from contrail_vsphere.pki.pins import pinned_context

CHUNK: Final = 1 << 18
STALL: Final = 60.0
"""Seconds a reader may take for one piece before the connection is dropped."""
QUEUE: Final = 30.0
"""Seconds a download waits for its turn before it is sent away with 503."""
_TYPES: Final = {".ovf": "text/xml", ".mf": "text/plain", ".cert": "text/plain"}
_HEADERS: Final = {
    "Server": "contrail-vsphere",
    "Accept-Ranges": "bytes",
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
}
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class FileCount:
    """What became of one published file: whole downloads, answered ranges, bytes sent, transfers broken off."""

    downloads: int = 0
    ranges: int = 0
    bytes: int = 0
    aborted: int = 0


class Publisher:
    """Serves the packages in ``data_dir`` over TLS at ``listen``, known to others as ``advertised_url``.

    Without ``advertised_url`` it is the address it binds. ``tls`` may be None for old vCenters that need plain HTTP.
    ``now`` (aware UTC) lets probes say that the certificate has expired.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        listen: Address,
        tls: Identity | None,
        advertised_url: str = "",
        most_downloads: int = 64,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self.store = PackageStore(data_dir)
        self.bundles = BundleStore(data_dir.with_name(f"{data_dir.name}-vib"))
        self.counts: dict[str, FileCount] = {}
        """By path; kept when a package is retired, so that metrics never go backwards."""
        self.active = 0
        """Downloads under way."""
        self._listen = listen
        self._identity = tls
        self._next: Identity | None = None
        self._context: ssl.SSLContext | None = None
        self._advertised = advertised_url.rstrip("/")
        self._turns = asyncio.Semaphore(most_downloads)
        self._served: dict[str, PackageFile] = {}
        self._runner: web.AppRunner | None = None
        self._now = now

    async def start(self) -> None:
        """Take stock of what was published before, then listen; SettingsError where that cannot be."""
        self.store.load()
        self.bundles.load()
        for digest, reason in (self.store.damaged | self.bundles.damaged).items():
            _log.error("published package %s is not served: %s", digest[:12], reason)
        if self._identity is None:
            _log.warning("%s: packages go out over plain HTTP, and whoever is in between can change them", self._listen)
        self._route()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=75, shutdown_timeout=5)
        await self._runner.setup()
        self._context = self._identity.server_context() if self._identity is not None else None
        site = web.TCPSite(
            self._runner, self._listen.host, self._listen.port, ssl_context=self._context, reuse_address=True
        )
        try:
            await site.start()
        except OSError as error:
            await self.stop()
            raise SettingsError(
                f"publish.listen {self._listen}: {error.strerror}", hint="choose an address and port that are free here"
            ) from error

    async def stop(self) -> None:
        """Stop listening; downloads under way have five seconds."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def address(self) -> Address:
        """Where it listens."""
        if self._runner is None or not self._runner.addresses:
            return self._listen
        host, port, *_ = self._runner.addresses[0]
        return Address(host, port)

    @property
    def base_url(self) -> str:
        """What every URL here begins with."""
        scheme = "http" if self._identity is None else "https"
        return self._advertised or f"{scheme}://{self.address}"

    @property
    def certificate_pem(self) -> str:
        """The certificate that EAM is to pin: the one presented now; empty on plain HTTP.

        Not the staged one: EAM fetches the package before it takes a new pin, and would refuse what is presented.
        """
        return self.certificates[0] if self._identity is not None else ""

    @property
    def certificates(self) -> tuple[str, ...]:
        """The certificate presented now, then the staged one, as PEM."""
        identities = [identity for identity in (self._identity, self._next) if identity is not None]
        return tuple(identity.certificate.public_bytes(Encoding.PEM).decode() for identity in identities)

    def stage(self, identity: Identity) -> None:
        """Take a certificate to be presented from :meth:`switch` on, at a moment when EAM fetches nothing."""
        if self._identity is None:
            raise SettingsError("this publisher serves plain HTTP", hint="it has no certificate to change")
        self._next = identity

    @property
    def identity(self) -> Identity | None:
        """What is presented now; None on plain HTTP."""
        return self._identity

    @property
    def staged(self) -> bool:
        """Whether another certificate waits for its moment."""
        return self._next is not None

    def switch(self) -> None:
        """Present the staged certificate to new connections; those that are open stay."""
        if self._next is not None:
            if self._context is not None:
                self._next.present_in(self._context)
            self._identity, self._next = self._next, None

    def reload(self) -> None:
        """Serve also what another process (``contrailvm package publish``) put into the data directory."""
        self.store.load()
        self.bundles.load()
        self._route()

    def publish_bundle(self, bundle: OfflineBundle) -> str:
        """Import a verified offline bundle and serve it; returns its URL. Safe to repeat."""
        stored = self.bundles.add(bundle)
        self._route()
        return self.bundle_url(stored.digest)

    def bundle_url(self, digest: str) -> str:
        """The URL as EAM is to have it; NotFound for a bundle that is not published."""
        bundle = self.bundles.bundles.get(digest)
        if bundle is None:
            raise NotFound(f"no published bundle has the digest {digest[:12]}", hint="publish it first")
        return self.base_url + quote(path_of(bundle))

    async def publish(self, package: Package) -> str:
        """Import a verified package and serve it; returns the URL of its descriptor. Safe to repeat."""
        stored = await self.store.add(package)
        self._route()
        return self.url(stored.digest)

    def url(self, digest: str) -> str:
        """The descriptor's URL as EAM is to have it; NotFound for a package that is not published."""
        package = self.store.packages.get(digest)
        if package is None:
            raise NotFound(f"no published package has the digest {digest[:12]}", hint="publish it first")
        return self.base_url + quote(_path(package, package.descriptor_name))

    def retire(self, unreferenced: Collection[str]) -> tuple[str, ...]:
        """Delete packages by digest; the caller knows that no agency and no EsxAgent refers to them."""
        gone = self.store.remove(unreferenced)
        self._route()
        return gone

    async def probe(self, url: str, *, deadline: float = 20.0) -> ProbeResult:
        """Fetch a published package's descriptor, and ask for every file of it, through the advertised URL.

        Trusts the certificate presented now and nothing else, as EAM does. UrlRefused says what a client would find
        wrong; ``deadline`` is seconds for each request.
        """
        package = next((found for found in self.store.packages.values() if self.url(found.digest) == url), None)
        if package is None:
            raise NotFound(
                f"{url} is not one of the published packages", hint="publish it, or correct publish.advertise"
            )
        context: ssl.SSLContext | None = None
        if self._identity is not None:
            check_identity(self._identity.certificate, url, now=self._now() if self._now is not None else None)
            context = pinned_context(*(self._identity.thumbprint("sha256"),))
        return await probe(url, package, context=context, deadline=deadline)

    def _route(self) -> None:
        packages = self.store.packages.values()
        self._served = {_path(package, file.name): file for package in packages for file in package.files}
        self._served |= {path_of(each): file_of(each) for each in self.bundles.bundles.values()}
        for path in self._served:
            self.counts.setdefault(path, FileCount())

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.method not in {"GET", "HEAD"}:
            return _plain(405, "only GET and HEAD", {"Allow": "GET, HEAD"})
        file = self._served.get(request.path)
        if file is None:
            return _plain(404, "not published here")
        if damage := _damage(file):
            # A HEAD that promised what a GET cannot keep would blind every check before EAM is asked.
            _log.error("%s %s", file.container, damage)
            return _plain(503, "not readable at the moment", {"Retry-After": "10"})
        etag = f'"{file.sha256}"'
        found = answer(request.headers, method=request.method, size=file.size, etag=etag)
        response = web.StreamResponse(status=found.status, headers={**_HEADERS, "ETag": etag})
        if found.status == 304:
            await response.prepare(request)
            return response
        if found.status == 416:
            return _plain(416, "no such range", {"Content-Range": f"bytes */{file.size}", "ETag": etag})
        response.content_type = _TYPES.get(Path(file.name).suffix, "application/octet-stream")
        response.content_length = found.length
        if found.status == 206:
            response.headers["Content-Range"] = f"bytes {found.start}-{found.start + found.length - 1}/{file.size}"
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        return await self._send_in_turn(request, response, file, found)

    async def _send_in_turn(
        self, request: web.Request, response: web.StreamResponse, file: PackageFile, found: Answer
    ) -> web.StreamResponse:
        try:
            async with asyncio.timeout(QUEUE):
                await self._turns.acquire()
        except TimeoutError:
            return _plain(503, "too many downloads at once", {"Retry-After": "10"})
        self.active += 1
        try:
            return await self._send(request, response, file, found)
        finally:
            self.active -= 1
            self._turns.release()

    async def _send(
        self, request: web.Request, response: web.StreamResponse, file: PackageFile, found: Answer
    ) -> web.StreamResponse:
        count = self.counts[request.path]
        try:
            source = file.open()
        except OSError as error:
            _log.error("%s cannot be read: %s", file.container, error.strerror)
            return _plain(503, "not readable at the moment", {"Retry-After": "10"})
        try:
            with source:
                await response.prepare(request)
                source.seek(found.start)
                await _write(response, source, found.length, count)
        except (ConnectionError, asyncio.CancelledError) as error:
            count.aborted += 1
            if isinstance(error, asyncio.CancelledError):
                raise
            _log.warning("%s: transfer to %s broken off: %s", request.path, request.remote, error)
            if request.transport is not None:
                # The reader must see that bytes are missing; a graceful end would look like the end of the file.
                request.transport.abort()
            return response
        count.downloads += found.status == 200
        count.ranges += found.status == 206
        return response


def _damage(file: PackageFile) -> str:
    """What became of a stored file since it was published, as far as its directory entry tells; empty for nothing."""
    try:
        size = file.container.stat().st_size
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if size == file.offset + file.size else f"has {size} bytes, not {file.offset + file.size}"


async def _write(response: web.StreamResponse, source: BinaryIO, length: int, count: FileCount) -> None:
    left = length
    while left:
        data = source.read(min(CHUNK, left))
        if not data:
            raise ConnectionAbortedError("the file is shorter than it was published")
        try:
            async with asyncio.timeout(STALL):
                await response.write(data)
        except TimeoutError:
            raise ConnectionAbortedError(f"the reader stood still for {STALL:g} s") from None
        left -= len(data)
        count.bytes += len(data)
    await response.write_eof()


def _path(package: Package, name: str) -> str:
    return f"/ovf/{package.digest[:12]}/{package.version}/{name}"


def _plain(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=f"{text}\n", headers={"Server": "contrail-vsphere", **(headers or {})})
