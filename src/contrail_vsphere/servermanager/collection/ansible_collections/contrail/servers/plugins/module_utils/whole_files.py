"""Whole files: what one holds, and how it is replaced in one step."""

from __future__ import annotations

import os
import stat
from typing import Any

FILE = {
    "path": {"type": "path", "required": True},
    "mode": {"type": "str", "default": "0640"},
    "content": {"type": "str"},
    "secret_content": {"type": "str", "no_log": True},
}
"""A file as modules are given it."""


def wanted_content(wanted: dict[str, Any]) -> tuple[bytes, int]:
    """What it should hold, and its mode."""
    secret = wanted["secret_content"]
    return (wanted["content"] or "" if secret is None else secret).encode(), int(wanted["mode"], 8)


def read(path: str) -> tuple[bytes | None, int]:
    """Content and mode; None if there is none. A link counts as none: it is replaced, never followed."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None, 0
    with os.fdopen(handle, "rb") as file:
        return file.read(), stat.S_IMODE(os.fstat(file.fileno()).st_mode)


def write(path: str, content: bytes, mode: int) -> None:
    """Replace it; readers see the old content or the new."""
    scratch = f"{path}.{os.getpid()}.new"
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException:
        os.unlink(scratch)
        raise
