"""Where a package's files lie: side by side in a directory, or in an OVA.

An OVA is a USTAR archive in a fixed order. It is read by a strict reader of our own that looks at headers only: a link,
a device, a path that leads out or a member named twice is a problem to report, never a thing to extract.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from contrail_vsphere.model.errors import PackageError

BLOCK: Final = 512
MOST_MEMBERS: Final = 1000
_KINDS: Final = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "a directory",
    b"6": "a pipe",
    b"S": "a sparse file",
    b"L": "a GNU long name",
    b"K": "a GNU long link",
    b"g": "a PAX header",
    b"x": "a PAX header",
}


@dataclass(frozen=True, slots=True)
class Member:
    """A file found; ``offset`` and ``size`` in bytes within ``container``."""

    name: str
    size: int
    container: Path
    offset: int = 0

    def open(self) -> BinaryIO:
        """Its bytes and nothing around them."""
        return open_slice(self.container, offset=self.offset, size=self.size)


class _Slice(io.RawIOBase):
    """A window on a file, readable and seekable as if it were the whole."""

    def __init__(self, file: io.FileIO, offset: int, size: int) -> None:
        self._file, self._offset, self._size, self._at = file, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: max(0, self._size - self._at)]
        self._file.seek(self._offset + self._at)
        count = self._file.readinto(view) if len(view) else 0
        self._at += count or 0
        return count or 0

    def close(self) -> None:
        self._file.close()
        super().close()


def open_slice(path: Path, *, offset: int, size: int) -> BinaryIO:
    """``size`` bytes of a regular file from ``offset`` on; symbolic links are not followed."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC)

    return io.BufferedReader(_Slice(io.FileIO(path, opener=opener), offset, size), 1 << 18)


def read_directory(directory: Path, problems: list[str]) -> list[Member]:
    """The regular files of a directory, by name; anything else in it is a problem."""
    found: list[Member] = []
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            found.append(Member(entry.name, status.st_size, Path(entry.path)))
        else:
            kind = "a symbolic link" if entry.is_symlink() else "a directory" if entry.is_dir() else "no regular file"
            problems.append(f"{entry.name!r} is {kind} (a package holds regular files only)")
    return found


def read_ova(path: Path, problems: list[str]) -> list[Member]:
    """The members of an OVA in the order stored; what no OVA may hold is a problem."""
    members: list[Member] = []
    size = path.stat().st_size
    at = 0
    with open_slice(path, offset=0, size=size) as source:
        while at < size:
            source.seek(at)
            block = source.read(BLOCK)
            if block == bytes(BLOCK):
                return members
            member = _header(block, path, at)
            at += BLOCK + -(-member.size // BLOCK) * BLOCK
            if member.offset + member.size > size:
                raise PackageError(f"the OVA ends in the middle of {member.name!r}", hint="transfer it again")
            if _acceptable(member, block[156:157], members, problems):
                members.append(member)
            if len(members) > MOST_MEMBERS:
                raise PackageError(f"the OVA has more than {MOST_MEMBERS} members", hint="is this an OVA?")
    problems.append("the OVA has no end-of-archive block (it was cut off; transfer it again)")
    return members


def _header(block: bytes, path: Path, at: int) -> Member:
    if len(block) < BLOCK or block[257:262] != b"ustar":
        raise PackageError(f"there is no USTAR header at byte {at}", hint="is this an OVA? it may be cut off")
    unsigned = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    if _octal(block[148:156]) != unsigned:
        raise PackageError(f"the USTAR header at byte {at} is damaged", hint="transfer the OVA again")
    size = _octal(block[124:136])
    if size is None:
        raise PackageError(
            f"the size in the USTAR header at byte {at} is not octal", hint="USTAR ends at 8 GiB; split the file"
        )
    # GNU archives have something else in the place of USTAR's prefix.
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    name = _text(block[:100])
    return Member(f"{prefix}/{name}" if prefix else name, size, path, at + BLOCK)


def _octal(field: bytes) -> int | None:
    text = field.strip(b" \0")
    return int(text, 8) if text and not text.strip(b"01234567") else None


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def _acceptable(member: Member, kind: bytes, before: Iterable[Member], problems: list[str]) -> bool:
    if kind not in {b"0", b"\0"}:
        problems.append(
            f"{member.name!r} in the OVA is {_KINDS.get(kind, 'of unknown kind')} (store plain files, USTAR)"
        )
        return False
    if reason := unsafe_name(member.name):
        problems.append(f"{member.name!r} in the OVA {reason} (store plain file names)")
        return False
    if any(other.name == member.name for other in before):
        problems.append(f"{member.name!r} is in the OVA twice (store every file once)")
        return False
    return True


def unsafe_name(name: str) -> str:
    """Why ``name`` is not that of a file beside the descriptor; empty where it is."""
    if not name or name in {".", ".."}:
        return "is no file name"
    if name.startswith(("/", "\\")) or name[1:2] == ":":
        return "is an absolute path"
    if "://" in name:
        return "leads to another server"
    if ".." in name.replace("\\", "/").split("/"):
        return "leads out of the package"
    if "/" in name or "\\" in name:
        return "lies in a directory"
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        return "has control characters in it"
    if len(name.encode("utf-8", "replace")) > 200:
        return "is too long"
    return ""


def write_ova(target: BinaryIO, members: Iterable[Member]) -> None:
    """A USTAR archive of the members in the order given; the same files give the same bytes."""
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.size, info.mode = member.size, 0o644
            try:
                with member.open() as source:
                    archive.addfile(info, source)
            except ValueError as error:
                raise PackageError(
                    f"{member.name!r} does not fit into an OVA: {error}", hint="at most 8 GiB"
                ) from error
