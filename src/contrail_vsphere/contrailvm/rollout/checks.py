"""What would make an upgrade fail, found before EAM is asked: space, networks, virtual hardware. Pure.

EAM makes the new ContrailVM beside the old one, on every host of a cluster at once; a datastore that is too full for
that leaves the host with an issue and its old ContrailVM. The rest would end worse, so it is told before anything is
begun.
"""

from __future__ import annotations

import re
from collections import Counter

from contrail_vsphere.contrailvm.desired import Desired, PackageFacts
from contrail_vsphere.contrailvm.networks import missing_networks
from contrail_vsphere.contrailvm.observed import HostView, Observed
from contrail_vsphere.model.ids import DatastoreId

MARGIN = 1.1
"""Free space over what the new disks take at most."""

HARDWARE_SINCE = {
    13: (6, 5, 0), 14: (6, 7, 0), 15: (6, 7, 2), 17: (7, 0, 0), 18: (7, 0, 1), 19: (7, 0, 2), 20: (8, 0, 0),
    21: (8, 0, 2), 22: (9, 0, 0),
}  # fmt: skip
"""Virtual hardware version -> the ESXi release that first had it (VMware's compatibility table)."""


def upgrade_problems(desired: Desired, observed: Observed, package: PackageFacts) -> tuple[str, ...]:
    """Everything that speaks against giving the cluster that package; ``desired`` is as it would be then."""
    place = desired.cluster_name
    problems = [f"{place}: network {gone} is gone" for gone in missing_networks(desired, observed)]
    problems += misfits(desired, package)
    by_eam = observed.agency is None or observed.agency.backend == "eam"
    if desired.size and by_eam and not observed.features.sizes:
        problems.append(f"{place}: this vCenter's EAM has no word for sizes, they came with 8.0 U3; leave the size out")
    problems += _too_new(observed, package)
    problems += space_problems(desired, observed, disk_bytes=package.disk_bytes)
    return tuple(dict.fromkeys(problems))


def misfits(desired: Desired, package: PackageFacts) -> list[str]:
    """In what deployment and package do not fit together: such an upgrade cannot come true, however it is forced."""
    # A virtual function is no NIC of the package: it is added to the ContrailVM.
    roles = [nic.role for nic in desired.nics if not nic.sriov]
    problems = [
        f"package {package.ref.version} has a NIC for {role}, for which the deployment names no network"
        for role in package.roles
        if role not in roles
    ]
    problems += [
        f"package {package.ref.version} has no NIC for {role}, for which the deployment names a network"
        for role in roles
        if role not in package.roles
    ]
    if desired.size and desired.size not in package.sizes:
        problems.append(no_such_size(package.ref.version, desired.size, package.sizes))
    return problems


def no_such_size(version: str, size: str, sizes: tuple[str, ...]) -> str:
    """That a package has others, or none."""
    return f"package {version} has no size {size!r}; it has {', '.join(sizes) or 'none'}"


def space_problems(desired: Desired, observed: Observed, *, disk_bytes: int) -> tuple[str, ...]:
    """Datastores without room for a second ContrailVM per host that has one."""
    places = [_datastore(desired, view) for view in observed.hosts if view.vm is not None and not _is_second(view)]
    needed = Counter(place for place in places if place is not None)
    problems = []
    for place, number in sorted(needed.items()):
        store = observed.datastores.get(place)
        if store is None or not store.capacity:
            continue
        wanted = int(number * disk_bytes * MARGIN)
        if store.free < wanted:
            problems.append(
                f"datastore {store.name} has {_megabytes(store.free)} free; {number} new ContrailVMs beside the old "
                f"ones need {_megabytes(wanted)}"
            )
    return tuple(problems)


def _is_second(view: HostView) -> bool:
    """The second one is there already."""
    return view.hook is not None and view.agent is not None and view.hook.vm != view.agent.vm


def _datastore(desired: Desired, view: HostView) -> DatastoreId | None:
    """Where EAM puts the host's ContrailVM: the first of the agency's that the host has, or the host's own setting."""
    if desired.datastores:
        return next((each for each in desired.datastores if each in view.host.datastores), None)
    return view.host.agent_datastore


def _too_new(observed: Observed, package: PackageFacts) -> list[str]:
    versions = [int(found[1]) for each in package.hardware if (found := re.fullmatch(r"vmx-0*(\d+)", each))]
    since = HARDWARE_SINCE.get(min(versions)) if versions else None
    if since is None:
        return []
    return [
        f"{view.host.name} runs ESXi {view.host.version}; virtual hardware {package.hardware[0]} needs "
        f"{'.'.join(str(part) for part in since)}"
        for view in observed.hosts
        if view.host.version and _version(view.host.version) < since
    ]


def _version(text: str) -> tuple[int, int, int]:
    parts = [int(part) for part in re.findall(r"\d+", text)[:3]]
    first, second, third = (*parts, 0, 0, 0)[:3]
    return first, second, third


def _megabytes(number: int) -> str:
    return f"{number // 2**20} MB"
