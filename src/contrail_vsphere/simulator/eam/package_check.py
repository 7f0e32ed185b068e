"""Comparing a package with its manifest, for an EAM that does so (``eam.checks_manifest``)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin, urlsplit

from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.simulator.eam.fetch import Fetcher, FetchError
from contrail_vsphere.wire.ovf.descriptor import Descriptor
from contrail_vsphere.wire.ovf.manifest import parse_manifest


async def compare(fetcher: Fetcher, url: str, descriptor: Descriptor, trust: Any) -> None:
    """PackageError where a file differs from the manifest; a package without one is taken as it is."""
    try:
        manifest = parse_manifest(await fetcher.read(f"{url.removesuffix('.ovf')}.mf", trust))
    except FetchError as error:
        if error.status == 404:
            return
        raise
    own = urlsplit(url).path.rpartition("/")[2]
    for name in (own, *(file.href for file in descriptor.files)):
        known = manifest.of(name)
        if known is None:
            raise PackageError(f"the manifest does not name {name}", hint="write a line for each file")
        if await fetcher.digest(urljoin(url, name), known.algorithm.lower(), trust) != known.hex:
            raise PackageError(f"{name} is not what the manifest says", hint="publish package and manifest together")
