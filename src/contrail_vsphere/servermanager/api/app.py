"""The ASGI application: middleware, who the caller is, and the routers put together."""

# No postponed annotations here: FastAPI reads them, and they name things that are local to the functions below.

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException as AnyHttpError

from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.servermanager.access import Caller, Role, caller_of, digest_of
from contrail_vsphere.servermanager.api import answers, limits, routes_objects, routes_runs, routes_upkeep, seed_era
from contrail_vsphere.servermanager.api.remembered import Remembered
from contrail_vsphere.servermanager.api.seed_era_methods import MethodsInSmallLetters
from contrail_vsphere.servermanager.service import ServerManager

ABOUT = """\
Every request carries `Authorization: Bearer TOKEN`. Viewers read; operators also add, provision and delete; admins also
hand out tokens and put secrets. Errors answer `{"error": ..., "hint": ..., "problems": [...]}`. Lists come in pages:
`after` of the next request is `next` of the last answer. `ETag` answers work with `If-None-Match`, and those of single
objects with `If-Match`.
"""

Require = Callable[[Role], Callable[..., Awaitable[Caller]]]


def create_app(service: ServerManager, *, insecure_seed_era: bool = False, rate: float = 100.0) -> FastAPI:
    """The application; ``insecure_seed_era`` serves the old routes to callers without a token."""
    app = FastAPI(
        title="Server Manager API",
        version="1",
        description=ABOUT,
        # The interactive pages would load scripts from the internet.
        docs_url=None,
        redoc_url=None,
    )
    app.state.remembered = remembered = Remembered(lambda: service.store)
    require = _require(service, remembered)
    app.include_router(routes_objects.router(service, require))
    app.include_router(routes_runs.router(service, require, remembered))
    app.include_router(routes_upkeep.router(service, require))
    app.include_router(seed_era.router(service, None if insecure_seed_era else require))
    app.add_exception_handler(ContrailVsphereError, answers.on_error)
    app.add_exception_handler(AnyHttpError, answers.on_http_error)
    app.add_exception_handler(RequestValidationError, answers.on_invalid)
    app.add_middleware(limits.Limits, rate=rate, burst=rate * 4, uploads=("/v1/uploads", "/image/upload"))
    if insecure_seed_era:
        app.add_middleware(MethodsInSmallLetters)
    return app


def _require(service: ServerManager, remembered: Remembered) -> Require:
    bearer = HTTPBearer(auto_error=False, description="A token of Server Manager")

    async def find(token: str) -> Caller | None:
        digest = digest_of(token)

        def read() -> Caller | None:
            with service.store.reading() as session:
                return caller_of(session, digest)

        return await remembered.of(("token", digest), read)

    def require(role: Role) -> Callable[..., Awaitable[Caller]]:
        async def caller(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> Caller:
            known = await find(credentials.credentials) if credentials is not None else None
            if known is None:
                raise HTTPException(401, "a valid token is needed", headers={"WWW-Authenticate": "Bearer"})
            if not known.may(role):
                raise HTTPException(403, f"{known.name} is a {known.role}; this needs the role {role}")
            return known

        return caller

    return require
