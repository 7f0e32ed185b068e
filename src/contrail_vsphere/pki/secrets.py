"""Secrets live in files that only their owner can read, and never show in a repr, a log line or an argument list."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from contrail_vsphere.model.errors import SettingsError


class Secret:
    """A text that must not be shown; ``reveal()`` is the one way to it, easy to find in the source."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text: Final = text

    def reveal(self) -> str:
        """The text itself, to be passed on at once and kept nowhere."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __reduce__(self) -> str:
        """A pickle or a copy into a log would be a leak."""
        raise TypeError("a Secret is not pickled")


def read_secret(path: Path) -> Secret:
    """The content of a secret file without its last line break.

    Raises ``SettingsError`` when the file is absent, empty, not a regular file, or readable by group or others.
    """
    return Secret(read_private(path).decode().rstrip("\r\n"))


def read_private(path: Path) -> bytes:
    """The bytes of a file that must be its owner's alone (mode 0600 or less); ``SettingsError`` as ``read_secret``."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            _check_private(path, status)
            content = file.read()
    except OSError as error:
        raise SettingsError(
            f"secret file {path}: {error.strerror}", hint="a file with mode 0600 is expected"
        ) from error
    if not content.strip():
        raise SettingsError(f"secret file {path} is empty")
    return content


def _check_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise SettingsError(f"secret file {path} is not a regular file")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise SettingsError(f"secret file {path} has mode {mode:04o}: others can read it", hint=f"chmod 600 {path}")


def write_private(path: Path, content: bytes) -> None:
    """Replace a file with mode 0600 in one step: readers see the old content or the new, also after a power cut."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.new")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def private_directory(path: Path) -> Path:
    """Make the directory with mode 0700; one that exists must belong to us and to nobody else."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.stat()
    if status.st_mode & 0o077 or status.st_uid != os.geteuid():
        raise SettingsError(f"{path} holds keys, but others can enter it", hint=f"chown it to us and chmod 700 {path}")
    return path


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _open_at_once(path: str, flags: int) -> int:
    """A FIFO in the place of the file must not make us wait for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)
