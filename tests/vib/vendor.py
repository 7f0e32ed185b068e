"""An offline bundle as a vendor ships it, down to the VIBs' ar archives; every part can be made wrong."""

from __future__ import annotations

import hashlib
import io
import zipfile


def ar(members: dict[str, bytes]) -> bytes:
    out = b"!<arch>\n"
    for name, data in members.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return out


def descriptor(
    *, name="contrail-tool", version="1.0-1", level="community", maintenance=False, live=True, depends="", payloads=()
) -> str:
    items = "".join(
        f'<payload name="{each}" type="vgz" size="{len(data)}"><checksum checksum-type="sha-256">'
        f"{hashlib.sha256(data).hexdigest()}</checksum></payload>"
        for each, data in payloads
    )
    needed = f'<depends><constraint name="{depends}"/></depends>' if depends else ""
    return (
        f'<vib version="5.0"><type>bootbank</type><name>{name}</name><version>{version}</version><vendor>Acme</vendor>'
        f"<summary>{name}</summary><release-date>2026-01-02T03:04:05+00:00</release-date>"
        f"<relationships>{needed}</relationships>"
        f"<system-requires><maintenance-mode>{str(maintenance).lower()}</maintenance-mode></system-requires>"
        f"<acceptance-level>{level}</acceptance-level><live-install-allowed>{str(live).lower()}</live-install-allowed>"
        f"<live-remove-allowed>true</live-remove-allowed><payloads>{items}</payloads></vib>"
    )


def vib(*, payload=b"payload", signature=b"", stated=None, stray=False, **fields) -> bytes:
    text = descriptor(payloads=(("tool", payload if stated is None else stated),), **fields)
    members = {"descriptor.xml": text.encode(), "sig.pkcs7": signature, "tool": payload}
    return ar({**members, "stray": b"x"} if stray else members)


def bundle(*vibs: bytes, fields=({},), leave_out=(), metadata_level="", bulletin=True) -> bytes:
    """``fields``: what the metadata say of each VIB, in the same order."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        if bulletin:
            archive.writestr("bulletins/b.xml", "<bulletin><id>ACME-1</id></bulletin>")
        for number, (data, each) in enumerate(zip(vibs, fields, strict=True)):
            name, version = each.get("name", "contrail-tool"), each.get("version", "1.0-1")
            changed = {**each, "level": metadata_level} if metadata_level else each
            digest = hashlib.sha256(data).hexdigest()
            place = (
                f"<relative-path>vib20/{name}/{name}-{version}.vib</relative-path>"
                f"<checksum><checksum-type>sha-256</checksum-type><checksum>{digest}</checksum></checksum></vib>"
            )
            archive.writestr(f"vibs/v{number}.xml", descriptor(**changed).replace("</vib>", place))
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as archive:
        files = {"index.xml": b"<vendorList/>", "vendor-index.xml": b"<metaList/>", "metadata.zip": inner.getvalue()}
        for name, data in files.items():
            if name not in leave_out:
                archive.writestr(name, data)
        for data, each in zip(vibs, fields, strict=True):
            name, version = each.get("name", "contrail-tool"), each.get("version", "1.0-1")
            archive.writestr(f"vib20/{name}/{name}-{version}.vib", data)
    return outer.getvalue()


def whole(**fields) -> bytes:
    """One VIB, everything right."""
    signature = b"pkcs7" if fields.get("level", "community") != "community" else b""
    return bundle(vib(signature=signature, **fields), fields=(fields,))
