"""Publishing: the HTTPS server from which EAM, vCenter and the ESXi hosts fetch the packages.

EAM tells versions apart by URL and fetches again at every deployment, years later too, so a URL always gives the same
bytes for as long as an agency may refer to it.
"""

from __future__ import annotations

from contrail_vsphere.contrailvm.publish.probe import ProbeResult, probe
from contrail_vsphere.contrailvm.publish.server import FileCount, Publisher
from contrail_vsphere.contrailvm.publish.store import PackageStore

__all__ = ["FileCount", "PackageStore", "ProbeResult", "Publisher", "probe"]
