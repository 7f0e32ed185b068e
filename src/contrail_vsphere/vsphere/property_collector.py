"""Specs for the PropertyCollector: which objects, reached how, and which of their properties."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from contrail_vsphere.wire.soap.metadata import Method, method_of
from contrail_vsphere.wire.soap.types import managed_class, vmodl
from contrail_vsphere.wire.soap.values import build

PC = vmodl.query.PropertyCollector

RETRIEVE: Method = method_of(PC, "RetrievePropertiesEx")
CONTINUE: Method = method_of(PC, "ContinueRetrievePropertiesEx")
CANCEL: Method = method_of(PC, "CancelRetrievePropertiesEx")
WAIT: Method = method_of(PC, "WaitForUpdatesEx")


def properties(paths: Mapping[str, Iterable[str]]) -> list[Any]:
    """One PropertySpec per type name."""
    return [
        build(PC.PropertySpec, type=managed_class(kind), all=False, pathSet=list(wanted))
        for kind, wanted in paths.items()
    ]


def of_view(view: Any, paths: Mapping[str, Iterable[str]]) -> Any:
    """A FilterSpec over all objects of a view, by type name the paths wanted."""
    members = build(PC.TraversalSpec, name="members", type=type(view), path="view", skip=False, selectSet=[])
    return build(
        PC.FilterSpec,
        propSet=properties(paths),
        objectSet=[build(PC.ObjectSpec, obj=view, skip=True, selectSet=[members])],
    )


def step(kind: Any, path: str, *further: Any) -> Any:
    """A TraversalSpec: from objects of a type on to those that a property of theirs names."""
    return build(PC.TraversalSpec, type=kind, path=path, skip=False, selectSet=list(further))


def of_objects(refs: Iterable[Any], paths: Mapping[str, Iterable[str]]) -> Any:
    """A FilterSpec over these objects; ones that are gone are left out of the answer, not an error."""
    return build(
        PC.FilterSpec,
        propSet=properties(paths),
        objectSet=[build(PC.ObjectSpec, obj=ref, skip=False) for ref in refs],
        reportMissingObjectsInResults=True,
    )


def wait_options(*, seconds: int, most: int = 1000) -> Any:
    """WaitOptions: at most that long, at most that many objects per answer."""
    return build(PC.WaitOptions, maxWaitSeconds=seconds, maxObjectUpdates=most)


def container_view_args(root: Any, kinds: Iterable[str]) -> dict[str, Any]:
    """Arguments of CreateContainerView."""
    return {"container": root, "type": [managed_class(kind) for kind in kinds], "recursive": True}
