"""Reading the same properties of very many objects, page by page.

Asks for pages of 1,000 and takes what it gets (vCenter cuts at 100 unless told otherwise), follows tokens to the end,
and holds one page at a time.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.vsphere import property_collector as pc
from contrail_vsphere.vsphere.errors import translate
from contrail_vsphere.vsphere.session import Session
from contrail_vsphere.vsphere.stream import Kind, Page, RecoveringStream, Row
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.metadata import Method
from contrail_vsphere.wire.soap.values import build

log = logging.getLogger(__name__)

PAGE = 1000
DEADLINE = 120.0
"""Seconds for one page."""


class PropertyReader:
    """Bulk reads over one session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def of_type(
        self, kind: str, paths: Mapping[str, Kind], *, root: Any = None, page: int = PAGE
    ) -> AsyncGenerator[list[Row], None]:
        """Pages of all objects of a type below ``root`` (default: everything)."""
        await self._session.ensure()
        content = self._session.content
        args = pc.container_view_args(root or content.rootFolder, [kind])
        view = await self._session.call(content.viewManager, "CreateContainerView", **args)
        try:
            async with aclosing(self._pages(pc.of_view(view, {kind: paths}), paths, page)) as pages:
                async for rows in pages:
                    yield rows
        finally:
            await self._dispose(view, "DestroyView")

    async def of_objects(
        self, refs: Sequence[Any], kind: str, paths: Mapping[str, Kind], *, page: int = PAGE
    ) -> AsyncGenerator[list[Row], None]:
        """Pages of these objects; those that no longer exist are left out.

        At most ``page`` of them travel in one request: vCenter refuses requests of too many elements.
        """
        await self._session.ensure()
        for at in range(0, len(refs), page):
            spec = pc.of_objects(refs[at : at + page], {kind: paths})
            async with aclosing(self._pages(spec, paths, page)) as pages:
                async for rows in pages:
                    yield rows

    async def all_of_type(self, kind: str, paths: Mapping[str, Kind], *, root: Any = None) -> list[Row]:
        """All of them at once."""
        return [row async for rows in self.of_type(kind, paths, root=root) for row in rows]

    async def _pages(self, spec: Any, paths: Mapping[str, Kind], most: int) -> AsyncGenerator[list[Row], None]:
        options = build(pc.PC.RetrieveOptions, maxObjects=most)
        page = await self._page(pc.RETRIEVE, {"specSet": [spec], "options": options}, paths)
        token = ""
        try:
            while True:
                token = page.token
                if page.rows:
                    yield page.rows
                if not token:
                    return
                used, token = token, ""
                page = await self._page(pc.CONTINUE, {"token": used}, paths)
        finally:
            if token:
                await self._cancel(token)

    async def _page(self, method: Method, args: Mapping[str, Any], paths: Mapping[str, Kind]) -> Page:
        sink = RecoveringStream(paths)
        collector = self._session.content.propertyCollector
        try:
            page: Page = await self._session.invoke(collector, method, args, deadline=DEADLINE, sink=sink)
        except SoapFault as fault:
            raise translate(fault, what=method.name) from fault
        if sink.recovered:
            log.warning("%s: an answer had characters that XML does not allow", self._session.transport.endpoint.name)
        return page

    async def _cancel(self, token: str) -> None:
        """Nobody wants the rest: the server need not keep it."""
        try:
            await self._session.invoke(self._session.content.propertyCollector, pc.CANCEL, {"token": token})
        except (SoapFault, ContrailVsphereError) as error:
            log.debug("retrieval not cancelled: %s", error)

    async def _dispose(self, ref: Any, method: str) -> None:
        try:
            await self._session.call(ref, method)
        except ContrailVsphereError as error:
            log.debug("%s: %s", method, error)


async def read_properties(session: Session, refs: Iterable[Any], *paths: str) -> dict[str, dict[str, Any]]:
    """Properties of a few objects of one type as pyVmomi values, by object id; unset ones are left out.

    Raises NotFound, NoPermission ... for what vCenter could not read.
    """
    listed = list(refs)
    if not listed:
        return {}
    await session.ensure()
    kind = type(listed[0])
    spec = build(
        pc.PC.FilterSpec,
        propSet=[build(pc.PC.PropertySpec, type=kind, all=False, pathSet=list(paths))],
        objectSet=[build(pc.PC.ObjectSpec, obj=ref, skip=False) for ref in listed],
    )
    found: dict[str, dict[str, Any]] = {}
    collector = session.content.propertyCollector
    result = await session.call(
        collector, "RetrievePropertiesEx", specSet=[spec], options=build(pc.PC.RetrieveOptions, maxObjects=PAGE)
    )
    while result is not None:
        for content in result.objects:
            for missing in content.missingSet:
                fault = SoapFault(missing.fault, missing.fault.msg or "")
                raise translate(fault, what=f"{missing.path} of {content.obj._moId}")
            found[content.obj._moId] = {prop.name: prop.val for prop in content.propSet}
        if not result.token:
            break
        result = await session.call(collector, "ContinueRetrievePropertiesEx", token=result.token)
    return found
