"""Client of a Docker Registry (HTTP API V2): blobs and manifests, over TLS, with basic or token authentication.

Blobs go up in pieces; a piece that fails is asked about and continued, not begun anew. What the registry has already is
not sent. A registry's own errors are translated here; several of them answer with success codes or plain text when
things are wrong, so what was pushed is asked for again at the end.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from yarl import URL

from contrail_vsphere.model.errors import (
    AuthenticationFailed,
    Busy,
    InvalidArgument,
    NoPermission,
    NotFound,
    OutOfResources,
    ProtocolError,
    RefusedError,
    TransientError,
    Unreachable,
    Untrusted,
)
from contrail_vsphere.pki.secrets import Secret
from contrail_vsphere.servermanager.archive import DOCKER_MANIFEST, Blob, ContainerImage

PIECE: Final = 8 * 2**20
"""Bytes per request of an upload."""
TRIES: Final = 5
"""How often one piece is tried before the push gives up; each failure waits longer."""

_MANIFESTS: Final = f"{DOCKER_MANIFEST}, application/vnd.oci.image.manifest.v1+json"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=300, sock_connect=10, sock_read=60)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')

Progress = Callable[[int, bool], None]
"""Bytes that are done, and whether they really went over the wire."""


class Registry:
    """One registry; ``address`` is ``HOST:PORT``. ``tls`` None speaks plain HTTP: only an explicit setting may."""

    def __init__(
        self,
        address: str,
        *,
        tls: ssl.SSLContext | None,
        username: str = "",
        password: Secret | None = None,
        piece: int = PIECE,
        pause: float = 0.5,
    ) -> None:
        self.address = address
        self._base = URL(f"{'https' if tls else 'http'}://{address}")
        self._tls = tls
        self._username = username
        self._password = password or Secret("")
        self._piece = piece
        self._pause = pause
        self._bearer: dict[str, Secret] = {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Registry:
        connector = aiohttp.TCPConnector(ssl=self._tls if self._tls is not None else True, limit=8)
        self._session = aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ping(self) -> None:
        """Raises unless it is there, trusted, and takes our credentials."""
        async with self._call("GET", self._base / "v2/", scope=""):
            pass

    async def digest(self, name: str, reference: str) -> str | None:
        """The digest of a manifest by tag or digest; None if it has none."""
        try:
            headers = {"Accept": _MANIFESTS}
            async with self._call(
                "HEAD", self._url(name, "manifests", reference), scope=name, headers=headers
            ) as answer:
                return answer.headers.get("Docker-Content-Digest")
        except NotFound:
            return None

    async def push(self, name: str, tag: str, image: ContainerImage, *, progress: Progress) -> str:
        """Put an image under a name and tag; returns the manifest's digest."""
        for blob in image.blobs:
            if await self._has_blob(name, blob.digest):
                progress(blob.size, False)
            else:
                await self._push_blob(name, blob, progress)
        manifest = image.manifest()
        expected = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        url = self._url(name, "manifests", tag)
        async with self._call("PUT", url, scope=name, data=manifest, headers={"Content-Type": DOCKER_MANIFEST}):
            pass
        found = await self.digest(name, tag)
        if found != expected:
            raise ProtocolError(f"registry {self.address} stored {name}:{tag} as {found}, not as {expected}")
        return expected

    async def delete(self, name: str, digest: str) -> bool:
        """Delete a manifest, and with it all its tags; False if it was not there."""
        try:
            async with self._call("DELETE", self._url(name, "manifests", digest), scope=name):
                return True
        except NotFound:
            return False

    # -- blobs ----------------------------------------------------------------------------------------------------

    async def _has_blob(self, name: str, digest: str) -> bool:
        try:
            async with self._call("HEAD", self._url(name, "blobs", digest), scope=name):
                return True
        except NotFound:
            return False

    async def _push_blob(self, name: str, blob: Blob, progress: Progress) -> None:
        place, broke = await self._send(name, blob, progress)
        try:
            await self._commit(name, place, blob)
        except InvalidArgument:
            if not broke:
                raise
            # The registry said how far it was while it was still writing what came before the line broke.
            place, _ = await self._send(name, blob, lambda _count, _wire: None)
            await self._commit(name, place, blob)

    async def _commit(self, name: str, place: URL, blob: Blob) -> None:
        async with self._call("PUT", place.update_query(digest=blob.digest), scope=name):
            pass

    async def _send(self, name: str, blob: Blob, progress: Progress) -> tuple[URL, bool]:
        """Every byte, in pieces; where the upload stands, and whether the line broke on the way."""
        place = await self._begin(name)
        done = 0
        failures = 0
        while done < blob.size:
            piece = await asyncio.to_thread(_read_piece, blob, done, self._piece)
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{done}-{done + len(piece) - 1}",
            }
            try:
                async with self._call("PATCH", place, scope=name, data=piece, headers=headers) as answer:
                    place = self._place(answer)
                reached = done + len(piece)
            except TransientError:
                failures += 1
                if failures >= TRIES:
                    raise
                await asyncio.sleep(self._pause * 2**failures)
                place, reached = await self._where(name, place)
            if reached > done:
                progress(reached - done, True)
            done = reached
        return place, failures > 0

    async def _begin(self, name: str) -> URL:
        async with self._call("POST", self._base / f"v2/{name}/blobs/uploads/", scope=name) as answer:
            return self._place(answer)

    async def _where(self, name: str, place: URL) -> tuple[URL, int]:
        """How far the registry is with an upload; one it forgot begins anew."""
        try:
            async with self._call("GET", place, scope=name) as answer:
                last = answer.headers.get("Range", "0-0").rpartition("-")[2]
                # "0-0" means nothing yet as well as one byte; one byte sent twice would be refused, so begin anew.
                if int(last) > 0:
                    return self._place(answer), int(last) + 1
        except NotFound:
            pass
        return await self._begin(name), 0

    def _place(self, answer: aiohttp.ClientResponse) -> URL:
        """Where an upload continues; on the registry itself, or our credentials would go elsewhere."""
        place = self._base.join(URL(answer.headers.get("Location", ""), encoded=True))
        if place.origin() != self._base.origin():
            raise ProtocolError(f"registry {self.address} sends us to {place.origin()}")
        return place

    def _url(self, name: str, kind: str, reference: str) -> URL:
        return self._base / f"v2/{name}/{kind}/{reference}"

    # -- one request ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _call(
        self, method: str, url: URL, *, scope: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request, once more with a token where the registry asks for one; ``scope`` is the repository."""
        if self._session is None:
            raise RuntimeError("the registry client is not open")
        actions = "delete" if method == "DELETE" else "pull,push"
        for attempt in (1, 2):
            sent = {**(headers or {}), **self._authorization(scope)}
            try:
                async with self._session.request(
                    method,
                    url,
                    data=io.BytesIO(data) if data else None,
                    headers=sent,
                    allow_redirects=method in ("GET", "HEAD"),
                ) as answer:
                    challenge = answer.headers.get("WWW-Authenticate", "")
                    if answer.status == 401 and attempt == 1 and challenge.lower().startswith("bearer"):
                        await self._fetch_token(challenge, scope, actions)
                        continue
                    if answer.status >= 400:
                        raise await self._refusal(answer)
                    yield answer
                    return
            except aiohttp.ClientConnectorCertificateError as error:
                raise Untrusted(
                    f"registry {self.address} shows a certificate we do not trust", hint="set registry.ca_file"
                ) from error
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise Unreachable(
                    f"registry {self.address} does not answer: {error or type(error).__name__}",
                    hint="check that it runs, and registry.address",
                ) from error

    def _authorization(self, scope: str) -> dict[str, str]:
        if scope in self._bearer:
            return {"Authorization": f"Bearer {self._bearer[scope].reveal()}"}
        return self._basic()

    def _basic(self) -> dict[str, str]:
        if not self._username:
            return {}
        pair = f"{self._username}:{self._password.reveal()}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}

    async def _fetch_token(self, challenge: str, scope: str, actions: str) -> None:
        """Token authentication: ask the realm that the challenge names."""
        said = dict(_CHALLENGE.findall(challenge))
        realm = URL(said.get("realm", ""))
        if realm.scheme != "https" and realm.origin() != self._base.origin():
            raise ProtocolError(f"registry {self.address} asks us to send credentials in the clear to {realm}")
        query = {"service": said.get("service", "")}
        if scope:
            query["scope"] = f"repository:{scope}:{actions}"
        if self._session is None:
            raise RuntimeError("the registry client is not open")
        async with self._session.get(realm.update_query(query), headers=self._basic(), allow_redirects=False) as answer:
            if answer.status != 200:
                raise AuthenticationFailed(f"{realm.host} gives no token: HTTP {answer.status}", hint=_CREDENTIALS)
            document = await answer.json(content_type=None)
        token = document.get("token") or document.get("access_token") if isinstance(document, dict) else None
        if not isinstance(token, str):
            raise ProtocolError(f"{realm.host} answers without a token")
        self._bearer[scope] = Secret(token)

    async def _refusal(self, answer: aiohttp.ClientResponse) -> Exception:
        code, words = await _said(answer)
        where = f"registry {self.address}"
        match answer.status:
            case 401:
                return AuthenticationFailed(f"{where} does not know us", hint=_CREDENTIALS)
            case 403:
                return NoPermission(f"{where} forbids it: {words}")
            case 404:
                return NotFound(f"{where}: {words}")
            case 405 if code == "UNSUPPORTED":
                return RefusedError(f"{where} does not delete", hint="set storage.delete.enabled in its configuration")
            case 413 | 507:
                return OutOfResources(f"{where} takes no more: {words}")
            case 429:
                return Busy(f"{where} is busy")
            case status if status >= 500 and "no space left" in words:
                return OutOfResources(f"{where} has a full disk")
            case status if status >= 500:
                return Busy(f"{where} fails with HTTP {status}: {words}")
            case status:
                return InvalidArgument(f"{where} refuses with HTTP {status}: {words}")


_CREDENTIALS: Final = "set registry.username and registry.password_file"


async def _said(answer: aiohttp.ClientResponse) -> tuple[str, str]:
    """Code and words of the first error in the body, of whatever form it is."""
    raw = await answer.content.read(4096)
    text = raw.decode(errors="replace")
    try:
        body: Any = json.loads(text)
        first = body["errors"][0]
        return str(first.get("code", "")), f"{first.get('message', '')} {first.get('detail') or ''}".strip()
    except (ValueError, LookupError, TypeError, AttributeError):
        return "", " ".join(text.split())[:200] or answer.reason or "no reason given"


def _read_piece(blob: Blob, offset: int, size: int) -> bytes:
    with blob.path.open("rb") as file:
        file.seek(offset)
        return file.read(size)
