"""Errors as HTTP, pages, ETags: what all routes of ``/v1`` answer alike."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as AnyHttpError

from contrail_vsphere.model.errors import (
    AlreadyExists,
    AuthenticationFailed,
    Conflict,
    ContrailVsphereError,
    DocumentError,
    InvalidArgument,
    NotFound,
    OutOfResources,
    ProtocolError,
    RefusedError,
    TransientError,
    UsageError,
)

_LOG = logging.getLogger(__name__)

_STATUS: Final[tuple[tuple[type[ContrailVsphereError], int], ...]] = (
    (NotFound, 404),
    (UsageError, 422),
    (InvalidArgument, 422),
    (AlreadyExists, 409),
    (Conflict, 409),
    (OutOfResources, 413),
    (AuthenticationFailed, 502),
    (RefusedError, 409),
    (TransientError, 503),
    (ProtocolError, 502),
)
"""HTTP status per kind of error, the first match counts; others are 500. Refused credentials are ours, elsewhere."""


class ErrorDocument(BaseModel):
    """Every error answers this."""

    error: str
    hint: str = ""
    problems: list[str] = Field(default_factory=list, description="Each with its JSON path")


class PageDocument(BaseModel):
    """Part of a list; ``next`` is the ``after`` of the next request, absent at the end."""

    items: list[dict[str, Any]]
    next: str | None = None


def errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    """The answers that a route documents beside its own."""
    words = {
        401: "No token, or an unknown one", 403: "The token's role may not do this", 404: "No such object",
        409: "Not possible in the present state", 412: "Changed since it was read (If-Match)",
        413: "Too large, or no room", 422: "The request does not make sense", 429: "Too many requests",
        502: "Another server answered wrongly", 503: "Another server is away; try again",
    }  # fmt: skip
    return {code: {"model": ErrorDocument, "description": words[code]} for code in (401, 403, 413, 422, 429, *codes)}


def clean(value: Any, *, depth: int = 40) -> Any:
    """The value, if a database can hold it; ``DocumentError`` for NaN, NUL, half characters and endless nesting."""
    if depth == 0:
        raise DocumentError("nested too deeply")
    if isinstance(value, float) and not math.isfinite(value):
        raise DocumentError("NaN and infinity are not JSON")
    if isinstance(value, str) and ("\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value)):
        raise DocumentError("a text holds a NUL or half a character")
    if isinstance(value, Mapping):
        for key, each in value.items():
            clean(key, depth=depth - 1)
            clean(each, depth=depth - 1)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for each in value:
            clean(each, depth=depth - 1)
    return value


def plain(value: Any) -> str:
    """JSON text, the same for the same value."""
    return json.dumps(value, sort_keys=True, default=_time, ensure_ascii=False)


def _time(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON")


@dataclass(frozen=True, slots=True)
class Tagged:
    """An answer's bytes, made once for all who get it, and their ETag."""

    body: bytes
    tag: str


def with_tag(value: Any, *, version: int | None = None) -> Tagged:
    """``version`` makes the tag one that If-Match takes."""
    body = plain(value).encode()
    digest = hashlib.sha256(body).hexdigest()[:16]
    return Tagged(body, f'"{version}.{digest}"' if version is not None else f'"{digest}"')


def tagged(request: Request, value: Any, *, version: int | None = None) -> Response:
    """The answer with its ETag, or 304 if the caller has it."""
    return answer_of(request, with_tag(value, version=version))


def answer_of(request: Request, made: Tagged) -> Response:
    """As ``tagged``, of an answer that is made."""
    if has(request, made):
        return Response(status_code=304, headers={"ETag": made.tag})
    return Response(made.body, media_type="application/json", headers={"ETag": made.tag})


def has(request: Request, made: Tagged) -> bool:
    """Whether the caller says that it has this answer."""
    return made.tag in [each.strip() for each in request.headers.get("If-None-Match", "").split(",")]


def expected_version(request: Request) -> int | None:
    """What If-Match says; None if it says nothing. 412 for a tag that is none of ours."""
    given = request.headers.get("If-Match", "").strip()
    if given in ("", "*"):
        return None
    number = given.strip('"').partition(".")[0]
    if not number.isascii() or not number.isdigit() or len(number) > 9:
        raise AnyHttpError(412, "If-Match is not an ETag of this object")
    return int(number)


async def on_error(request: Request, error: Exception) -> JSONResponse:
    """An error of our tree."""
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    if isinstance(error, Conflict) and request.headers.get("If-Match"):
        status = 412
    if status == 500:
        _LOG.error("request failed: %s", error, exc_info=error)
    message, hint = (error.message, error.hint) if isinstance(error, ContrailVsphereError) else ("internal error", "")
    return _answer(status, message, hint=hint, problems=getattr(error, "problems", ()))


async def on_http_error(_request: Request, error: Exception) -> JSONResponse:
    """No such route, method, or token."""
    if not isinstance(error, AnyHttpError):
        raise error
    return _answer(error.status_code, str(error.detail), headers=dict(error.headers or {}))


async def on_invalid(_request: Request, error: Exception) -> JSONResponse:
    """The request does not have the shape of the route."""
    if not isinstance(error, RequestValidationError):
        raise error
    places = [f"{'.'.join(str(part) for part in item['loc'][1:])}: {item['msg']}" for item in error.errors()]
    return _answer(422, "; ".join(places), hint="see /openapi.json", problems=places)


def _answer(
    status: int, error: str, *, hint: str = "", problems: Sequence[str] = (), headers: dict[str, str] | None = None
) -> JSONResponse:
    document = ErrorDocument(error=error, hint=hint, problems=list(problems))
    text = document.model_dump_json().encode("utf-8", "replace")
    return JSONResponse(json.loads(text), status_code=status, headers=headers)
