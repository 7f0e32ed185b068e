"""OVF packages of the ContrailVM: built from a disk and a description, and verified before anybody deploys them.

EAM itself looks at neither manifest nor signature, so what reaches it has been through :func:`verify` here. A package
is known by its digest, not by its version: two builds that differ in a byte are two packages.
"""

from __future__ import annotations

from contrail_vsphere.contrailvm.package.build import build
from contrail_vsphere.contrailvm.package.demonstration import make_demo_package
from contrail_vsphere.contrailvm.package.description import Description, load_description
from contrail_vsphere.contrailvm.package.values import Package, PackageFile
from contrail_vsphere.contrailvm.package.verify import verify

__all__ = [
    "Description",
    "Package",
    "PackageFile",
    "build",
    "load_description",
    "make_demo_package",
    "verify",
]
