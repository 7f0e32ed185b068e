"""Offline bundles as a vendor builds them, small."""

from __future__ import annotations

import hashlib
import io
import zipfile


def vib_xml(
    name="contrail-esx",
    version="1.0-1",
    *,
    level="partner",
    maintenance=False,
    live_install=True,
    live_remove=True,
    depends=(),
    conflicts=(),
    platform="",
    payload=b"payload",
    checksum="",
) -> str:
    """A descriptor; relations are (name, comparison, version)."""

    def constraints(kind, items):
        rows = "".join(f'<constraint name="{n}" relation="{c}" version="{v}"/>' for n, c, v in items)
        return f"<{kind}>{rows}</{kind}>"

    hardware = f'<hwplatform vendor="{platform}"/>' if platform else ""
    return f"""<vib version="5.0"><type>bootbank</type><name>{name}</name><version>{version}</version>
<vendor>Contrail</vendor><summary>{name}</summary><release-date>2026-01-02T03:04:05+00:00</release-date>
<relationships>{constraints("depends", depends)}{constraints("conflicts", conflicts)}</relationships>
<software-tags><tag>driver</tag></software-tags>
<system-requires><maintenance-mode>{str(maintenance).lower()}</maintenance-mode>{hardware}</system-requires>
<acceptance-level>{level}</acceptance-level><live-install-allowed>{str(live_install).lower()}</live-install-allowed>
<live-remove-allowed>{str(live_remove).lower()}</live-remove-allowed>
<relative-path>vib20/{name}/{name}-{version}.vib</relative-path>
<checksum><checksum-type>sha-256</checksum-type><checksum>{checksum or hashlib.sha256(payload).hexdigest()}</checksum>
</checksum></vib>"""


def bundle(*descriptors: str, payload=b"payload", leave_out_payload=False) -> bytes:
    """The zip, of these descriptors."""
    metadata = io.BytesIO()
    with zipfile.ZipFile(metadata, "w") as inner:
        inner.writestr("vmware.xml", "<metadataResponse/>")
        inner.writestr("bulletins/b.xml", "<bulletin><id>CONTRAIL-1</id></bulletin>")
        for number, descriptor in enumerate(descriptors):
            inner.writestr(f"vibs/v{number}.xml", descriptor)
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as outer:
        outer.writestr("index.xml", "<vendorList/>")
        outer.writestr("metadata.zip", metadata.getvalue())
        for descriptor in descriptors:
            path = descriptor.partition("<relative-path>")[2].partition("</relative-path>")[0]
            if path and not leave_out_payload:
                outer.writestr(path, payload)
    return whole.getvalue()
