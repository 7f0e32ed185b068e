"""One request, one answer: what the API server does between the socket and the rules.

The order is the real server's: not ready, no broker, who asks, may they, does the call exist. Faults that a test put in
force come first of all.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from contrail_vsphere.simulator.contrail import actions, lists, render, resources
from contrail_vsphere.simulator.contrail.answers import HTML, JSON, Answer, RefusedError, stumbled
from contrail_vsphere.simulator.contrail.bus import Outbox
from contrail_vsphere.simulator.contrail.context import Caller, Site
from contrail_vsphere.simulator.contrail.homepage import homepage
from contrail_vsphere.simulator.contrail.keystone import Keystone, unauthorized
from contrail_vsphere.simulator.contrail.store import ApiObject
from contrail_vsphere.wire.contrail import errors
from contrail_vsphere.wire.contrail.schema import ResourceType, resources_by_name

MAX_BODY = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """What came over the socket."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    broken: bool = False
    """Announce the body and close without it."""


@dataclass(frozen=True, slots=True)
class Route:
    """Which call a request is."""

    verb: str
    """``create``, ``read``, ``update``, ``delete``, ``list``, ``home``, or the name of an action."""
    type: ResourceType | None = None
    uuid: str = ""

    @property
    def writes(self) -> bool:
        """Whether the call changes something and so needs the broker."""
        return self.verb in _WRITES


_WRITES = frozenset(
    {"create", "update", "delete", "ref-update", "ref-relax-for-delete", "prop-collection-update", "chown", "chmod"}
)
_METHODS = {("GET", True): "list", ("POST", True): "create"}
_METHODS |= {("GET", False): "read", ("PUT", False): "update", ("DELETE", False): "delete"}


class ApiService:
    """Answers requests; has no sockets and never waits."""

    def __init__(self, site: Site, outbox: Outbox, *, keystone: Keystone | None) -> None:
        self.site = site
        self.outbox = outbox
        self.keystone = keystone
        self.aaa_mode = "cloud-admin" if keystone is not None else "no-auth"
        self.state = "running"
        """``starting``, ``running`` or ``no-zookeeper``."""
        self.calls: Counter[tuple[str, str]] = Counter()
        """(verb, type or empty) -> how often it was called, whatever was answered."""
        self._plurals = {kind.plural: kind for kind in resources_by_name().values()}

    def route(self, request: Request) -> Route:
        """Which call it is. RefusedError 404 or 405 if there is none."""
        path = request.path.strip("/")
        parts = path.split("/")
        if path == "":
            return Route("home")
        kind = self._plurals.get(parts[0])
        if kind is not None and len(parts) == 1:
            return self._verb(request, kind, "", collection=True)
        single = resources_by_name().get(parts[0])
        if single is not None and len(parts) == 2:
            return self._verb(request, single, parts[1], collection=False)
        of_network = single is not None and single.name == "virtual-network" and len(parts) == 3
        if of_network and parts[2] in actions.NETWORK_ACTIONS and request.method == "POST":
            return Route(parts[2], single, parts[1])
        if path in actions.ACTIONS and request.method == "POST":
            return Route(path)
        if path in {"prop-collection-get", "obj-perms", "aaa-mode"} and request.method in {"GET", "PUT"}:
            return Route(path)
        if path.startswith("documentation/"):
            raise RefusedError(404, "File does not exist.")
        raise RefusedError(404, f"Not found: '{request.path}'")

    def _verb(self, request: Request, kind: ResourceType, uuid: str, *, collection: bool) -> Route:
        verb = _METHODS.get((request.method, collection))
        if verb is None:
            raise RefusedError(405, "Method not allowed.")
        return Route(verb, kind, uuid)

    def answer(self, request: Request) -> Reply:
        """Serve one request."""
        try:
            if self.state == "starting":
                raise RefusedError(503, errors.STARTING)
            route = self.route(request)
            self.calls[route.verb, route.type.name if route.type is not None else ""] += 1
            denied = self._deny(request, route)
            if denied is not None:
                return denied
            if route.writes:
                self._check_writable()
            answer = self._serve(request, route, self._caller(request))
        except RefusedError as error:
            return Reply(error.status, error.text.encode(), HTML)
        return Reply(200, answer.body.encode(), JSON if answer.body else HTML)

    def _check_writable(self) -> None:
        if self.state == "no-zookeeper":
            raise RefusedError(503, "No connection to zookeeper.")
        pending = self.outbox.pending
        if pending >= self.site.switches.max_pending:
            raise stumbled(errors.back_pressure(pending))

    def _deny(self, request: Request, route: Route) -> Reply | None:
        if self.keystone is None or self.aaa_mode == "no-auth" or route.verb == "home":
            return None
        token = self.keystone.check(request.headers.get("x-auth-token", ""))
        if token is None:
            headers = {"WWW-Authenticate": "Keystone uri='http://keystone/v3'"}
            return Reply(401, unauthorized().encode(), JSON, headers)
        if not token.admin:
            return Reply(403, b"403 Permission Denied", HTML, broken=self.site.profile.broken_403)
        return None

    def _caller(self, request: Request) -> Caller:
        token = self.keystone.check(request.headers.get("x-auth-token", "")) if self.keystone is not None else None
        return Caller(
            request_id=request.headers.get("x-request-id", ""),
            project=token.project_id if token is not None else "",
            admin=token is None or token.admin,
        )

    # -- calls --------------------------------------------------------------------------------------------------

    def _serve(self, request: Request, route: Route, caller: Caller) -> Answer:
        site, kind = self.site, route.type
        match route.verb:
            case "home":
                return Answer(homepage(site))
            case "list" if kind is not None:
                return Answer(lists.answer(site, kind, lists.Selection.of_query(request.query)))
            case "create" if kind is not None:
                made = resources.create(site, caller, kind, _inner(request, kind))
                return Answer(render.short(site, made))
            case "read" if kind is not None:
                return Answer(_read(site, self._object(kind, route.uuid), request.query))
            case "update" if kind is not None:
                changed = self._object(kind, route.uuid)
                resources.update(site, caller, changed, _inner(request, kind))
                return Answer(render.updated(site, changed))
            case "delete" if kind is not None:
                text = "ID {} does not exist"
                resources.delete(site, caller, self._object(kind, route.uuid, text))
                return Answer()
            case "prop-collection-get":
                return actions.prop_get(site, request.query)
            case "obj-perms":
                token = {"token_info": None, "is_cloud_admin_role": False, "is_global_read_only_role": False}
                return Answer(json.dumps(token | {"permissions": "RWX"}))
            case "aaa-mode":
                return self._serve_mode(request)
        if kind is not None:
            network = self._object(kind, route.uuid)
            return actions.NETWORK_ACTIONS[route.verb](site, caller, network, _parsed(request))
        return actions.ACTIONS[route.verb](site, caller, _parsed(request))

    def _serve_mode(self, request: Request) -> Answer:
        if request.method == "PUT":
            asked = _parsed(request).get("aaa-mode")
            if asked not in {"no-auth", "cloud-admin", "rbac"}:
                raise RefusedError(400, f"Invalid aaa-mode value: {asked}")
            self.aaa_mode = asked
        return Answer(json.dumps({"aaa-mode": self.aaa_mode}))

    def _object(self, kind: ResourceType, uuid: str, text: str = "Unknown id: {}") -> ApiObject:
        found = self.site.store.objects.get(uuid)
        if found is None or found.type is not kind:
            raise RefusedError(404, text.format(uuid))
        return found


def _read(site: Site, shown: ApiObject, query: Mapping[str, str]) -> str:
    fields = frozenset(query["fields"].split(",")) if "fields" in query else None
    # The exclusions count by being there: ``exclude_back_refs=false`` excludes too.
    return render.whole(
        site,
        shown,
        fields=fields,
        hrefs="exclude_hrefs" not in query,
        children="exclude_children" not in query,
        back_refs="exclude_back_refs" not in query,
    )


def _parsed(request: Request) -> dict[str, Any]:
    """The body; the server stumbles over what is no JSON object, and over JSON that does not say so."""
    if "application/json" not in request.headers.get("content-type", ""):
        raise stumbled()
    try:
        document = json.loads(request.body)
    except (ValueError, RecursionError):
        raise stumbled() from None
    if not isinstance(document, dict):
        raise stumbled()
    return document


def _inner(request: Request, kind: ResourceType) -> dict[str, Any]:
    inner = _parsed(request).get(kind.name)
    if not isinstance(inner, dict):
        raise stumbled()
    return inner
