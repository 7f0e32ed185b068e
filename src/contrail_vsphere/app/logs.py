"""Logging of a process: stdlib and structlog records alike, as text for people or JSON for machines, without secrets.

Modules below ``app`` log through ``logging.getLogger(__name__)`` and know nothing of this; only a process's start
calls ``configure``. Everything goes to standard error: standard output belongs to the command's answer.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Final, Literal, TextIO

import structlog
from pydantic import SecretStr
from structlog.typing import EventDict, Processor, WrappedLogger

from contrail_vsphere.pki.secrets import Secret

MASK: Final = "***"

_SECRET_KEY = re.compile(
    r"(^|[_\-.])(pass(word|wd|phrase)?|secret|token|authorization|cookie|credentials?|private[_-]?key|key_pem)s?$", re.I
)
_SECRET_TEXT: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.S), MASK),
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}", re.I), rf"\1 {MASK}"),
    (re.compile(r"(vmware_soap_session\s*=\s*)\"?[^\s\";]+\"?", re.I), rf"\1{MASK}"),
    (re.compile(r"(<(?:\w+:)?password(?:\s[^>]*)?>)[^<]*", re.I), rf"\1{MASK}"),
    (re.compile(r"\bcvt1\.[0-9a-f]{16}\.[A-Za-z0-9_-]+"), f"cvt1.{MASK}"),
    (re.compile(r"((?:password|passwd|token|secret)[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&]{3,}", re.I), rf"\1{MASK}"),
)
"""What secrets look like inside a text: keys, HTTP credentials, vCenter session cookies, logins, our tokens."""


def configure(
    *,
    level: Literal["debug", "info", "warning", "error"] = "info",
    style: Literal["console", "json"] = "console",
    stream: TextIO | None = None,
) -> None:
    """Set up the root logger and structlog; called once by a process's start (tests may call it again)."""
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    output = stream or sys.stderr
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact,
                _renderer(style, colors=output.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # aiohttp's access log would repeat what vCenter polls, four lines a second.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *before,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: mask values under secret names, and secrets inside texts, however deep."""
    return {key: MASK if _is_secret_name(key, value) else _clean(value) for key, value in event.items()}


def _is_secret_name(key: object, value: object) -> bool:
    """A file's or a count's name may say "token" without holding one."""
    return isinstance(key, str) and value not in (None, "") and not isinstance(value, bool) and _hides(key)


def _hides(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None


def _clean(value: Any) -> Any:
    match value:
        case Secret() | SecretStr():
            return MASK
        case str():
            return clean_text(value)
        case Mapping():
            return {key: MASK if _is_secret_name(key, inner) else _clean(inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_clean(inner) for inner in value]
        case BaseException():
            return clean_text(repr(value))
    return value


def clean_text(text: str) -> str:
    """The text with everything masked that looks like a secret."""
    for pattern, replacement in _SECRET_TEXT:
        text = pattern.sub(replacement, text)
    return text


def _renderer(style: Literal["console", "json"], *, colors: bool) -> Processor:
    if style == "json":
        return structlog.processors.JSONRenderer(default=str)
    # The traceback is text already, cleaned of secrets.
    return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
