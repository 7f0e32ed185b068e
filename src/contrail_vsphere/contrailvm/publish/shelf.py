"""How EAM is offered a package: published, probed as EAM would fetch it, every property filled in."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable, Mapping

from contrail_vsphere.contrailvm.desired import BundleRef, Desired, PackageFacts, PackageRef, agency_name
from contrail_vsphere.contrailvm.observed import PackageOffer
from contrail_vsphere.contrailvm.package import Package
from contrail_vsphere.contrailvm.package.bundle import downgrades
from contrail_vsphere.contrailvm.publish import Publisher
from contrail_vsphere.model.errors import RefusedError, TransientError, UsageError


class Shelf:
    """The published packages. ``manager_url`` is what guests are told, ``ca_pem`` what they trust there."""

    def __init__(
        self, publisher: Publisher, *, solution_id: str, manager_url: Callable[[], str], ca_pem: Callable[[], str]
    ) -> None:
        self._publisher = publisher
        self._solution_id = solution_id
        self._manager_url = manager_url
        self._ca_pem = ca_pem

    @property
    def packages(self) -> tuple[Package, ...]:
        """All, by version."""
        return tuple(sorted(self._publisher.store.packages.values(), key=lambda each: (each.version, each.digest)))

    def find(self, wanted: str) -> PackageFacts | None:
        """By version, or by the beginning of its digest (12 digits or more); None for none, or more than one."""
        found = [each for each in self.packages if each.version == wanted]
        if not found and len(wanted) >= 12:
            found = [each for each in self.packages if each.digest.startswith(wanted)]
        if len(found) != 1:
            return None
        package = found[0]
        return PackageFacts(
            ref=PackageRef(package.version, package.digest),
            roles=tuple(role for role, _network in package.nic_roles),
            sizes=_sizes(package),
            disk_bytes=_disk_bytes(package),
            hardware=package.descriptor.virtual_system_types,
            url=self._publisher.url(package.digest),
        )

    def by_url(self) -> Mapping[str, Package]:
        """All, by the address of their descriptor."""
        return {self._publisher.url(each.digest): each for each in self.packages}

    def version_at(self, url: str) -> str:
        """The version of the package whose descriptor is at ``url``; empty for a URL that is not ours."""
        return next((each.version for each in self.packages if self._publisher.url(each.digest) == url), "")

    async def probe(self, url: str) -> None:
        """Fetch as EAM would; raises what it would find wrong."""
        await self._publisher.probe(url)

    async def fetchable(self, package: PackageFacts) -> str:
        """Why EAM could not fetch a package now; empty when it could."""
        try:
            await self._publisher.probe(package.url)
        except (RefusedError, TransientError, UsageError) as error:
            return f"package {package.ref.version} cannot be fetched at {package.url}: {error}"
        return ""

    @property
    def warning(self) -> str:
        """What is wrong with how packages go out, as long as it is so; empty for nothing."""
        if self._publisher.identity is not None:
            return ""
        return (
            f"packages are published over plain HTTP ({self._publisher.base_url}): whoever is in between can change "
            "what becomes the vRouter of every host; turn plain_http off once vCenter is 8.0 U2 or later"
        )

    def find_bundle(self, wanted: str) -> BundleRef | None:
        """A published offline bundle by the words of a deployment."""
        found = self._publisher.bundles.find(wanted)
        return BundleRef(f"{found.name} {found.version}", found.digest) if found is not None else None

    def older_vibs(self, before: BundleRef, after: BundleRef) -> tuple[str, ...]:
        """VIBs that ``after`` has in an older version than ``before``, as far as both are published."""
        bundles = self._publisher.bundles.bundles
        old, new = bundles.get(before.digest), bundles.get(after.digest)
        return downgrades(old, new) if old is not None and new is not None else ()

    async def offer(self, desired: Desired) -> PackageOffer:
        """The wanted package as EAM is to get it; what is wrong is in ``problem``."""
        version, digest = desired.package.version, desired.package.digest
        package = self._publisher.store.packages.get(digest)
        if package is None:
            problem = f"package {version} ({digest[:12]}) is not published here any more; publish it again"
            return PackageOffer(version=version, digest=digest, url="", reachable=False, problem=problem)
        url, problem, vib_url = self._publisher.url(digest), "", ""
        if desired.vib is not None:
            if desired.vib.digest not in self._publisher.bundles.bundles:
                problem = f"bundle {desired.vib.name} is not published here any more; publish it again"
                return PackageOffer(version=version, digest=digest, url="", reachable=False, problem=problem)
            vib_url = self._publisher.bundle_url(desired.vib.digest)
        try:
            await self._publisher.probe(url)
        except (RefusedError, TransientError, UsageError) as error:
            problem = str(error)
        return PackageOffer(
            version=version,
            digest=digest,
            url=url,
            pem=self._publisher.certificate_pem,
            properties=self._properties(package, desired),
            disk_bytes=_disk_bytes(package),
            sizes=_sizes(package),
            vib_url=vib_url,
            reachable=not problem,
            problem=problem,
        )

    def _properties(self, package: Package, desired: Desired) -> tuple[tuple[str, str], ...]:
        """EAM wants every user-configurable property; those that differ from VM to VM are set in the hook."""
        level = desired.guest.log_level
        values = {
            "manager_url": self._manager_url(),
            "manager_ca_sha256": hashlib.sha256(ssl.PEM_cert_to_DER_cert(self._ca_pem())).hexdigest(),
            "agency_id": agency_name(self._solution_id, desired.key),
            "http_proxy": desired.guest.http_proxy,
            "log_level": "info" if level == "notice" else level,
            "bootstrap_token": "",
        }
        return tuple(
            (each.id, values.get(each.key, each.default_for(desired.size)))
            for each in package.descriptor.properties
            if each.user_configurable
        )


def _sizes(package: Package) -> tuple[str, ...]:
    return tuple(option.id for option in package.descriptor.options)


def _disk_bytes(package: Package) -> int:
    return sum(disk.capacity for disk in package.descriptor.disks)
