"""Provisioning: what is asked for becomes a plan, the plan a run, and the run's reports states of servers.

The plan is stored before anything is done, and the run's row before the Ansible server hears of it: whatever dies, the
next start finds the row and asks. A server's end is its own: one that completed stays so whatever becomes of the run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from contrail_vsphere.model.errors import (
    Conflict,
    ContrailVsphereError,
    InvalidState,
    NotFound,
    TransientError,
)
from contrail_vsphere.servermanager import drift
from contrail_vsphere.servermanager.mail import Post
from contrail_vsphere.servermanager.objects import found
from contrail_vsphere.servermanager.plan import deployed_document
from contrail_vsphere.servermanager.planner import Order, Planner, Prepared
from contrail_vsphere.servermanager.records import SYSTEM, Actor, audit, born, move
from contrail_vsphere.servermanager.runs import (
    AnsibleServer,
    EngineToSetUp,
    HostReport,
    HostToRun,
    RegistryToPull,
    RunReport,
    RunRequest,
)
from contrail_vsphere.servermanager.states import RunState, ServerState
from contrail_vsphere.servermanager.store import Store
from contrail_vsphere.servermanager.tables import Cluster, Run, Server
from contrail_vsphere.servermanager.tables import Plan as PlanRow

_LOG = logging.getLogger(__name__)

WAIT: Final = 5.0
"""Seconds that the Ansible server may keep us waiting for news of a run."""
REST: Final = 0.25
"""Seconds between two reports that are written down, so that who watches is hardly behind and the database at rest."""
SILENCE: Final = 0.5
"""Seconds until the Ansible server is asked again when it did not answer."""
PROVISION: Final = "provision"
DRIFT: Final = "drift"
UNFINISHED: Final = (RunState.QUEUED, RunState.RUNNING)
LOST_AFTER: Final = 120.0
"""Seconds without an answer of the Ansible server after which a run counts as interrupted."""

_HOST_STATES: Final = {
    "completed": ServerState.PROVISIONED,
    "failed": ServerState.FAILED,
    "canceled": ServerState.FAILED,
    "unreachable": ServerState.UNREACHABLE,
}


class Provisioner:
    """Starts runs and follows them to their end."""

    def __init__(
        self,
        store: Store,
        *,
        planner: Planner,
        ansible: AnsibleServer,
        registry: RegistryToPull,
        post: Post | None = None,
    ) -> None:
        self._store = store
        self._post = post
        self._planner = planner
        self._ansible = ansible
        self._registry = registry
        self._following: dict[str, asyncio.Task[None]] = {}

    def plan(self, actor: Actor, order: Order) -> dict[str, Any]:
        """Make and store the plan; blocks, for a thread."""
        with self._store.writing() as session:
            return self._stored(session, actor, self._planner.prepare(session, order))

    async def provision(self, actor: Actor, order: Order, *, plan_hash: str = "") -> str:
        """Start a run and return its id; ``Conflict`` if ``plan_hash`` is not what would be done now.

        The Ansible server must take it now: if it does not answer, the run ends as failed, and the caller hears why.
        """
        return await self._start(await asyncio.to_thread(self._begin, actor, order, plan_hash))

    async def look_for_drift(self, actor: Actor, order: Order) -> str:
        """Start a run that changes nothing and tells what is not as it was put there; returns its id."""
        return await self._start(await asyncio.to_thread(self._begin_look, actor, order))

    async def _start(self, request: RunRequest) -> str:
        try:
            report = await self._ansible.run(request)
        except ContrailVsphereError as error:
            taken = await self._taken_after_all(request.id) if isinstance(error, TransientError) else None
            if taken is None:
                await asyncio.to_thread(self._end, request.id, RunState.FAILED, str(error))
                self._send_mail()
                raise
            report = taken
        await asyncio.to_thread(self._take, request.id, report)
        self._follow(request.id)
        return request.id

    async def _taken_after_all(self, run_id: str) -> RunReport | None:
        """The Ansible server may have the run though its answer was lost."""
        try:
            return await self._ansible.report(run_id)
        except ContrailVsphereError:
            return None

    async def cancel(self, actor: Actor, run_id: str) -> None:
        """Ask the Ansible server to end a run."""
        await asyncio.to_thread(self._note_cancel, actor, run_id)
        try:
            report = await self._ansible.cancel(run_id)
        except NotFound:
            await asyncio.to_thread(self._end, run_id, RunState.INTERRUPTED, "the Ansible server does not know the run")
            return
        await asyncio.to_thread(self._take, run_id, report)

    def retry_order(self, run_id: str) -> Order:
        """The servers of a run that did not complete; blocks, for a thread."""
        with self._store.reading() as session:
            run = session.get(Run, run_id)
            if run is None:
                raise NotFound(f"no run {run_id!r}", hint="server-manager status provision")
            if not RunState(run.state).final:
                raise InvalidState(f"run {run_id} is {run.state}", hint="wait for its end, or cancel it")
            if run.kind == DRIFT:
                raise InvalidState(f"run {run_id} only looked for drift", hint="provision repairs what it found")
            left = [each for each in run.servers if run.hosts.get(each, {}).get("state") != "completed"]
            if not left:
                raise InvalidState(f"run {run_id} left nothing to do")
            return Order(servers=tuple(left), image=session.get_one(PlanRow, run.plan_hash).image_id)

    async def resume(self) -> list[str]:
        """Follow the runs that a former process left under way."""
        left = await asyncio.to_thread(self._unfinished)
        for run_id in left:
            self._follow(run_id)
        return left

    async def stop(self) -> None:
        """Stop following; the runs go on, and ``resume`` finds them."""
        tasks = [task for task in self._following.values() if not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def settled(self, run_id: str) -> None:
        """Wait for the end of a run."""
        if run_id in self._following:
            await asyncio.wait({self._following[run_id]})

    # -- following ------------------------------------------------------------------------------------------------

    def _follow(self, run_id: str) -> None:
        self._following[run_id] = asyncio.create_task(self._to_its_end(run_id), name=f"run {run_id}")

    async def _to_its_end(self, run_id: str) -> None:
        await self._until_it_is_over(run_id)
        self._send_mail()

    def _send_mail(self) -> None:
        if self._post is not None:
            self._post.send()

    async def _until_it_is_over(self, run_id: str) -> None:
        loop = asyncio.get_running_loop()
        heard = loop.time()
        last: RunReport | None = None
        while True:
            rest = REST
            try:
                report = await self._ansible.report(run_id, after=last.n if last is not None else -1, wait=WAIT)
                heard = loop.time()
                if report != last and await asyncio.to_thread(self._take, run_id, report):
                    return
                last = report
            except NotFound:
                await asyncio.to_thread(self._end, run_id, RunState.INTERRUPTED, "the Ansible server lost the run")
                return
            except (TransientError, Conflict) as error:
                rest = SILENCE
                if loop.time() - heard > LOST_AFTER:
                    await asyncio.to_thread(self._end, run_id, RunState.INTERRUPTED, str(error))
                    return
            except ContrailVsphereError as error:
                await asyncio.to_thread(self._end, run_id, RunState.INTERRUPTED, str(error))
                return
            await asyncio.sleep(rest)

    # -- units of work, on threads --------------------------------------------------------------------------------

    def _stored(self, session: Session, actor: Actor, prepared: Prepared) -> dict[str, Any]:
        document = prepared.document
        if session.get(PlanRow, document["hash"]) is None:
            session.add(
                PlanRow(
                    hash=document["hash"], cluster_id=document["cluster"], image_id=document["image"],
                    document=document, made=actor.at, who=actor.name,
                )
            )  # fmt: skip
            session.flush()
        return document

    def _begin(self, actor: Actor, order: Order, plan_hash: str) -> RunRequest:
        with self._store.writing() as session:
            prepared = self._planner.prepare(session, order)
            if plan_hash and plan_hash != prepared.document["hash"]:
                raise Conflict("the plan is not what would be done now", hint="plan again, look, then provision")
            run = self._new_run(session, actor, prepared, servers=sorted(prepared.request_hosts))
            for server_id in run.servers:
                server = found(session, Server, server_id)
                if order.lasting and server.roles != prepared.roles[server_id]:
                    server.roles = prepared.roles[server_id]
                    audit(session, actor, "change", kind="server", object_id=server_id, detail={"roles": server.roles})
                move(session, actor, server, ServerState.PROVISIONING, reason=run.id)
                server.progress = dict.fromkeys(
                    (step.role for step in prepared.request_hosts[server_id].roles), "pending"
                )
            audit(session, actor, "provision", kind="cluster", object_id=run.cluster_id, detail={"run": run.id,
                  "plan": run.plan_hash, "servers": run.servers})  # fmt: skip
            return self._request(run, prepared.request_hosts, engine=order.engine)

    def _begin_look(self, actor: Actor, order: Order) -> RunRequest:
        with self._store.writing() as session:
            prepared = self._planner.prepare(session, order)
            wanted = drift.to_look_at(prepared.document, prepared.request_hosts)
            if not wanted.hosts:
                raise InvalidState("nothing runs there as it is planned now", hint="provision it first")
            run = self._new_run(session, actor, prepared, servers=sorted(wanted.hosts), kind=DRIFT)
            if wanted.pending:
                run.reason = f"left out, since changes are planned: {', '.join(wanted.pending)}"
            audit(session, actor, "look for drift", kind="cluster", object_id=run.cluster_id, detail={"run": run.id,
                  "servers": run.servers})  # fmt: skip
            return self._request(run, wanted.hosts, check=True)

    def _new_run(
        self, session: Session, actor: Actor, prepared: Prepared, *, servers: list[str], kind: str = PROVISION
    ) -> Run:
        """The row; ``Conflict`` if one of the servers is in a run that is not over."""
        for other in session.scalars(select(Run).where(Run.state.in_(UNFINISHED))):
            if shared := sorted(set(servers) & set(other.servers)):
                raise Conflict(f"{', '.join(shared)}: in run {other.id}", hint="wait for its end, or cancel it")
        document = self._stored(session, actor, prepared)
        run = Run(
            id=f"run-{uuid4().hex[:16]}", kind=kind, cluster_id=document["cluster"], plan_hash=document["hash"],
            remote_id="", servers=servers, state=RunState.QUEUED, reason="asked for", since=actor.at,
            started=actor.at, hosts={}, who=actor.name,
        )  # fmt: skip
        session.add(run)
        born(session, actor, run, reason="asked for")
        return run

    def _request(
        self, run: Run, hosts: dict[str, HostToRun], *, check: bool = False, engine: EngineToSetUp = ""
    ) -> RunRequest:
        return RunRequest(
            id=run.id, cluster=run.cluster_id, plan=run.plan_hash, hosts=hosts, registry=self._registry, check=check,
            engine=engine,
        )  # fmt: skip

    def _note_cancel(self, actor: Actor, run_id: str) -> None:
        with self._store.writing() as session:
            run = session.get(Run, run_id)
            if run is None:
                raise NotFound(f"no run {run_id!r}", hint="server-manager status provision")
            if RunState(run.state).final:
                raise InvalidState(f"run {run_id} is over: {run.state}")
            audit(session, actor, "cancel", kind="run", object_id=run_id)

    def _unfinished(self) -> list[str]:
        with self._store.reading() as session:
            return list(session.scalars(select(Run.id).where(Run.state.in_(UNFINISHED))))

    def _take(self, run_id: str, report: RunReport) -> bool:
        """Write what a report says; True when the run is over."""
        with self._store.writing() as session:
            run = session.get_one(Run, run_id)
            if RunState(run.state).final:
                return True
            actor = Actor(SYSTEM, self._store.now())
            run.remote_id = report.id
            hosts = {name: each.model_dump() for name, each in report.hosts.items() if name in run.servers}
            if hosts != run.hosts:
                run.hosts = {**run.hosts, **hosts}
            plan_row = session.get_one(PlanRow, run.plan_hash)
            for name, host in report.hosts.items():
                if name in run.servers and run.kind == DRIFT:
                    self._take_look(session, actor, name=name, host=host)
                elif name in run.servers:
                    self._take_host(session, actor, run=run, plan_row=plan_row, name=name, host=host)
            if report.state != run.state:
                move(session, actor, run, report.state, reason=report.reason or report.state)
            if report.state.final:
                self._close(session, actor, run, plan_row)
            return report.state.final

    def _take_look(self, session: Session, actor: Actor, *, name: str, host: HostReport) -> None:
        server = session.get(Server, name)
        verdict = drift.verdict(ServerState(server.state), host) if server is not None else None
        if server is not None and verdict is not None and verdict != (server.state, server.reason):
            state, reason = verdict
            if state == server.state:
                server.reason = reason
            else:
                move(session, actor, server, state, reason=reason)

    def _take_host(
        self, session: Session, actor: Actor, *, run: Run, plan_row: PlanRow, name: str, host: HostReport
    ) -> None:
        server = session.get(Server, name)
        if server is None or server.state != ServerState.PROVISIONING or server.reason != run.id:
            return
        if host.roles and host.roles != server.progress:
            server.progress = {**server.progress, **host.roles}
        _remember(server, plan_row, [role for role, state in host.roles.items() if state == "completed"])
        state = _HOST_STATES.get(host.state)
        if state is None:
            return
        if state is ServerState.PROVISIONED:
            _remember(server, plan_row, None)
            server.provisioned_id = plan_row.image_id
        reason = run.id if state is ServerState.PROVISIONED else " ".join(f"{host.task}: {host.message}".split())
        move(session, actor, server, state, reason=reason.removeprefix(": ") or str(host.state))

    def _end(self, run_id: str, state: RunState, reason: str) -> None:
        with self._store.writing() as session:
            run = session.get_one(Run, run_id)
            if RunState(run.state).final:
                return
            actor = Actor(SYSTEM, self._store.now())
            move(session, actor, run, state, reason=reason)
            self._close(session, actor, run, session.get_one(PlanRow, run.plan_hash))

    def _close(self, session: Session, actor: Actor, run: Run, plan_row: PlanRow) -> None:
        """No server of a run that is over stays in provisioning, and who is to be told gets a letter."""
        for name in run.servers:
            server = session.get(Server, name)
            if server is not None and server.state == ServerState.PROVISIONING and server.reason == run.id:
                move(session, actor, server, ServerState.FAILED, reason=f"{run.id} {run.state}: {run.reason}")
        ended = [session.get(Server, name) for name in run.servers]
        if (
            run.kind == PROVISION
            and run.state == RunState.SUCCEEDED
            and all(s is not None and s.state == ServerState.PROVISIONED for s in ended)
        ):
            cluster = session.get(Cluster, run.cluster_id)
            if cluster is not None:
                cluster.provisioned_id = plan_row.image_id
        if self._post is not None:
            self._post.write(session, run, actor.at)


def _remember(server: Server, plan_row: PlanRow, roles: Sequence[str] | None) -> None:
    """What the server bears now: the plan's roles, or those of them that completed."""
    deployed = dict(server.deployed)
    for host in plan_row.document["hosts"]:
        if host["server"] != server.id:
            continue
        for step in host["roles"]:
            if roles is not None and step["role"] not in roles:
                continue
            if step["container"]["action"] == "remove":
                deployed.pop(step["role"], None)
            else:
                deployed[step["role"]] = deployed_document(step)
    if deployed != server.deployed:
        server.deployed = deployed
