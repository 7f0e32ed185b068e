"""Stand-ins for Contrail's images: busybox, a program that reads ``<role>.conf`` and opens the role's ports.

They are ``docker save`` archives as Contrail ships them, one per role, and they are honest where it counts: a service
whose file is missing, or says another port, behaves accordingly.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Final

from contrail_vsphere.servermanager.catalogue import Role

BUSYBOX: Final = Path("/bin/busybox")

# $1 the file, $2 kind of answer, $3 port, $4 section and $5 option that may say another port.
SERVICE: Final = """\
#!/bin/sh
file=$1 kind=$2 port=$3 section=$4 option=$5
[ -r "$file" ] || { echo "cannot read $file" >&2; exit 1; }
said=$(/bin/busybox awk \\
    -F ' *= *' -v s="[$section]" -v o="$option" '/^\\[/ { here = $0 } here == s && $1 == o { print $2 }' "$file")
[ -z "$said" ] || port=$said
trap 'kill $!; exit 0' TERM
case $kind in
    http) /bin/busybox mkdir -p /www; echo "$file" > /www/index.html; /bin/busybox httpd -f -p "$port" -h /www & ;;
    tcp) /bin/busybox nc -ll -p "$port" -e /bin/busybox true & ;;
    *) /bin/busybox sleep 1000000 & ;;
esac
wait $!
"""


def archive(role: Role, *, version: str, busybox: Path = BUSYBOX) -> bytes:
    """The image of one role; ``version`` only makes images differ."""
    name = role.files[0].name
    section, _, option = role.health.option.partition(".")
    command = ["/service", f"{role.config_dir}/{name}", role.health.kind, str(role.health.port), section, option]
    base = _tar({"bin/busybox": (busybox.read_bytes(), 0o755), "bin/sh": ("busybox", 0o777)})
    own = _tar({"service": (SERVICE.encode(), 0o755), "etc/release": (f"{role.role} {version}\n".encode(), 0o644)})
    layers = [base, own]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": command, "Labels": {"contrail.role": role.role, "contrail.version": version}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_sha(layer)}" for layer in layers]},
        "history": [{"created_by": "contrail-vsphere demo"} for _ in layers],
    }
    text = json.dumps(config).encode()
    files: dict[str, tuple[bytes | str, int]] = {f"{_sha(layer)}/layer.tar": (layer, 0o644) for layer in layers}
    files[f"{_sha(text)}.json"] = (text, 0o644)
    manifest = [
        {"Config": f"{_sha(text)}.json", "RepoTags": [], "Layers": [f"{_sha(each)}/layer.tar" for each in layers]}
    ]
    return _tar({"manifest.json": (json.dumps(manifest).encode(), 0o644), **files})


def _tar(files: dict[str, tuple[bytes | str, int]]) -> bytes:
    """``name -> (content, mode)``; a text instead of bytes is the target of a symbolic link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, (content, mode) in files.items():
            member = tarfile.TarInfo(name)
            member.mode = mode
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                made.addfile(member)
            else:
                member.size = len(content)
                made.addfile(member, io.BytesIO(content))
    return out.getvalue()


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
