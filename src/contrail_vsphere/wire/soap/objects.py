"""Single values and objects outside of any call: files that ``govc object.save`` writes, and values kept as text.

Go's encoder calls the schema-instance prefix ``XMLSchema-instance`` and leaves out the namespace of vSphere; both are
fine here, since prefixes are resolved and names are matched without their namespace.
"""

from __future__ import annotations

from typing import Any

from contrail_vsphere.model.errors import ProtocolError
from contrail_vsphere.wire.soap.decode import _Document
from contrail_vsphere.wire.soap.encode import encode_property
from contrail_vsphere.wire.soap.metadata import VERSIONS, VIM
from contrail_vsphere.wire.soap.shapes import ANY, Field, Table, level, shape_of
from contrail_vsphere.wire.soap.types import vmodl

MAX_OBJECT = 256 << 20

_NAMESPACES = 'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
_CONTENT = Table({"ObjectContent": Field("content", shape_of(vmodl.query.PropertyCollector.ObjectContent))})
_VALUE = Table({"value": Field("value", level({"val": Field("val", ANY)}))})


class ObjectDecoder(_Document):
    """Feed it an ``<ObjectContent>`` document, then ``close``."""

    def __init__(self, *, limit: int = MAX_OBJECT) -> None:
        super().__init__(_CONTENT, limit=limit)

    def close(self) -> Any:
        """The ObjectContent. Raises ProtocolError when the document is something else, or not whole."""
        self._finish()
        content = self.found.get("content")
        if content is None or content.obj is None:
            raise ProtocolError("the document is no ObjectContent")
        return content


class _ValueDecoder(_Document):
    def close(self) -> Any:
        self._finish()
        return getattr(self.found.get("value"), "val", None)


def value_to_text(value: Any, namespace: str = VIM) -> str:
    """A data object as XML; ``value_from_text`` reads it."""
    return encode_property(object, value, version=VERSIONS[namespace].newest, namespace=namespace)


def value_from_text(text: str, namespace: str = VIM) -> Any:
    """The value that ``value_to_text`` wrote. Raises ProtocolError for anything broken."""
    decoder = _ValueDecoder(_VALUE, limit=MAX_OBJECT)
    decoder.home = namespace
    decoder.feed(f'<value xmlns="{namespace}" {_NAMESPACES}>{text}</value>'.encode())
    return decoder.close()
