"""How far the simulator goes, as a table made from the code: every method of the API on objects that it has.

The documentation's page is printed from here, so it cannot promise what is not served.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from contrail_vsphere.simulator import eam, vcenter
from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.wire.soap.types import managed_class


@dataclass(frozen=True, slots=True)
class Served:
    """One method of one type. ``note`` says what it does not do."""

    namespace: str
    type: str
    method: str
    served: bool
    privilege: str
    note: str


def table() -> list[Served]:
    """All methods of all simulated types, served or not, by type and name."""
    found: dict[tuple[str, str, str], Served] = {}
    for kind in _entities():
        for name, privilege in _methods(managed_class(kind.wsdl, kind.namespace)):
            operation = kind.operations.get(name)
            row = Served(
                namespace=kind.namespace,
                type=kind.wsdl,
                method=name,
                served=operation is not None,
                privilege=(operation.privilege if operation is not None else "") or privilege,
                note=operation.note if operation is not None else "",
            )
            key = (row.namespace, row.type, row.method)
            if key not in found or row.served:
                found[key] = row
    return sorted(found.values(), key=lambda row: (row.namespace, row.type, row.method))


def markdown() -> str:
    """The table as a page."""
    lines = [
        "# What the simulated vCenter serves",
        "",
        "Methods that are not listed answer NotSupported, unknown names MethodNotFound. Generated from the code.",
        "",
        "| type | served | methods of the type | notes |",
        "|---|---|---|---|",
    ]
    rows = table()
    for kind in dict.fromkeys((row.namespace, row.type) for row in rows):
        of_kind = [row for row in rows if (row.namespace, row.type) == kind]
        served = [row for row in of_kind if row.served]
        if not served:
            continue
        notes = "; ".join(f"{row.method}: {row.note}" for row in served if row.note)
        names = ", ".join(row.method for row in served)
        lines.append(f"| {kind[1]} | {names} | {len(served)} of {len(of_kind)} | {notes} |")
    return "\n".join(lines) + "\n"


def _entities() -> Iterator[type[Entity]]:
    """Every simulated class that has a name on the wire; the modules that define them are loaded first."""
    for room in (eam, vcenter):
        for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            importlib.import_module(module.name)
    waiting = list(Entity.__subclasses__())
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        yield kind


def _methods(cls: Any) -> Iterator[tuple[str, str]]:
    for base in cls.__mro__:
        for info in vars(base).get("_methodInfo", {}).values():
            yield info.wsdlName, str(info.privId or "")
