"""The door to Neutron's database: blocking calls in threads, and the database's errors as ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from oslo_db import exception as db_exception
from sqlalchemy.exc import SQLAlchemyError

from contrail_vsphere.model.errors import Unreachable

P = ParamSpec("P")
R = TypeVar("R")


async def ask(call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """The answer of a blocking call. Unreachable when the database refuses or is away."""
    try:
        return await asyncio.to_thread(call, *args, **kwargs)
    except (db_exception.DBError, SQLAlchemyError) as error:
        raise Unreachable(f"Neutron's database: {str(error).splitlines()[0]}") from error
