"""Properties of an object as the PropertyCollector sends them, from cached fragments."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.simulator.vcenter.fragments import Fragments, StaleFragmentError
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vmodl
from contrail_vsphere.wire.soap.values import Raw, build

log = logging.getLogger(__name__)


def contents(entity: Entity, paths: Iterable[str], version: str) -> Any:
    """An ObjectContent; unset properties are left out."""
    properties, missing = [], []
    for path in paths:
        value, failed = _value(entity, path, version)
        if value:
            properties.append(Raw(f"<propSet><name>{_escape(path)}</name>{value}</propSet>"))
        elif failed is not None:
            missing.append(failed)
    return build(vmodl.query.PropertyCollector.ObjectContent, obj=entity, propSet=properties, missingSet=missing)


def changes(entity: Entity, paths: Iterable[str], version: str, *, unset_too: bool) -> tuple[list[Raw], list[Any]]:
    """PropertyChanges and MissingProperties. With ``unset_too`` a property that is unset now is said to be so."""
    changed, missing = [], []
    for path in paths:
        value, failed = _value(entity, path, version)
        if value or (unset_too and failed is None):
            changed.append(change(path, "assign", value))
        elif failed is not None:
            missing.append(failed)
    return changed, missing


def change(path: str, operation: str, value: str) -> Raw:
    """A PropertyChange with that ``<val>`` element, or none."""
    return Raw(f"<changeSet><name>{_escape(path)}</name><op>{operation}</op>{value}</changeSet>")


def _escape(path: str) -> str:
    return path.replace("&", "&amp;").replace("<", "&lt;")


def _value(entity: Entity, path: str, version: str) -> tuple[str, Any]:
    """The ``<val>`` element, or what to say instead of it."""
    world = entity.world
    try:
        return world.service(Fragments).value(entity, path, version), None
    except StaleFragmentError:
        raise
    except Exception as error:  # one bad object must not cost the client the whole page
        if not isinstance(error, SoapFault):
            log.exception("%s cannot show its %s", entity.moid, path)
            world.defects.append(error)
        fault = error.fault if isinstance(error, SoapFault) else vmodl.fault.SystemError(reason="")
        return "", build(vmodl.query.PropertyCollector.MissingProperty, path=path, fault=fault)
