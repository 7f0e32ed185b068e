"""Performs the effects on a real Linux guest: VMware Tools, files, openssl, TLS, ethtool, systemd."""

from __future__ import annotations

import http.client
import os
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from contrailvm_guest.effects import (
    CertificateSpent,
    CreateRequest,
    Effect,
    EffectFailed,
    FetchAuthority,
    GenerateKey,
    Http,
    LinuxNic,
    ListNics,
    Log,
    ReadFile,
    ReadOvfEnvironment,
    RemoveFile,
    Reply,
    RunService,
    SetOffload,
    Sleep,
    Unreachable,
    Untrusted,
    WriteFile,
)

COMMAND_TIMEOUT = 120
HTTP_TIMEOUT = 30


class Machine:
    """The machine we run on; ``root`` moves its files elsewhere for tests."""

    def __init__(self, root: str = "/") -> None:
        self._root = Path(root)

    def perform(self, effect: Effect[Any]) -> Any:
        """Do it; EffectFailed when it cannot be done."""
        match effect:
            case ReadOvfEnvironment():
                return self._ovf_environment()
            case ReadFile(path):
                return self._read(path)
            case WriteFile(path, content, mode):
                return self._write(path, content, mode)
            case RemoveFile(path):
                return self._path(path).unlink(missing_ok=True)
            case GenerateKey():
                return _run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
            case CreateRequest(key_path, common_name):
                subject = "/CN=" + "".join(c for c in common_name if c.isalnum() or c in "-._")
                return _run("openssl", "req", "-new", "-key", str(self._path(key_path)), "-subj", subject)
            case CertificateSpent(path):
                return self._spent(path)
            case Http():
                return self._http(effect)
            case FetchAuthority(url, most):
                return _request(_unverified(), "GET", url, b"", most)
            case ListNics():
                return self._nics()
            case SetOffload(interface, feature):
                return _run_quietly("ethtool", "-K", interface, feature, "off")
            case RunService(verb, unit):
                return _run_quietly("systemctl", verb, "--", unit)
            case Sleep(seconds):
                return time.sleep(seconds)
            case Log(text):
                print(text, file=sys.stderr, flush=True)  # noqa: T201 - systemd's journal
                return None
        raise TypeError(f"no such effect: {type(effect).__name__}")

    def _path(self, path: str) -> Path:
        return self._root / path.lstrip("/")

    def _ovf_environment(self) -> bytes | None:
        try:
            return _run("vmtoolsd", "--cmd", "info-get guestinfo.ovfEnv") or None
        except EffectFailed:
            return None

    def _read(self, path: str) -> bytes | None:
        try:
            return self._path(path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as failed:
            raise EffectFailed(f"cannot read {path}: {failed.strerror}") from failed

    def _write(self, path: str, content: bytes, mode: int) -> None:
        target = self._path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            try:
                with os.fdopen(handle, "wb") as file:
                    os.fchmod(file.fileno(), mode)
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(target)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            directory = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as failed:
            raise EffectFailed(f"cannot write {path}: {failed.strerror}") from failed

    def _spent(self, path: str) -> float | None:
        if self._read(path) is None:
            return None
        said = _run("openssl", "x509", "-noout", "-startdate", "-enddate", "-in", str(self._path(path)))
        dates = dict(line.partition("=")[::2] for line in said.decode("ascii", "replace").splitlines())
        try:
            since, until = (ssl.cert_time_to_seconds(dates[name].strip()) for name in ("notBefore", "notAfter"))
        except (KeyError, ValueError) as wrong:
            raise EffectFailed(f"openssl tells no dates of {path}") from wrong
        return (time.time() - since) / max(until - since, 1)

    def _http(self, request: Http) -> Reply:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_verify_locations(cadata=request.authority.decode("ascii"))
            if request.certificate_path:
                context.load_cert_chain(self._path(request.certificate_path), self._path(request.key_path))
        except (ssl.SSLError, OSError, ValueError) as wrong:
            raise Untrusted(f"the stored certificates cannot be used: {type(wrong).__name__}") from wrong
        return _request(context, request.method, request.url, request.body, request.most)

    def _nics(self) -> tuple[LinuxNic, ...]:
        found = []
        for entry in sorted(self._path("/sys/class/net").glob("*")):
            address = self._read(f"/sys/class/net/{entry.name}/address")
            if address and (entry / "device").exists():
                found.append(LinuxNic(entry.name, address.decode("ascii", "replace").strip().lower()))
        return tuple(found)


def _run(*command: str) -> bytes:
    try:
        done = subprocess.run(command, capture_output=True, timeout=COMMAND_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as failed:
        raise EffectFailed(f"{command[0]} did not run: {type(failed).__name__}") from failed
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise EffectFailed(f"{command[0]} failed with {done.returncode}: {said[-1][:200] if said else 'no output'}")
    return done.stdout


def _run_quietly(*command: str) -> None:
    _run(*command)


def _unverified() -> ssl.SSLContext:
    """For the CA certificate alone, which is public and whose digest the caller compares before it trusts it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _request(context: ssl.SSLContext, method: str, url: str, body: bytes, most: int) -> Reply:
    parts = urlsplit(url)
    connection = http.client.HTTPSConnection(
        parts.hostname or "", parts.port or 443, timeout=HTTP_TIMEOUT, context=context
    )
    try:
        headers = {"Accept": "application/json", **({"Content-Type": "application/json"} if body else {})}
        connection.request(method, parts.path or "/", body=body or None, headers=headers)
        reply = connection.getresponse()
        content = reply.read(most + 1)
    except ssl.SSLError as wrong:
        raise Untrusted(f"TLS with {parts.hostname} failed: {wrong.reason or 'verification failed'}") from wrong
    except (OSError, http.client.HTTPException) as gone:
        raise Unreachable(f"{parts.hostname} cannot be reached: {type(gone).__name__}") from gone
    finally:
        connection.close()
    if len(content) > most:
        raise EffectFailed(f"the answer of {parts.hostname} is longer than {most} bytes")
    return Reply(reply.status, content)
