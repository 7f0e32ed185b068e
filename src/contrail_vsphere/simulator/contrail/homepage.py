"""``GET /``: the list of everything the API server serves; clients build their URLs from it."""

from __future__ import annotations

import json

from contrail_vsphere.simulator.contrail.context import Site
from contrail_vsphere.wire.contrail.schema import ROOT, resources_by_name

_ACTIONS = (
    ("prop-collection-get", "GET", "/prop-collection-get"),
    ("prop-collection-update", "POST", "/prop-collection-update"),
    ("ref-update", "POST", "/ref-update"),
    ("ref-relax-for-delete", "POST", "/ref-relax-for-delete"),
    ("name-to-id", "POST", "/fqname-to-id"),
    ("id-to-name", "POST", "/id-to-fqname"),
    ("useragent-keyvalue", "POST", "/useragent-kv"),
    ("database-check", "POST", "/db-check"),
    ("list-bulk-collection", "POST", "/list-bulk-collection"),
    ("obj-perms", "GET", "/obj-perms"),
    ("chown", "POST", "/chown"),
    ("chmod", "POST", "/chmod"),
    ("aaa-mode", "PUT", "/aaa-mode"),
    ("execute-job", "POST", "/execute-job"),
    ("virtual-network-ip-alloc", "POST", "/virtual-network/%s/ip-alloc"),
    ("virtual-network-ip-free", "POST", "/virtual-network/%s/ip-free"),
    ("virtual-network-subnet-ip-count", "POST", "/virtual-network/%s/subnet-ip-count"),
    ("set-tag", "POST", "/set-tag"),
)
"""Those that are served here; real servers have a few more."""


def homepage(site: Site) -> str:
    """The answer."""
    base = site.base_url
    links = [_link(f"{base}/documentation/index.html", "documentation", "documentation", "GET")]
    links.append(_link(f"{base}/{ROOT}", ROOT, "root", None))
    for kind in resources_by_name().values():
        links.append(_link(f"{base}/{kind.plural}", kind.name, "collection", None))
        links.append(_link(f"{base}/{kind.name}", kind.name, "resource-base", None))
    links += [_link(base + path, name, "action", method) for name, method, path in _ACTIONS]
    return json.dumps({"href": base, "links": links})


def _link(href: str, name: str, rel: str, method: str | None) -> dict[str, dict[str, str | None]]:
    return {"link": {"href": href, "name": name, "rel": rel, "method": method}}
