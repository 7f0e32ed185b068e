"""What add image reads, and what it refuses."""

import gzip
import io
import tarfile
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_kit import bundle, docker_archive, oci_layout, tar

from contrail_vsphere.model.errors import InvalidArgument
from contrail_vsphere.servermanager.archive import Limits, read_archive


def read(tmp_path, content, *, name="contrail-controller-u16.04-4.1.tar", limits=None):
    path = tmp_path / name
    path.write_bytes(content)
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return read_archive(path, scratch, limits=limits)


@pytest.mark.parametrize(
    "content",
    [docker_archive("controller"), gzip.compress(docker_archive("controller")), oci_layout("controller"),
     oci_layout("controller", packed=True)],
    ids=["docker", "docker gz", "oci", "oci with packed layer"],
)  # fmt: skip
def test_every_form_is_read(tmp_path, content):
    (image,) = read(tmp_path, content)
    assert image.role_hint == "contrail-controller"
    assert image.config.digest in image.manifest().decode()
    assert all(blob.path.stat().st_size == blob.size for blob in image.blobs)


def test_a_bundle_gives_one_image_per_role_and_leaves_the_playbooks(tmp_path):
    images = read(tmp_path, bundle(["controller", "lb"]), name="contrail-cloud-docker_4.1.1.0-1-mitaka.tgz")
    assert [each.role_hint for each in images] == ["contrail-controller", "contrail-lb"]


def info(name, kind, **more):
    made = tarfile.TarInfo(name)
    made.type = kind
    for key, value in more.items():
        setattr(made, key, value)
    return made


def liar(size):
    """A header that announces more than follows."""
    made = tarfile.TarInfo("layer.tar")
    made.size = size
    return made.tobuf() + b"\0" * 2048


BAD = {
    "points outside": tar({"../../etc/passwd": b"x"}),
    "absolute": tar({"/etc/passwd": b"x"}),
    "link points": tar({"a": info("a", tarfile.SYMTYPE, linkname="../../../etc/shadow")}),
    "device": tar({"a": info("a", tarfile.CHRTYPE)}),
    "claims 10": liar(10 * 2**30),
    "neither": tar({"readme": b"x"}),
    "damaged or cut off": docker_archive("controller")[:3000],
    "damaged": gzip.compress(docker_archive("controller"))[:-200],
    "digest": docker_archive("controller", change=lambda m: m.update({next(k for k in m if "layer" in k): b"other"})),
    "not that of its name": docker_archive("lb", change=lambda m: m.update({next(iter(m)): b'{"rootfs": {}}'})),
    "the blob": oci_layout(
        "lb",
        change=lambda blobs, config: blobs.update(
            {name: content.replace(b"layers", b"Layers") for name, content in blobs.items() if content == config}
        ),
    ),
    "not there": docker_archive("lb", change=lambda m: m.pop(next(k for k in m if "layer" in k))),
    "exactly one": docker_archive("lb", change=lambda m: m.update({"manifest.json": b"[]"})),
    "several platforms": tar({"index.json": b'{"manifests": []}'}),
    "not JSON": docker_archive("lb", change=lambda m: m.update({"manifest.json": b"{"})),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_dishonest_archive_is_refused_with_its_reason(tmp_path, reason):
    words = {"absolute": "points outside", "several platforms": "exactly one"}.get(reason, reason)
    with pytest.raises(InvalidArgument, match=words):
        read(tmp_path, BAD[reason])


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path):
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb") as packed:
        packed.write(tar({"layer.tar": bytes(200 * 2**20)}))
    with pytest.raises(InvalidArgument, match=r"more than|claims"):
        read(tmp_path, out.getvalue(), limits=Limits(unpacked_bytes=50 * 2**20))
    written = sum(each.stat().st_size for each in (tmp_path / "scratch").rglob("*"))
    assert written <= 51 * 2**20


def test_layers_are_not_held_in_memory(tmp_path):
    content = docker_archive("controller", layers=[bytes(64 * 2**20)])
    path = tmp_path / "big.tar"
    path.write_bytes(content)
    del content
    (tmp_path / "scratch").mkdir()
    tracemalloc.start()
    read_archive(path, tmp_path / "scratch")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 2**20


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.floats(0, 1), byte=st.integers(0, 255), cut=st.booleans())
def test_whatever_is_damaged_ends_in_an_image_or_in_a_refusal(tmp_path_factory, position, byte, cut):
    content = bytearray(docker_archive("controller"))
    at = int(position * (len(content) - 1))
    content[at] = byte
    given_bytes = bytes(content[:at]) if cut else bytes(content)
    tmp_path = tmp_path_factory.mktemp("damaged")
    try:
        images = read(tmp_path, given_bytes)
    except InvalidArgument:
        return
    assert len(images) == 1
