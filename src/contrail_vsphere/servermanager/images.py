"""``add image``: from an archive to container images in the registry, pinned by digest; and their deletion.

An image's row is there from the first moment, in state ``adding``, so that nobody adds it twice; it becomes ``ready``
only when every role's manifest was seen in the registry. A job that dies leaves ``adding`` behind, and the next start
takes it up: what the registry has by then is not sent again.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from contrail_vsphere.model.errors import AlreadyExists, ContrailVsphereError, InvalidArgument, InvalidState, NotFound
from contrail_vsphere.servermanager import documents
from contrail_vsphere.servermanager.archive import ContainerImage, Limits, read_archive
from contrail_vsphere.servermanager.catalogue import Catalogue
from contrail_vsphere.servermanager.image_rows import shown_image, users_of
from contrail_vsphere.servermanager.names import Reference, Release, repository
from contrail_vsphere.servermanager.objects import found
from contrail_vsphere.servermanager.parameters import Findings
from contrail_vsphere.servermanager.records import SYSTEM, Actor, audit, born, move
from contrail_vsphere.servermanager.registry import Registry
from contrail_vsphere.servermanager.states import ImageState
from contrail_vsphere.servermanager.store import Store
from contrail_vsphere.servermanager.tables import Image, ImagePart

_LOG = logging.getLogger(__name__)

REPORT_BYTES: Final = 32 * 2**20
"""Progress is written whenever so many bytes are done, and at the end of each role."""

Registries = Callable[[], AbstractAsyncContextManager[Registry]]


class Images:
    """Jobs of images, one at a time: they are bound by disk and network, not by us."""

    def __init__(
        self,
        store: Store,
        *,
        catalogue: Catalogue,
        registries: Registries,
        address: str,
        scratch: Path,
        uploads: Path | None = None,
        limits: Limits | None = None,
        garbage: Callable[[], Awaitable[int]] | None = None,
    ) -> None:
        self._garbage = garbage
        self._store = store
        self._catalogue = catalogue
        self._registries = registries
        self._address = address
        self._scratch = scratch
        self._uploads = uploads
        self._limits = limits or Limits()
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()

    # -- asked by people; inside the caller's unit of work, on any thread ---------------------------------------------

    def register(self, session: Session, actor: Actor, document: Mapping[str, Any]) -> Image:
        """Check the document and write the row; ``begin`` starts the job once that is committed."""
        findings = Findings()
        documents.check_image(document, findings, path="$.image", catalogue=self._catalogue)
        documents.raise_problems(findings, f"image {document.get('id')}")
        row = session.get(Image, document["id"])
        if row is not None and row.state != ImageState.FAILED:
            raise AlreadyExists(
                f"image {row.id} is there and {row.state}", hint="an image is not changed: delete it and add it again"
            )
        if row is None:
            row = Image(id=document["id"], state=ImageState.ADDING, since=actor.at, reason="added")
            session.add(row)
            born(session, actor, row, reason="added")
        else:
            move(session, actor, row, ImageState.ADDING, reason="added again")
        row.category, row.type, row.release = document["category"], document["type"], document["version"]
        row.path, row.parameters = document.get("path") or "", dict(document.get("parameters") or {})
        row.parts = list(self._parts(document))
        audit(session, actor, "add", kind="image", object_id=row.id, detail=document)
        return row

    def same(self, session: Session, document: Mapping[str, Any]) -> Image | None:
        """The image that this document added before; None if there is none, it differs, or its job failed."""
        row = session.get(Image, str(document.get("id")))
        if row is None or row.state not in (ImageState.ADDING, ImageState.READY):
            return None
        given = {"path": "", "parameters": {}, **{key: value for key, value in document.items() if value is not None}}
        return row if given == {key: shown_image(row)[key] for key in documents.IMAGE_KEYS} else None

    def _parts(self, document: Mapping[str, Any]) -> Iterable[ImagePart]:
        release = Release.parse(document["version"])
        for each in (document.get("parameters") or {}).get("containers") or ():
            role = self._catalogue.role(each["role"]).role
            path = each.get("container_path") or ""
            place, tag = f"{self._address}/{repository(document['id'], role, release)}", release.version
            if path and not Path(path).is_absolute():
                foreign = Reference.parse(path)
                place, tag = f"{foreign.registry}/{foreign.name}", foreign.tag
            yield ImagePart(
                role=role, source=path, repository=place, tag=tag, digest="", total_bytes=0, done_bytes=0, sent_bytes=0
            )

    def mark_deleting(self, session: Session, actor: Actor, image_id: str) -> None:
        """``InvalidState`` while a cluster or server uses it."""
        row = found(session, Image, image_id)
        users = users_of(session, image_id)
        if users:
            raise InvalidState(
                f"image {image_id} is used by {', '.join(users[:5])}", hint="provision another one first"
            )
        if row.state != ImageState.DELETING:
            move(session, actor, row, ImageState.DELETING, reason="deleted")
            audit(session, actor, "delete", kind="image", object_id=image_id)

    async def collect_garbage(self) -> int:
        """Free the layers that no image needs any more, between two jobs; returns the bytes."""
        if self._garbage is None:
            raise InvalidState("the registry is not Server Manager's own", hint="collect garbage where it runs")
        async with self._turn:
            return await self._garbage()

    # -- jobs, on the loop ----------------------------------------------------------------------------------------

    async def resume(self) -> list[str]:
        """Take up what a former process left; returns the images. Scratch of dead jobs is removed."""
        await asyncio.to_thread(shutil.rmtree, self._scratch, True)
        await asyncio.to_thread(self._scratch.mkdir, 0o700, True, True)
        left = await asyncio.to_thread(self._unfinished)
        await asyncio.to_thread(self._drop_uploads_but, left)
        for image_id in left:
            self.begin(image_id)
        return left

    def begin(self, image_id: str) -> None:
        """Start the job that the row's state asks for; what was under way for another state ends."""
        before = self._jobs.get(image_id)
        if before is not None:
            before.cancel()
        self._jobs[image_id] = asyncio.create_task(self._job(image_id), name=f"image {image_id}")

    async def settled(self, image_id: str) -> None:
        """Wait for the end of the image's job, if there is one."""
        if image_id in self._jobs:
            await asyncio.wait({self._jobs[image_id]})

    async def stop(self) -> None:
        """End all jobs; their rows stay as they are, for ``resume``."""
        jobs = [job for job in self._jobs.values() if not job.done()]
        for job in jobs:
            job.cancel()
        if jobs:
            await asyncio.wait(jobs)

    async def _job(self, image_id: str) -> None:
        async with self._turn:
            state = await asyncio.to_thread(self._state, image_id)
            work = {ImageState.ADDING: self._add, ImageState.DELETING: self._delete}.get(state) if state else None
            if work is None:
                return
            try:
                await work(image_id)
            except ContrailVsphereError as error:
                _LOG.warning("image %s: %s", image_id, error)
                await asyncio.to_thread(self._fail, image_id, str(error))
                await asyncio.to_thread(self._drop_uploads_of, image_id)
            except Exception as error:  # noqa: BLE001
                # A job that ends without a state would leave its image "adding" for ever.
                _LOG.exception("image %s", image_id)
                await asyncio.to_thread(self._fail, image_id, f"{type(error).__name__}: {error}")

    async def _add(self, image_id: str) -> None:
        wanted = await asyncio.to_thread(self._sources, image_id)
        async with self._registries() as registry:
            await registry.ping()
            if wanted.bundle:
                await self._push_file(registry, image_id, Path(wanted.bundle), wanted)
            for role, source in wanted.parts.items():
                if not source:
                    await self._expect(registry, image_id, role)
                elif Path(source).is_absolute():
                    await self._push_file(registry, image_id, Path(source), wanted, role=role)
        await asyncio.to_thread(self._finish, image_id)
        await asyncio.to_thread(self._drop_uploads_of, image_id)

    async def _push_file(
        self, registry: Registry, image_id: str, path: Path, wanted: _Wanted, *, role: str = ""
    ) -> None:
        """Unpack, check and push one archive; all of a bundle, or the one image that ``role`` names."""
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix="image-", ignore_cleanup_errors=True) as scratch:
            images = await asyncio.to_thread(read_archive, path, Path(scratch), limits=self._limits)
            if role and len(images) != 1:
                raise InvalidArgument(f"{path.name} holds {len(images)} images; one is expected for {role}")
            named = self._roles_of(images, role)
            if not role:
                await asyncio.to_thread(self._set_parts, image_id, wanted.release, named)
            for name, image in named.items():
                await self._push(registry, image_id, name, image, wanted.release)

    def _roles_of(self, images: Iterable[ContainerImage], role: str) -> dict[str, ContainerImage]:
        named: dict[str, ContainerImage] = {}
        for image in images:
            found_role = self._catalogue.role(role or image.role_hint).role
            if found_role in named:
                raise InvalidArgument(f"the bundle holds two images of the role {found_role}")
            named[found_role] = image
        return named

    async def _push(
        self, registry: Registry, image_id: str, role: str, image: ContainerImage, release: Release
    ) -> None:
        done = sent = reported = 0
        report: list[tuple[int, int]] = []

        def progress(count: int, wire: bool) -> None:
            nonlocal done, sent, reported
            done += count
            sent += count if wire else 0
            if done - reported >= REPORT_BYTES:
                reported = done
                report.append((done, sent))

        async def reporter() -> None:
            while True:
                await asyncio.sleep(1)
                if report:
                    await asyncio.to_thread(self._report, image_id, role, image.size, *report[-1])
                    report.clear()

        await asyncio.to_thread(self._report, image_id, role, image.size, 0, 0)
        teller = asyncio.create_task(reporter())
        try:
            digest = await registry.push(repository(image_id, role, release), release.version, image, progress=progress)
        finally:
            teller.cancel()
        await asyncio.to_thread(self._report, image_id, role, image.size, done, sent, digest)
        _LOG.info("image %s: %s pushed, %d of %d bytes over the wire", image_id, role, sent, done)

    async def _expect(self, registry: Registry, image_id: str, role: str) -> None:
        """An image without archive must be in our registry already."""
        place, tag = await asyncio.to_thread(self._place, image_id, role)
        name = place.removeprefix(f"{registry.address}/")
        digest = await registry.digest(name, tag)
        if digest is None:
            raise NotFound(f"{place}:{tag} is not in the registry", hint="push it there, or give container_path")
        await asyncio.to_thread(self._report, image_id, role, 0, 0, 0, digest)

    async def _delete(self, image_id: str) -> None:
        places = await asyncio.to_thread(self._own_places, image_id)
        async with self._registries() as registry:
            for name, digest in places:
                await registry.delete(name, digest)
        await asyncio.to_thread(self._forget, image_id)

    def _drop_uploads_but(self, images: Iterable[str]) -> None:
        """Delete uploaded archives that none of these images still needs."""
        if self._uploads is None or not self._uploads.is_dir():
            return
        with self._store.reading() as session:
            needed = {path for each in images for path in _archives(found(session, Image, each))}
        for place in self._uploads.iterdir():
            if not any(place in path.parents for path in needed):
                shutil.rmtree(place, ignore_errors=True)

    def _drop_uploads_of(self, image_id: str) -> None:
        """The archive of an image that is ready is in the registry now."""
        with self._store.reading() as session:
            row = session.get(Image, image_id)
            archives = _archives(row) if row is not None else []
        for path in archives:
            if self._uploads is not None and self._uploads in path.parents:
                shutil.rmtree(path.parent, ignore_errors=True)

    # -- short units of work, on threads --------------------------------------------------------------------------

    def _actor(self) -> Actor:
        return Actor(SYSTEM, self._store.now())

    def _unfinished(self) -> list[str]:
        with self._store.reading() as session:
            states = [ImageState.ADDING, ImageState.DELETING]
            return list(session.scalars(select(Image.id).where(Image.state.in_(states))))

    def _state(self, image_id: str) -> ImageState | None:
        with self._store.reading() as session:
            row = session.get(Image, image_id)
            return ImageState(row.state) if row is not None else None

    def _sources(self, image_id: str) -> _Wanted:
        with self._store.reading() as session:
            row = found(session, Image, image_id)
            given = (row.parameters or {}).get("containers")
            parts = {part.role: part.source for part in row.parts} if given else {}
            return _Wanted(Release.parse(row.release), "" if given else row.path, parts)

    def _place(self, image_id: str, role: str) -> tuple[str, str]:
        with self._store.reading() as session:
            part = session.get_one(ImagePart, (image_id, role))
            return part.repository, part.tag

    def _set_parts(self, image_id: str, release: Release, named: Mapping[str, ContainerImage]) -> None:
        with self._store.writing() as session:
            row = found(session, Image, image_id)
            known = {part.role for part in row.parts}
            for role in named:
                if role not in known:
                    place = f"{self._address}/{repository(image_id, role, release)}"
                    row.parts.append(
                        ImagePart(
                            role=role, source="", repository=place, tag=release.version, digest="",
                            total_bytes=0, done_bytes=0, sent_bytes=0,
                        )
                    )  # fmt: skip

    def _report(self, image_id: str, role: str, total: int, done: int, sent: int, digest: str = "") -> None:  # noqa: PLR0917
        with self._store.writing() as session:
            part = session.get_one(ImagePart, (image_id, role))
            part.total_bytes, part.done_bytes, part.sent_bytes = total, done, sent
            part.digest = digest or part.digest

    def _finish(self, image_id: str) -> None:
        with self._store.writing() as session:
            row = found(session, Image, image_id)
            move(session, self._actor(), row, ImageState.READY, reason=f"{len(row.parts)} roles in the registry")

    def _fail(self, image_id: str, reason: str) -> None:
        with self._store.writing() as session:
            row = session.get(Image, image_id)
            if row is not None:
                move(session, self._actor(), row, ImageState.FAILED, reason=reason)

    def _own_places(self, image_id: str) -> list[tuple[str, str]]:
        """Name and digest of what lies in our registry for this image and for no other."""
        with self._store.reading() as session:
            rows = session.scalars(select(ImagePart).where(ImagePart.image_id == image_id)).all()
            return [
                (part.repository.removeprefix(f"{self._address}/"), part.digest)
                for part in rows
                if part.digest and part.repository.startswith(f"{self._address}/")
            ]

    def _forget(self, image_id: str) -> None:
        with self._store.writing() as session:
            session.delete(found(session, Image, image_id))


@dataclass(frozen=True, slots=True)
class _Wanted:
    release: Release
    bundle: str
    """Path of the bundle; empty if the parts have sources of their own."""
    parts: Mapping[str, str]
    """Role -> source."""


def _archives(image: Image) -> list[Path]:
    return [Path(text) for text in (image.path, *(part.source for part in image.parts)) if text.startswith("/")]
