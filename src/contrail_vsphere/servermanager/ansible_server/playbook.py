"""ansible-playbook as a fork of the worker, not as a program that is started.

A program would load its libraries for every run, which takes longer than the rest of its start; here the nursery has
loaded them. Only Ansible itself is loaded by each run: it reads its settings from the environment while it loads.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import ansible_runner.runner
import pexpect

from contrail_vsphere.servermanager.ansible_server.niceness import share_as_nice
from contrail_vsphere.servermanager.ansible_server.run_directory import ENVIRONMENT_MARK, RunDirectory

LIBRARIES: Final = (
    "bcrypt", "configparser", "cryptography.hazmat.primitives.ciphers.aead", "cryptography.hazmat.primitives.hmac",
    "cryptography.hazmat.primitives.kdf.pbkdf2", "cryptography.hazmat.primitives.serialization", "cryptography.x509",
    "ctypes.util", "curses", "encodings.idna", "invoke", "jinja2.nativetypes", "jinja2.sandbox", "nacl.bindings",
    "multiprocessing.queues", "packaging.requirements", "packaging.tags", "packaging.utils", "paramiko", "runpy",
    "syslog", "tarfile", "yaml",
)  # fmt: skip
"""What ansible-playbook imports that is not Ansible; one that it can do without may be missing."""
NAME: Final = "ansible-playbook"


def prepare() -> None:
    """Load the libraries, and have ansible-runner fork; once in a process, before its first run."""
    for name in LIBRARIES:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    # ansible-runner offers no way to say how its command starts.
    ansible_runner.runner.pexpect.spawn = _Fork


class _Fork(pexpect.spawn):  # type: ignore[misc]
    """A command on a terminal of its own that is always ansible-playbook; its output and end are what they were."""

    def _spawnpty(self, args: list[bytes], *, preexec_fn: Callable[[], None], **options: Any) -> Any:
        # Opened here, for there is no moment in which a process of the run is not known as one.
        mark = RunDirectory(Path(os.environ[ENVIRONMENT_MARK])).mark()

        def become() -> None:
            preexec_fn()
            _become([os.fsdecode(each) for each in args], options["env"], mark)

        try:
            terminal = super()._spawnpty(args, preexec_fn=become, pass_fds=(mark,), **options)
        finally:
            os.close(mark)
        # When it is closed, its process has ended: there is nothing to give time to.
        terminal.delayafterclose = 0
        return terminal


_setsid: Final = os.setsid


def _set_session() -> None:
    """Ansible gives every task of every server a session."""
    _setsid()
    share_as_nice()


def _become(command: list[str], environment: dict[str, str], mark: int) -> None:
    """Never returns. The terminal is there as 0, 1 and 2, and the directory is the command's; ``mark`` stays open."""
    code: object = 1
    try:
        # Whoever waits for a program to be started waits for one of these to be closed.
        os.closerange(3, mark)
        os.closerange(mark + 1, os.sysconf("SC_OPEN_MAX"))
        os.environ.clear()
        os.environ.update(environment)
        with contextlib.suppress(OSError):
            Path("/proc/self/comm").write_text(NAME)
        share_as_nice()
        os.setsid = _set_session
        sys.argv = command
        for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
            file = open(number, mode, buffering=1, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
            setattr(sys, name, file)
            setattr(sys, f"__{name}__", file)
        playbook = importlib.import_module("ansible.cli.playbook")
        playbook.main(command)
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - what a program does then
        sys.excepthook(*sys.exc_info())
    finally:
        # The terminal may be gone. Whatever happens, nobody returns from here: above are the worker's own affairs.
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)
