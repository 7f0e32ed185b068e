"""What a person may say to a running manager: apply, remove, pause, resume, release, approve.

Each verb is an edit of the journal and a mark; the reconcile loop does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from contrail_vsphere.contrailvm.controller import ContrailVmController
from contrail_vsphere.contrailvm.deployments.file import DeploymentTable, Diff, difference, merge, parse_deployments
from contrail_vsphere.contrailvm.deployments.names import resolve_deployments
from contrail_vsphere.contrailvm.desired import BundleRef, Desired, Key
from contrail_vsphere.contrailvm.notebook import Notebook
from contrail_vsphere.contrailvm.observed import HostView, LiveInventory
from contrail_vsphere.contrailvm.plan.policy import policy_for
from contrail_vsphere.contrailvm.publish.shelf import Shelf
from contrail_vsphere.contrailvm.records import HostRecord
from contrail_vsphere.contrailvm.rollout.desk import RolloutDesk
from contrail_vsphere.contrailvm.rollout.upgrades import Upgrades
from contrail_vsphere.engine.brake import DeletionBrake
from contrail_vsphere.model.errors import DesiredStateError, NotFound, NotReadyYet


class Operator:
    """The verbs. Hosts, clusters and deployments are selected by name or managed object id; empty selects all."""

    def __init__(
        self,
        *,
        controller: ContrailVmController,
        notebook: Notebook,
        inventory: LiveInventory,
        shelf: Shelf,
        desk: RolloutDesk,
        brake: DeletionBrake,
        blind: Callable[[], str],
        now: Callable[[], float],
    ) -> None:
        self.controller = controller
        self.notebook = notebook
        self.brake = brake
        self._inventory = inventory
        self._shelf = shelf
        self._now = now
        self._desk = desk
        self.upgrades = Upgrades(
            controller=controller, notebook=notebook, shelf=shelf, desk=desk, inventory=inventory, blind=blind
        )

    # -- what should be -----------------------------------------------------------------------------------------

    def check_deployments(self, text: str, *, source: str = "deployments") -> tuple[dict[Key, Desired], Diff]:
        """Check a deployments file against vCenter and the packages; DesiredStateError lists every mistake."""
        return self._resolve(parse_deployments(text, source=source))[1:]

    def apply_deployments(
        self, text: str, *, source: str = "deployments", allow_removal: bool = False, by: str = "operator"
    ) -> Diff:
        """Make a deployments file the desired state. Clusters it drops need ``allow_removal``."""
        tables, after, diff = self._resolve(parse_deployments(text, source=source))
        if diff.removed and not allow_removal:
            keys = ", ".join(self._words(key) for key in diff.removed)
            raise DesiredStateError(
                f"the file no longer names {keys}: the ContrailVMs there would be removed",
                hint="name them again, or allow the removal: --allow-removal",
            )
        before = self.notebook.desired
        written = {key: value for key, value in merge(before, after).items() if before.get(key) != value}
        sources = {name: table.model_dump(mode="json", by_alias=True) for name, table in tables.items()}
        self.upgrades.note_builds({key: value for key, value in before.items() if key in written and not value.removed})
        self._desk.write(written, sources=sources, by=by)
        return diff

    def _resolve(
        self, tables: Mapping[str, DeploymentTable]
    ) -> tuple[Mapping[str, DeploymentTable], dict[Key, Desired], Diff]:
        if not self._inventory.healthy:
            raise NotReadyYet(
                "the inventory of vCenter is not read yet, so names cannot be checked", hint="try again soon"
            )
        others = {key: value for key, value in self.notebook.desired.items() if key.deployment not in tables}
        after = resolve_deployments(
            tables,
            inventory=self._inventory,
            package=self._shelf.find,
            packages=[each.version for each in self._shelf.packages],
            bundle=self._shelf.find_bundle,
            older=self._older_vibs,
            existing=others,
        )
        return tables, after, difference(self.notebook.desired, after)

    def _older_vibs(self, key: Key, after: BundleRef) -> tuple[str, ...]:
        """VIBs of a bundle that the key's hosts have in a newer version."""
        present = self.notebook.desired.get(key)
        return self._shelf.older_vibs(present.vib, after) if present is not None and present.vib is not None else ()

    def remove(self, deployment: str) -> tuple[str, ...]:
        """Take a deployment off its clusters; the brake may still ask. Returns where, in words."""
        keys = [key for key in self.notebook.desired if key.deployment == deployment]
        if not keys:
            raise NotFound(f"no deployment {deployment!r}", hint="`contrailvm status` lists them")
        changed = {key: replace(self.notebook.desired[key], removed=True) for key in keys}
        self.notebook.write_desired(changed, sources={})
        return tuple(self._words(key) for key in sorted(keys))

    # -- a person's word ----------------------------------------------------------------------------------------

    def select(self, *, deployment: str = "", cluster: str = "", host: str = "") -> tuple[tuple[Key, HostView], ...]:
        """Hosts by deployment, cluster and host, each by name or managed object id; NotFound when there is none."""
        found = []
        for key in self._keys(deployment=deployment, cluster=cluster):
            views = self.controller.observe(key).hosts
            found += [(key, view) for view in views if not host or host in (view.host.id, view.host.name)]
        if not found:
            wanted = " ".join(part for part in (deployment, cluster, host) if part)
            raise NotFound(f"no host in scope is {wanted!r}", hint="`contrailvm status` lists them")
        return tuple(found)

    def release(self, *, deployment: str = "", cluster: str = "", host: str = "") -> tuple[str, ...]:
        """Release holds and forget failures and past attempts; returns what was released, in words."""
        told = []
        for key, view in self.select(deployment=deployment, cluster=cluster, host=host):
            record = self.notebook.host(key, view.host.id)
            if record.hold is not None or record.attempts or view.issues or record.intruder:
                released = replace(record, hold=None, attempts=(), asked_at=self._now(), intruder="")
                self.notebook.put_host(key, view.host.id, released)
            if record.hold is not None:
                told.append(f"{view.host.name}: released, it was on hold because it was {record.hold.reason}")
            elif view.issues or record.attempts:
                told.append(f"{view.host.name}: past tries are forgotten, it is looked at again now")
            if record.intruder:
                told.append(f"{view.host.name}: noted, {record.intruder}")
            self.notebook.set_failure(key, view.host.id, None)
        for key in self._keys(deployment=deployment, cluster=cluster):
            self.notebook.set_failure(key, None, None)
            self.controller.engine.retry(key)
        return tuple(told)

    def approve(
        self, *, deployment: str = "", cluster: str = "", host: str = "", issues: tuple[str, ...] = ()
    ) -> tuple[str, ...]:
        """Approve, once, repairs that cost a maintenance mode or a reboot."""
        told = []
        for key, view in self.select(deployment=deployment, cluster=cluster, host=host):
            waiting = [seen.issue.type for seen in view.issues if policy_for(seen.issue.type).handling == "approve"]
            chosen = tuple(sorted({each for each in waiting if not issues or each in issues}))
            if chosen:
                record: HostRecord = self.notebook.host(key, view.host.id)
                self.notebook.update_host(key, view.host.id, approved=tuple(sorted({*record.approved, *chosen})))
                told += [f"{view.host.name}: {each} approved ({policy_for(each).effect})" for each in chosen]
                self.controller.mark(key)
        return tuple(told)

    def pause(self, *, by: str, deployment: str = "", cluster: str = "") -> tuple[str, ...]:
        """Change nothing there until ``resume``."""
        return self._set_paused(by, deployment=deployment, cluster=cluster)

    def resume(self, *, deployment: str = "", cluster: str = "") -> tuple[str, ...]:
        """End a pause."""
        return self._set_paused("", deployment=deployment, cluster=cluster)

    def release_brake(self, name: str, *, by: str, reason: str = "") -> tuple[str, ...]:
        """Approve the deletions that the brake refused."""
        if name != self.brake.name:
            raise NotFound(f"no brake {name!r}", hint=f"there is {self.brake.name!r}")
        released = self.brake.release(by=by, reason=reason)
        for key in self.notebook.desired:
            self.notebook.set_failure(key, None, None)
            self.controller.engine.retry(key)
        return released

    def _set_paused(self, by: str, *, deployment: str, cluster: str) -> tuple[str, ...]:
        told = []
        for key in self._keys(deployment=deployment, cluster=cluster):
            if bool(self.notebook.memory(key).record.paused) != bool(by):
                self.notebook.update_key(key, paused=by)
                told.append(f"{self._words(key)}: {'paused' if by else 'resumed'}")
                self.controller.mark(key)
        return tuple(told)

    def _keys(self, *, deployment: str, cluster: str) -> list[Key]:
        keys = [
            key
            for key, each in sorted(self.notebook.desired.items())
            if (not deployment or key.deployment == deployment)
            and (not cluster or cluster in (key.cluster, each.cluster_name))
        ]
        if not keys:
            wanted = " ".join(part for part in (deployment, cluster) if part) or "anything"
            raise NotFound(f"no deployment matches {wanted!r}", hint="`contrailvm status` lists them")
        return keys

    def _words(self, key: Key) -> str:
        desired = self.notebook.desired.get(key)
        return desired.place if desired else f"{key.deployment} on {key.cluster}"
