"""Disks of packages: what is written can be read, by us and by qemu; what is damaged is found."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contrail_vsphere.contrailvm.package.vmdk import (
    GRAIN,
    MEGABYTE,
    SECTOR,
    blocks,
    check,
    is_vmdk,
    read_info,
    write_vmdk,
)
from contrail_vsphere.model.errors import PackageError


def written(raw: bytes, **more) -> io.BytesIO:
    target = io.BytesIO()
    write_vmdk(io.BytesIO(raw), target, name="disk.vmdk", **more)
    return target


def restored(source) -> bytes:
    disk = bytearray(read_info(source).capacity)
    for offset, data in blocks(source):
        disk[offset : offset + len(data)] = data
    return bytes(disk)


def sparse(seed: int, grains: list[int], size: int) -> bytes:
    rng = random.Random(seed)
    raw = bytearray(size)
    for grain in grains:
        at = grain * GRAIN
        if at < size:
            data = rng.randbytes(rng.randrange(1, GRAIN))[: size - at]
            raw[at : at + len(data)] = data
    return bytes(raw)


@settings(max_examples=30, deadline=None)
@given(st.integers(), st.lists(st.integers(0, 60), max_size=8), st.integers(1, 4 * MEGABYTE))
def test_disks_round_trip(seed, grains, size):
    raw = sparse(seed, grains, size)
    target = written(raw)
    info = check(target)
    assert info.capacity == -(-size // MEGABYTE) * MEGABYTE
    assert restored(target) == raw.ljust(info.capacity, b"\0")
    assert len(target.getvalue()) % SECTOR == 0
    assert target.getvalue() == written(raw).getvalue()


def test_many_tables_and_holes_between_them():
    raw = sparse(1, [0, 511, 512, 1600], 130 * MEGABYTE)
    target = written(raw, capacity=200 * MEGABYTE)
    info = check(target)
    assert (info.capacity, info.grains) == (200 * MEGABYTE, 4)
    assert restored(target)[: len(raw)] == raw


def test_geometry_and_type_are_told():
    text = check(written(b"x" * 100)).descriptor
    assert 'createType="streamOptimized"' in text
    assert 'RW 2048 SPARSE "disk.vmdk"' in text
    assert 'ddb.geometry.cylinders = "1"' in text


@pytest.mark.parametrize(
    ("raw", "more", "complaint"), [(b"", {}, "is empty"), (b"xyz", {"capacity": 2}, "more than its capacity")]
)
def test_impossible_disks_are_refused(raw, more, complaint):
    with pytest.raises(PackageError, match=complaint):
        written(raw, **more)


def test_damage_is_found():
    good = written(sparse(2, [0, 3, 600], 40 * MEGABYTE)).getvalue()
    rng = random.Random(3)
    payload = [at for at in range(128 * SECTOR, len(good) - SECTOR) if good[at]]
    missed = []
    for at in [0, 77, *rng.sample(payload, 300)]:
        bad = bytearray(good)
        bad[at] ^= 1 << rng.randrange(8)
        try:
            check(io.BytesIO(bad))
        except PackageError:
            continue
        missed.append(at)
    # The footer repeats a few fields that nothing depends on (version, rgdOffset, overHead).
    assert all(at >= len(good) - 2 * SECTOR for at in missed), missed


@pytest.mark.parametrize("keep", [0, 3, 511, 5000, 70_000, -1024, -512, -1])
def test_truncation_is_found(keep):
    good = written(sparse(2, [0, 3], 2 * MEGABYTE)).getvalue()
    with pytest.raises(PackageError):
        check(io.BytesIO(good[:keep]))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_mutations_raise_nothing_but_package_errors(seed, count):
    rng = random.Random(seed)
    bad = bytearray(written(b"contrail" * 3000).getvalue())
    for _ in range(count):
        at = rng.choice([rng.randrange(SECTOR), rng.randrange(len(bad) - 8), len(bad) - rng.randrange(8, 5000)])
        bad[at : at + 8] = rng.choice([bytes(8), b"\xff" * 8, rng.randbytes(8), (2**40).to_bytes(8, "little")])
    with contextlib.suppress(PackageError):
        check(io.BytesIO(bad))


def test_noise_is_no_vmdk():
    assert not is_vmdk(io.BytesIO(b"QFI\xfb"))
    assert is_vmdk(written(b"x"))
    with pytest.raises(PackageError, match="not that of a VMDK"):
        check(io.BytesIO(bytes(2048)))


@pytest.fixture
def qemu_img():
    found = shutil.which("qemu-img")
    if found is None:
        pytest.skip("qemu-img is not installed (Debian package qemu-utils)")

    def run(*arguments) -> None:
        subprocess.run([found, *map(str, arguments)], check=True, timeout=60, capture_output=True)

    return run


def test_qemu_reads_what_we_write(qemu_img, tmp_path):
    raw = sparse(5, [0, 7, 511, 512, 900], 60 * MEGABYTE)
    with (tmp_path / "disk.vmdk").open("wb") as target:
        write_vmdk(io.BytesIO(raw), target, name="disk.vmdk")
    qemu_img("convert", "-f", "vmdk", "-O", "raw", tmp_path / "disk.vmdk", tmp_path / "disk.raw")
    assert (tmp_path / "disk.raw").read_bytes() == raw


def test_we_read_what_qemu_writes(qemu_img, tmp_path):
    raw = sparse(6, [0, 7, 511, 512], 40 * MEGABYTE)
    (tmp_path / "disk.raw").write_bytes(raw)
    target = tmp_path / "disk.vmdk"
    qemu_img("convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", tmp_path / "disk.raw", target)
    with target.open("rb") as source:
        assert check(source).capacity == len(raw)
        assert restored(source) == raw
    qemu_img("convert", "-f", "raw", "-O", "vmdk", tmp_path / "disk.raw", target)
    with target.open("rb") as source, pytest.raises(PackageError, match="not compressed"):
        check(source)
