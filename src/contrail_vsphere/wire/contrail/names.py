"""Names of Contrail's resource types: dashed in URLs and bodies, underscored in fields and messages, plural with ``s``.

The rule has no exceptions (``network-policys``, ``virtual-DNSs``), so nothing is looked up here.
"""

from __future__ import annotations

from collections.abc import Iterable

REFS, BACK_REFS = "_refs", "_back_refs"
SEPARATOR = ":"
"""Between the elements of a fully qualified name where it travels as one string."""


def dashed(name: str) -> str:
    """``virtual_network`` -> ``virtual-network``."""
    return name.replace("_", "-")


def underscored(name: str) -> str:
    """``virtual-network`` -> ``virtual_network``."""
    return name.replace("-", "_")


def plural(name: str) -> str:
    """``virtual-network`` -> ``virtual-networks``: the collection's name in URLs and in the answer's body."""
    return f"{name}s"


def ref_field(name: str) -> str:
    """``virtual-network`` -> ``virtual_network_refs``."""
    return underscored(name) + REFS


def back_ref_field(name: str) -> str:
    """``virtual-network`` -> ``virtual_network_back_refs``."""
    return underscored(name) + BACK_REFS


def child_field(name: str) -> str:
    """``virtual-network`` -> ``virtual_networks``."""
    return underscored(name) + "s"


def joined(fq_name: Iterable[str]) -> str:
    """A fully qualified name as one string; it cannot be split again safely, colons may be in all but the last part."""
    return SEPARATOR.join(fq_name)
