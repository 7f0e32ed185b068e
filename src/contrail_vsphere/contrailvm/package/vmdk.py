"""The disk format of packages: streamOptimized VMDK, written from raw bytes and checked grain by grain.

vSphere imports no other. The file is a stream: header, embedded text descriptor, compressed grains of 64 KiB, a grain
table after every 512 of them, the grain directory, a footer (the header again, now knowing where the directory is) and
an end-of-stream marker (VMware Virtual Disk Format 1.1, "Stream-Optimized Compressed Sparse Extents"). Grains of zeros
are left out. Nothing here holds more than a grain and the tables of one directory in memory.

The same raw bytes give the same file, content id included, as far as the same zlib compresses them.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from contrail_vsphere.model.errors import PackageError

SECTOR: Final = 512
GRAIN_SECTORS: Final = 128
GRAIN: Final = GRAIN_SECTORS * SECTOR
TABLE_ENTRIES: Final = 512
MEGABYTE: Final = 1 << 20

_HEADER: Final = struct.Struct("<4sIIQQQQIQQQ?4sH433x")
_MARKER: Final = struct.Struct("<QI")
_MAGIC: Final = b"KDMV"
_FLAGS: Final = 0x30001
"""Line ends are intact, grains are compressed, markers are there."""
_AT_END: Final = 0xFFFFFFFFFFFFFFFF
_LINE_ENDS: Final = b"\n \r\n"
_DEFLATE: Final = 1
_OVERHEAD: Final = 128
_DESCRIPTOR_SECTORS: Final = 20
_END, _TABLE, _DIRECTORY, _FOOTER = range(4)
_MOST_CAPACITY: Final = 62 << 40
"""The largest virtual disk of vSphere, in bytes."""
_HINT: Final = "convert the disk again as streamOptimized"


@dataclass(frozen=True, slots=True)
class DiskInfo:
    """What a VMDK holds: ``capacity`` and ``populated`` in bytes, ``grains`` stored, text ``descriptor``."""

    capacity: int
    grains: int
    descriptor: str

    @property
    def populated(self) -> int:
        """Bytes that the stored grains come to."""
        return self.grains * GRAIN


@dataclass(frozen=True, slots=True)
class Header:
    """The sparse extent header, sizes and offsets in sectors."""

    capacity: int
    directory: int
    descriptor_offset: int = 1
    descriptor_size: int = _DESCRIPTOR_SECTORS
    overhead: int = _OVERHEAD

    def pack(self) -> bytes:
        """One sector."""
        return _HEADER.pack(
            _MAGIC,
            3,
            _FLAGS,
            self.capacity,
            GRAIN_SECTORS,
            self.descriptor_offset,
            self.descriptor_size,
            TABLE_ENTRIES,
            0,
            self.directory,
            self.overhead,
            False,
            _LINE_ENDS,
            _DEFLATE,
        )

    @property
    def tables(self) -> int:
        """How many grain tables the directory points to."""
        return -(-self.capacity // (GRAIN_SECTORS * TABLE_ENTRIES))


def write_vmdk(raw: BinaryIO, target: BinaryIO, *, name: str, capacity: int | None = None) -> DiskInfo:
    """Write the bytes of ``raw`` to the seekable ``target`` as a streamOptimized VMDK called ``name``.

    ``capacity`` in bytes, at least what ``raw`` holds; without it, that size. Either is rounded up to a whole MB.
    PackageError where the disk is empty, larger than vSphere allows, or larger than ``capacity``.
    """
    size = raw.seek(0, io.SEEK_END)
    raw.seek(0)
    wanted = -(-max(size, capacity or 0) // MEGABYTE) * MEGABYTE
    if not size:
        raise PackageError(f"the disk image for {name} is empty", hint="give an image with something on it")
    if capacity is not None and capacity < size:
        raise PackageError(f"the disk image for {name} has {size} bytes, more than its capacity of {capacity}")
    if wanted > _MOST_CAPACITY:
        raise PackageError(f"{name}: {wanted} bytes is more than a virtual disk can have", hint="at most 62 TB")
    writer = _Writer(target, Header(capacity=wanted // SECTOR, directory=_AT_END))
    content = writer.grains(raw)
    writer.finish()
    text = _descriptor(name, writer.header.capacity, content)
    target.seek(SECTOR)
    target.write(text.encode().ljust(_DESCRIPTOR_SECTORS * SECTOR, b"\0"))
    target.seek(0, io.SEEK_END)
    return DiskInfo(capacity=wanted, grains=writer.count, descriptor=text)


class _Writer:
    """Writes the stream from the first grain to the end marker."""

    def __init__(self, target: BinaryIO, header: Header) -> None:
        self.target = target
        self.header = header
        self.count = 0
        self._directory = array("I", bytes(4 * header.tables))
        target.write(header.pack().ljust(_OVERHEAD * SECTOR, b"\0"))

    def grains(self, raw: BinaryIO) -> bytes:
        """All grains with their tables; returns a SHA-256 of the stored grains and where they lie."""
        content = hashlib.sha256()
        zeros = bytes(GRAIN)
        for number in range(self.header.tables):
            table = array("I", bytes(4 * TABLE_ENTRIES))
            for entry in range(TABLE_ENTRIES):
                data = raw.read(GRAIN)
                if not data:
                    break
                data = data.ljust(GRAIN, b"\0")
                if data != zeros:
                    lba = (number * TABLE_ENTRIES + entry) * GRAIN_SECTORS
                    content.update(lba.to_bytes(8, "little") + data)
                    table[entry] = self._grain(lba, data)
            if any(table):
                self._directory[number] = self._metadata(_TABLE, _little(table))
        return content.digest()

    def finish(self) -> None:
        """Directory, footer and end of stream."""
        directory = self._metadata(_DIRECTORY, _padded(_little(self._directory)))
        self._metadata(_FOOTER, Header(capacity=self.header.capacity, directory=directory).pack())
        self.target.write(bytes(SECTOR))

    def _grain(self, lba: int, data: bytes) -> int:
        packed = zlib.compress(data, 6)
        self.count += 1
        return self._put(_padded(_MARKER.pack(lba, len(packed)) + packed))

    def _metadata(self, kind: int, data: bytes) -> int:
        self._put(_padded(_MARKER.pack(len(data) // SECTOR, 0) + struct.pack("<I", kind)))
        return self._put(data)

    def _put(self, data: bytes) -> int:
        """Append whole sectors; returns the sector where they begin."""
        at = self.target.tell() // SECTOR
        self.target.write(data)
        return at


def _padded(data: bytes) -> bytes:
    return data.ljust(-(-len(data) // SECTOR) * SECTOR, b"\0")


def _little(table: array[int]) -> bytes:
    return struct.pack(f"<{len(table)}I", *table)


def _descriptor(name: str, sectors: int, content: bytes) -> str:
    heads, per_track = (64, 32) if sectors < 1 << 21 else (128, 32) if sectors < 1 << 22 else (255, 63)
    # 0xfffffffe and 0xffffffff as content id mean "none".
    cid = int.from_bytes(content[:4], "big") % 0xFFFFFFFE
    return f"""# Disk DescriptorFile
version=1
CID={cid:08x}
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RW {sectors} SPARSE "{name}"

# The Disk Data Base
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "{min(65535, sectors // (heads * per_track))}"
ddb.geometry.heads = "{heads}"
ddb.geometry.sectors = "{per_track}"
ddb.longContentID = "{content[:12].hex()}{cid:08x}"
ddb.virtualHWVersion = "13"
"""


def is_vmdk(source: BinaryIO) -> bool:
    """Whether the file begins like a sparse VMDK; leaves the position at the start."""
    source.seek(0)
    magic = source.read(len(_MAGIC))
    source.seek(0)
    return magic == _MAGIC


def read_info(source: BinaryIO) -> DiskInfo:
    """Capacity and descriptor from header and footer alone; ``grains`` is 0. PackageError where it is no such VMDK."""
    header, text = _open(source)
    return DiskInfo(capacity=header.capacity * SECTOR, grains=0, descriptor=text)


def check(source: BinaryIO) -> DiskInfo:
    """Read the whole disk and inflate every grain; PackageError at the first thing that does not hold."""
    header, text = _open(source)
    grains = sum(1 for _ in _blocks(source, header))
    if _read_header(source, 0).directory == _AT_END:
        _walk(source, header)
    return DiskInfo(capacity=header.capacity * SECTOR, grains=grains, descriptor=text)


def blocks(source: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The stored grains as (byte offset on the disk, content), in order; the rest of the disk is zeros."""
    header, _ = _open(source)
    yield from _blocks(source, header)


def _open(source: BinaryIO) -> tuple[Header, str]:
    header = _read_header(source, 0)
    text = _exactly(source, header.descriptor_offset, header.descriptor_size * SECTOR, "descriptor")
    if header.directory == _AT_END:
        # Two sectors before the end marker lies the footer.
        header = _read_header(source, source.seek(0, io.SEEK_END) // SECTOR - 2)
    decoded = text.rstrip(b"\0").decode("utf-8", "replace")
    if 'createType="streamOptimized"' not in decoded:
        raise PackageError("the VMDK is not of type streamOptimized", hint=_HINT)
    return header, decoded


def _read_header(source: BinaryIO, sector: int) -> Header:
    what = "footer" if sector else "header"
    fields = _HEADER.unpack(_exactly(source, sector, SECTOR, what))
    magic, _version, flags, capacity, grain, offset, size, entries, _, directory, overhead, _, ends, algorithm = fields
    if magic != _MAGIC:
        raise PackageError(f"the {what} is not that of a VMDK", hint=_HINT)
    if ends != _LINE_ENDS:
        raise PackageError("the line ends in the VMDK were changed", hint="transfer it as binary")
    if flags & 0x30000 != 0x30000 or algorithm != _DEFLATE:
        raise PackageError("the VMDK is not compressed as a stream", hint=_HINT)
    if grain != GRAIN_SECTORS or entries != TABLE_ENTRIES:
        raise PackageError(f"the VMDK has grains of {grain} sectors, {entries} in a table", hint=_HINT)
    if not 0 < capacity <= _MOST_CAPACITY // SECTOR or not 0 < size <= 2048:
        raise PackageError(f"the VMDK's {what} states impossible sizes", hint=_HINT)
    return Header(capacity, directory, descriptor_offset=offset, descriptor_size=size, overhead=overhead)


def _blocks(source: BinaryIO, header: Header) -> Iterator[tuple[int, bytes]]:
    directory = _table(source, header.directory, header.tables, "grain directory")
    for number, table_at in enumerate(directory):
        if not table_at:
            continue
        for entry, grain_at in enumerate(_table(source, table_at, TABLE_ENTRIES, f"grain table {number}")):
            # 1 is a grain known to be zeros (VMDK version 2).
            if grain_at > 1:
                lba = (number * TABLE_ENTRIES + entry) * GRAIN_SECTORS
                yield lba * SECTOR, _grain(source, grain_at, lba, header.capacity)


def _grain(source: BinaryIO, sector: int, expected: int, capacity: int) -> bytes:
    lba, size = _MARKER.unpack(_exactly(source, sector, _MARKER.size, "grain"))
    if lba != expected or lba >= capacity:
        raise PackageError(f"the grain at sector {sector} is of block {lba}, not of {expected}", hint=_HINT)
    # Deflate adds 5 bytes for each 16 KiB at worst.
    if not 0 < size <= GRAIN + 1024:
        raise PackageError(f"the grain at sector {sector} has {size} compressed bytes", hint=_HINT)
    packed = source.read(size)
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(packed, GRAIN + 1)
    except zlib.error as error:
        raise PackageError(f"the grain of block {lba} is damaged: {error}", hint=_HINT) from error
    # The last grain of a disk may end with the disk.
    if len(data) not in {GRAIN, min(GRAIN, (capacity - lba) * SECTOR)} or not inflater.eof:
        raise PackageError(f"the grain of block {lba} inflates to {len(data)} bytes, not {GRAIN}", hint=_HINT)
    return data


def _walk(source: BinaryIO, header: Header) -> None:
    """Follow the markers from first grain to end of stream, as ESXi does, and hold the tables against them."""
    end = source.seek(0, io.SEEK_END)
    sector, seen, tables = header.overhead, dict[int, int](), dict[int, int]()
    while True:
        value, size, kind = struct.unpack("<QII", _exactly(source, sector, 16, "marker"))
        if size:
            if value in seen:
                raise PackageError(f"block {value} is stored twice", hint=_HINT)
            seen[value] = sector
            sector += -(-(_MARKER.size + size) // SECTOR)
            continue
        if kind == _END:
            break
        if kind == _TABLE:
            _hold_table(_table(source, sector + 1, TABLE_ENTRIES, "grain table"), seen, tables, at=sector + 1)
        elif kind == _DIRECTORY:
            directory = _table(source, sector + 1, header.tables, "grain directory")
            if seen or [tables.get(number, 0) for number in range(header.tables)] != list(directory):
                raise PackageError("the grain directory does not agree with the stream", hint=_HINT)
        elif kind != _FOOTER:
            raise PackageError(f"there is a marker of unknown kind {kind} at sector {sector}", hint=_HINT)
        sector += 1 + value
    if (sector + 1) * SECTOR != end:
        raise PackageError("the VMDK goes on after its end of stream", hint=_HINT)


def _hold_table(table: array[int], seen: dict[int, int], tables: dict[int, int], *, at: int) -> None:
    """Compare a grain table with the grains seen since the one before; both start anew after it."""
    if not seen:
        if any(entry > 1 for entry in table):
            raise PackageError(f"the grain table at sector {at} does not agree with the stream", hint=_HINT)
        return
    number = min(seen) // (GRAIN_SECTORS * TABLE_ENTRIES)
    expected = {
        (number * TABLE_ENTRIES + entry) * GRAIN_SECTORS: grain for entry, grain in enumerate(table) if grain > 1
    }
    if expected != seen:
        raise PackageError(f"the grain table at sector {at} does not agree with the stream", hint=_HINT)
    tables[number] = at
    seen.clear()


def _table(source: BinaryIO, sector: int, entries: int, what: str) -> array[int]:
    return array("I", struct.unpack(f"<{entries}I", _exactly(source, sector, 4 * entries, what)))


def _exactly(source: BinaryIO, sector: int, size: int, what: str) -> bytes:
    if not 0 <= sector < 1 << 50:
        raise PackageError(f"the VMDK's {what} is said to lie outside the file", hint=_HINT)
    source.seek(sector * SECTOR)
    data = source.read(size)
    if len(data) != size:
        raise PackageError(f"the VMDK ends in the middle of its {what}", hint="it was cut off; transfer it again")
    return data
