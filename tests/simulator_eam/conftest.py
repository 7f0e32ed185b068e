"""Fixtures of this directory; what they are is in ``eam_site``."""

from eam_site import authority, depot, identity, make_site, switches, tls_depot

__all__ = ["authority", "depot", "identity", "make_site", "switches", "tls_depot"]
