"""Makes image archives, honest and dishonest, byte by byte."""

import gzip
import hashlib
import io
import json
import tarfile


def tar(members):
    """``members``: name -> bytes, or a ready TarInfo with its content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, tarfile.TarInfo):
                made.addfile(content)
                continue
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return out.getvalue()


def sha(content):
    return hashlib.sha256(content).hexdigest()


def docker_archive(role, *, layers=None, change=None):
    layers = layers if layers is not None else [tar({"etc/role": role.encode()}), tar({"bin/service": b"x" * 5000})]
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha(each)}" for each in layers]},
                         "config": {"Labels": {"contrail.role": role}}}).encode()  # fmt: skip
    members = {f"{sha(config)}.json": config}
    members.update({f"{sha(each)}/layer.tar": each for each in layers})
    entry = {"Config": f"{sha(config)}.json", "RepoTags": [], "Layers": [f"{sha(each)}/layer.tar" for each in layers]}
    members["manifest.json"] = json.dumps([entry]).encode()
    if change:
        change(members)
    return tar(members)


def oci_layout(role, *, packed=False, change=None):
    layer = tar({"etc/role": role.encode()})
    stored = gzip.compress(layer, mtime=0) if packed else layer
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha(layer)}"]}}).encode()

    def descriptor(content):
        return {"digest": f"sha256:{sha(content)}", "size": len(content), "mediaType": "x"}

    manifest = json.dumps({"schemaVersion": 2, "config": descriptor(config), "layers": [descriptor(stored)]}).encode()
    index = json.dumps({"manifests": [descriptor(manifest)]}).encode()
    blobs = {f"blobs/sha256/{sha(each)}": each for each in (config, stored, manifest)}
    if change:
        change(blobs, config)
    return tar({"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index, **blobs})


def bundle(roles, version="4.1.1.0-1"):
    inner = {f"contrail-{r}-u16.04-{version}.tar.gz": gzip.compress(docker_archive(r)) for r in roles}
    images = gzip.compress(tar(inner))
    ansible = gzip.compress(tar({"playbooks/site.yml": b"[]"}))
    return gzip.compress(tar({f"contrail-docker-images_{version}.tgz": images,
                              f"contrail-ansible-{version}.tar.gz": ansible}))  # fmt: skip
