"""The database's clock, in UTC: the only one that all controllers share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import DateTime
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class utc_now(FunctionElement[Any]):  # noqa: N801 - named as SQL functions are
    """Now, to the microsecond where the database can."""

    type = DateTime()
    inherit_cache = True


class utc_in(FunctionElement[Any]):  # noqa: N801
    """``utc_in(seconds)``: so many seconds from now."""

    type = DateTime()
    inherit_cache = True


@compiles(utc_now)
def _now(_element: Any, _compiler: Any, **_: Any) -> str:
    return "CURRENT_TIMESTAMP"  # SQLite's is UTC


@compiles(utc_now, "mysql")
@compiles(utc_now, "mariadb")
def _now_mysql(_element: Any, _compiler: Any, **_: Any) -> str:
    return "UTC_TIMESTAMP()"


@compiles(utc_now, "postgresql")
def _now_postgresql(_element: Any, _compiler: Any, **_: Any) -> str:
    return "timezone('utc', now())"


@compiles(utc_in)
def _in(element: Any, compiler: Any, **options: Any) -> str:
    return f"datetime('now', ({compiler.process(element.clauses, **options)}) || ' seconds')"


@compiles(utc_in, "mysql")
@compiles(utc_in, "mariadb")
def _in_mysql(element: Any, compiler: Any, **options: Any) -> str:
    return f"(UTC_TIMESTAMP() + INTERVAL ({compiler.process(element.clauses, **options)}) SECOND)"


@compiles(utc_in, "postgresql")
def _in_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return f"(timezone('utc', now()) + make_interval(secs => {compiler.process(element.clauses, **options)}))"
