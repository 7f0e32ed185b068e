"""The door of vCenter's REST API, as far as System VMs need it: sessions, tasks, clusters under an image, solutions.

Served on the port of the SOAP API. A session opened here is one of vCenter's: it shows in SessionManager, idles and
expires as those do; only its own key, in ``vmware-api-session-id``, is accepted.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web

from contrail_vsphere.model.errors import ProtocolError
from contrail_vsphere.simulator.core.calls import Call, Unavailable
from contrail_vsphere.simulator.core.faults import FaultBook
from contrail_vsphere.simulator.system_vm.errors import RestError, from_fault, stamp
from contrail_vsphere.simulator.system_vm.service import SystemVms
from contrail_vsphere.simulator.system_vm.sets import LaterOperations
from contrail_vsphere.simulator.system_vm.tasks import RestTasks
from contrail_vsphere.simulator.vcenter import authorization
from contrail_vsphere.simulator.vcenter.session_manager import SessionManager
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.system_vm import codec, paths
from contrail_vsphere.wire.system_vm.spec import (
    ApplySpec,
    CheckComplianceSpec,
    DynamicUpdateSpec,
    EnablementInfo,
    EnableSpec,
    MultiSourceEnableSpec,
    ProcessedHookSpec,
    SolutionSpec,
    TransitionSpec,
)

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import World
    from contrail_vsphere.simulator.eam.profiles import Profile

log = logging.getLogger(__name__)

READ, WRITE = "VcIntegrity.systemVM.Read", "VcIntegrity.systemVM.Write"
LARGEST_BODY = 1 << 20

Handler = Callable[[web.Request, Call], Awaitable[web.Response]]
T = TypeVar("T")


class RestDoor:
    """Routes for the server's application; ``tokens`` are the sessions that were opened here."""

    def __init__(self, world: World, profile: Profile, *, version: str) -> None:
        self._world = world
        self._profile = profile
        self._version = version
        self._tokens: set[str] = set()
        self._tasks = RestTasks(world)
        self._vms = SystemVms(world)
        self._later = LaterOperations(world, self._vms)

    def add_routes(self, app: web.Application) -> None:
        """Before the application is started. Without System VMs (before 9.0) there are sessions and tasks only."""
        router = app.router
        router.add_post(paths.SESSION, self._open_session)
        router.add_get(paths.SESSION, self._guarded("Session.get", "", self._session))
        router.add_delete(paths.SESSION, self._guarded("Session.delete", "", self._close_session))
        router.add_get(f"{paths.TASKS}/{{task}}", self._guarded("Tasks.get", "", self._task))
        if self._profile.system_vm_rest:
            self._add_system_vms(app)
        router.add_route("*", "/api/{rest:.*}", self._unknown)

    def _add_system_vms(self, app: web.Application) -> None:
        router = app.router
        cluster = f"{paths.CLUSTERS}/{{cluster}}"
        vms = f"{cluster}/vms"
        router.add_get(f"{cluster}/enablement/software", self._guarded("Enablement.get", READ, self._enablement))
        router.add_put(f"{cluster}/enablement/software", self._guarded("Enablement.enable", WRITE, self._enable_image))
        router.add_get(f"{vms}/solutions", self._guarded("Solutions.list", READ, self._list))
        router.add_post(f"{vms}/solutions", self._action(apply=self._apply, **{"check-compliance": self._check}))
        router.add_get(f"{vms}/solutions/{{solution}}", self._guarded("Solutions.get", READ, self._get))
        router.add_put(f"{vms}/solutions/{{solution}}", self._guarded("Solutions.set", WRITE, self._set))
        router.add_delete(f"{vms}/solutions/{{solution}}", self._guarded("Solutions.delete", WRITE, self._delete))
        router.add_get(f"{vms}/lifecycle-hooks/{{solution}}", self._guarded("LifecycleHooks.list", READ, self._hooks))
        hooks: dict[str, Handler] = {"mark-as-processed": self._mark}
        transitions: dict[str, Handler] = {"enable": self._enable}
        if self._profile.later_operations:
            hooks["process-dynamic-update"] = self._dynamic_update
            transitions |= {"multi-source-enable": self._multi_source_enable, "transition": self._transition}
        router.add_post(f"{vms}/lifecycle-hooks", self._action(**hooks))
        router.add_post(f"{vms}/transition/{{solution}}", self._action(**transitions))

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        return _refusal(RestError("NOT_FOUND", f"There is no {request.method} {request.path}."))

    # -- every request ------------------------------------------------------------------------------------------

    def _action(self, **actions: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        guarded = {
            name: self._guarded(f"SystemVms.{name}", READ if name == "check-compliance" else WRITE, handler)
            for name, handler in actions.items()
        }

        async def choose(request: web.Request) -> web.StreamResponse:
            found = guarded.get(request.query.get("action", ""))
            return await found(request) if found is not None else _refusal(RestError("NOT_FOUND", "No such action."))

        return choose

    def _guarded(
        self, method: str, privilege: str, handler: Handler
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(request: web.Request) -> web.StreamResponse:
            try:
                call = self._call(request, method)
                authorization.check(call, privilege or authorization.VIEW, None)
                if await self._disturbed(call):
                    if request.transport is not None:
                        request.transport.abort()
                    return web.Response(status=500)
                return await handler(request, call)
            except RestError as error:
                return _refusal(error)
            except SoapFault as error:
                return _refusal(from_fault(error))
            except ProtocolError as error:
                return _refusal(RestError("INVALID_ARGUMENT", str(error)))
            except Exception as error:  # our own defect: the client must still get an answer
                log.exception("%s failed inside the simulator", method)
                self._world.defects.append(error)
                return _refusal(RestError("ERROR", "An internal error occurred."))

        return serve

    def _call(self, request: web.Request, method: str) -> Call:
        token = request.headers.get(paths.SESSION_HEADER, "")
        session = self._world.service(SessionManager).resume(token) if token in self._tokens else None
        if session is None:
            self._tokens.discard(token)
            raise RestError("UNAUTHENTICATED", "The session is not authenticated.")
        return self._new_call(request, method, session=session, user=session.user)

    def _new_call(self, request: web.Request, method: str, **fields: Any) -> Call:
        return Call(
            world=self._world,
            version=self._version,
            endpoint=request.path,
            address=request.remote or "",
            authority=request.host,
            agent=request.headers.get("User-Agent", ""),
            method=method,
            **fields,
        )

    async def _disturbed(self, call: Call) -> bool:
        """What the fault book has for this call; True when the connection is to be dropped."""
        effect = self._world.service(FaultBook).check(method=call.method, entity=None, user=call.user, args={})
        if effect is None:
            return False
        await effect.apply(self._world.clock)
        if effect.rule.http_status:
            raise RestError("SERVICE_UNAVAILABLE", effect.rule.message or "The service is not available.")
        return bool(effect.rule.drop)

    # -- sessions and tasks -------------------------------------------------------------------------------------

    async def _open_session(self, request: web.Request) -> web.StreamResponse:
        user, password = _basic(request.headers.get("Authorization", ""))
        call = self._new_call(request, "Session.create")
        manager = self._world.service(SessionManager)
        try:
            manager.login(call, userName=user, password=password)
        except SoapFault as error:
            return _refusal(from_fault(error))
        except Unavailable as error:
            return _refusal(RestError("SERVICE_UNAVAILABLE", str(error)))
        assert call.opened is not None  # noqa: S101 - a login opens one
        self._tokens.add(call.opened.key)
        return web.json_response(call.opened.key, status=201, headers={paths.SESSION_HEADER: call.opened.key})

    async def _session(self, _request: web.Request, call: Call) -> web.Response:
        session = call.session
        assert session is not None  # noqa: S101 - checked at the door
        moments = {"created_time": stamp(session.login_time), "last_accessed_time": stamp(session.last_active)}
        return web.json_response({"user": session.user, **moments})

    async def _close_session(self, request: web.Request, call: Call) -> web.Response:
        self._tokens.discard(request.headers[paths.SESSION_HEADER])
        self._world.service(SessionManager).logout(call)
        return web.Response(status=204)

    async def _task(self, request: web.Request, _call: Call) -> web.Response:
        return _answer(self._tasks.find(request.match_info["task"]).info())

    def _start(self, request: web.Request, call: Call, work: Callable[[], Awaitable[Any]]) -> web.Response:
        if request.query.get(paths.TASK_PARAMETER) != "true":
            raise RestError("INVALID_ARGUMENT", f"This operation is a task: add {paths.TASK_PARAMETER}=true.")
        return web.json_response(self._tasks.start(call.method, call.user, work).id, status=202)

    # -- operations ---------------------------------------------------------------------------------------------

    async def _enablement(self, request: web.Request, _call: Call) -> web.Response:
        cluster = self._vms.cluster(request.match_info["cluster"], managed=False)
        return _answer(EnablementInfo(enabled=cluster.image_managed))

    async def _enable_image(self, request: web.Request, call: Call) -> web.Response:
        cluster = self._vms.cluster(request.match_info["cluster"], managed=False)

        async def work() -> None:
            with self._world.commit(call.user) as tx:
                tx.set(cluster, image_managed=True)

        return self._start(request, call, work)

    async def _list(self, request: web.Request, _call: Call) -> web.Response:
        cluster = self._vms.cluster(request.match_info["cluster"])
        return _answer(self._vms.listed(cluster, request.query.getall("solutions", [])))

    async def _get(self, request: web.Request, _call: Call) -> web.Response:
        cluster = self._vms.cluster(request.match_info["cluster"])
        found = self._vms.listed(cluster, [request.match_info["solution"]])
        return _answer(found.solutions[request.match_info["solution"]])

    async def _set(self, request: web.Request, call: Call) -> web.Response:
        cluster = self._vms.cluster(request.match_info["cluster"])
        key, spec = request.match_info["solution"], await _read(request, SolutionSpec)
        return self._start(request, call, lambda: self._vms.set(cluster, key, spec, user=call.user))

    async def _delete(self, request: web.Request, call: Call) -> web.Response:
        cluster, key = self._vms.cluster(request.match_info["cluster"]), request.match_info["solution"]
        self._vms.solution(cluster, key)

        async def work() -> None:
            self._vms.delete(cluster, key, user=call.user)

        return self._start(request, call, work)

    async def _apply(self, request: web.Request, call: Call) -> web.Response:
        cluster, spec = self._vms.cluster(request.match_info["cluster"]), await _read(request, ApplySpec)
        if request.query.get(paths.TASK_PARAMETER) != "true":
            raise RestError("INVALID_ARGUMENT", f"This operation is a task: add {paths.TASK_PARAMETER}=true.")
        scope = self._vms.begin_apply(cluster, spec)
        return self._start(request, call, lambda: self._vms.apply(scope, user=call.user))

    async def _check(self, request: web.Request, call: Call) -> web.Response:
        cluster, spec = self._vms.cluster(request.match_info["cluster"]), await _read(request, CheckComplianceSpec)

        async def work() -> Any:
            return self._vms.check(cluster, spec)

        return self._start(request, call, work)

    async def _hooks(self, request: web.Request, _call: Call) -> web.Response:
        cluster = self._vms.cluster(request.match_info["cluster"])
        return _answer(self._vms.hooks(cluster, request.match_info["solution"]))

    async def _mark(self, request: web.Request, call: Call) -> web.Response:
        cluster, spec = self._vms.cluster(request.match_info["cluster"]), await _read(request, ProcessedHookSpec)
        self._vms.mark(cluster, spec, user=call.user)
        return web.Response(status=204)

    async def _enable(self, request: web.Request, call: Call) -> web.Response:
        cluster = self._vms.cluster(request.match_info["cluster"])
        key, spec = request.match_info["solution"], await _read(request, EnableSpec)
        return self._start(request, call, lambda: self._vms.enable(cluster, key, spec, user=call.user))

    async def _multi_source_enable(self, request: web.Request, call: Call) -> web.Response:
        cluster = self._vms.cluster(request.match_info["cluster"])
        key, spec = request.match_info["solution"], await _read(request, MultiSourceEnableSpec)
        return self._start(request, call, lambda: self._later.multi_source_enable(cluster, key, spec, user=call.user))

    async def _transition(self, request: web.Request, call: Call) -> web.Response:
        cluster = self._vms.cluster(request.match_info["cluster"])
        key, spec = request.match_info["solution"], await _read(request, TransitionSpec)
        return self._start(request, call, lambda: self._later.transition(cluster, key, spec, user=call.user))

    async def _dynamic_update(self, request: web.Request, call: Call) -> web.Response:
        cluster, spec = self._vms.cluster(request.match_info["cluster"]), await _read(request, DynamicUpdateSpec)
        self._later.dynamic_update(cluster, spec, user=call.user)
        return web.Response(status=204)


def _basic(header: str) -> tuple[str, str]:
    """Name and password; empty for anything else."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password


async def _read(request: web.Request, kind: type[T]) -> T:
    if (request.content_length or 0) > LARGEST_BODY:
        raise RestError("INVALID_ARGUMENT", f"The body has more than {LARGEST_BODY} bytes.")
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise RestError("INVALID_ARGUMENT", f"The body has more than {LARGEST_BODY} bytes.")
    return codec.decode(kind, bytes(body))


def _answer(value: Any) -> web.Response:
    return web.Response(body=codec.encode(value), content_type="application/json")


def _refusal(error: RestError) -> web.Response:
    return web.Response(status=error.status, body=codec.encode(error.value()), content_type="application/json")
