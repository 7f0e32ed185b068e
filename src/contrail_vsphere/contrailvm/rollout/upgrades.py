"""What a person may say about rollouts: upgrade, roll back, pause, resume, approve. Edits of the desired state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from contrail_vsphere.contrailvm.controller import ContrailVmController
from contrail_vsphere.contrailvm.desired import Desired, Key, PackageFacts, RolloutPolicy
from contrail_vsphere.contrailvm.notebook import Notebook
from contrail_vsphere.contrailvm.observed import InventoryView
from contrail_vsphere.contrailvm.plan.disturbance import tenants_by_host
from contrail_vsphere.contrailvm.publish.shelf import Shelf
from contrail_vsphere.contrailvm.rollout.checks import misfits, upgrade_problems
from contrail_vsphere.contrailvm.rollout.desk import RolloutDesk
from contrail_vsphere.contrailvm.rollout.turns import Rollout, build_of, way_back
from contrail_vsphere.contrailvm.rollout.view import is_unproved
from contrail_vsphere.model.errors import DesiredStateError, InvalidState, NotFound, NotReadyYet, RefusedError
from contrail_vsphere.model.ids import HostId


@dataclass(frozen=True, slots=True)
class UpgradeWish:
    """What is asked for; None and empty leave it as the deployment has it."""

    deployment: str
    to: str = ""
    """Version, or the beginning of a digest."""
    size: str | None = None
    canary: int | None = None
    concurrency: int | None = None
    force: bool = False
    """Although the pre-checks find something."""


class Upgrades:
    """The verbs; every one answers what it did, in words."""

    def __init__(
        self,
        *,
        controller: ContrailVmController,
        notebook: Notebook,
        shelf: Shelf,
        desk: RolloutDesk,
        inventory: InventoryView,
        blind: Callable[[], str],
    ) -> None:
        self._controller = controller
        self._notebook = notebook
        self._shelf = shelf
        self._desk = desk
        self._inventory = inventory
        self._blind = blind

    async def upgrade(self, wish: UpgradeWish, *, by: str, dry_run: bool = False) -> tuple[str, ...]:
        """Replace the deployment's ContrailVMs by others; RefusedError lists everything that speaks against it."""
        present = self._keys(wish.deployment)
        if self._blind():
            raise NotReadyYet(f"nothing can be checked yet: {self._blind()}", hint="try again soon")
        package = self._package(wish, present)
        wanted = {key: self._wanted(each, wish, package) for key, each in present.items()}
        changed = {key: each for key, each in wanted.items() if build_of(each) != build_of(present[key])}
        if not changed:
            return ()
        unfit = dict.fromkeys(each for desired in changed.values() for each in misfits(desired, package))
        if unfit and not dry_run:
            raise RefusedError(f"the upgrade cannot come true: {'; '.join(unfit)}", hint="put that right first")
        problems = await self.problems(changed, package)
        if problems and not wish.force and not dry_run:
            raise RefusedError(
                "the upgrade would fail:\n  " + "\n  ".join(problems),
                hint="put that right; or --force, to try all the same",
            )
        policy = _with(next(iter(changed.values())).rollout, wish)
        told = self._told(changed, present, policy)
        if dry_run:
            return (*told, *(f"would be refused: {each}" for each in problems))
        self.note_builds(present)
        self._desk.write(
            changed, sources=self._sources(wish.deployment, changed), by=by, policy=policy, unchecked=wish.force
        )
        return told

    async def problems(self, wanted: Mapping[Key, Desired], package: PackageFacts) -> tuple[str, ...]:
        """Everything that would make the upgrade fail, the package's URL as EAM sees it included."""
        found = [
            problem
            for key, desired in wanted.items()
            for problem in upgrade_problems(desired, self._controller.observe(key), package)
        ]
        problem = await self._shelf.fetchable(package)
        return tuple(dict.fromkeys([*found, *([problem] if problem else [])]))

    def rollback(self, deployment: str, *, by: str, dry_run: bool = False) -> tuple[str, ...]:
        """Go back to what ran before the newest upgrade."""
        present, rollout = self._keys(deployment), self._rollout(deployment)
        if rollout.kind == "rollback":
            raise InvalidState(
                f"{deployment} was rolled back to {rollout.goal} already",
                hint="`contrailvm upgrade` takes any version",
            )
        if dry_run:
            back = {key: each for key, each in way_back(rollout, present).items() if each != present[key]}
            return self._told(back, present, rollout.policy, canary=0)
        self.note_builds(present)
        begun = self._desk.roll_back(rollout, by=by, reason=f"asked for by {by}")
        return tuple(f"{each.deployment}: {each.kind} from {rollout.target} to {each.target}" for each in begun)

    def pause(self, deployment: str, *, by: str) -> tuple[str, ...]:
        """No more turns; those given end, and everything else goes on."""
        return self._set_paused(deployment, by)

    def resume(self, deployment: str) -> tuple[str, ...]:
        """Give turns again, also after a failure that stopped the rollout."""
        told = self._set_paused(deployment, "")
        rollout = self._notebook.rollouts.get(deployment)
        if rollout is not None and rollout.state == "stopped":
            self._desk.resume(rollout, begun=self._unproved(rollout))
            told = (*told, f"{deployment}: the {rollout.kind} to {rollout.goal} is tried again")
        return told

    def approve(self, deployment: str) -> tuple[str, ...]:
        """Let the other hosts follow the canaries."""
        self._keys(deployment)
        rollout = self._notebook.rollouts.get(deployment)
        if rollout is None or not rollout.active or rollout.approved or not rollout.policy.approval:
            return ()
        self._notebook.put_rollout(replace(rollout, approved=True))
        return (f"{deployment}: the {rollout.kind} to {rollout.goal} goes on after its canaries",)

    def note_builds(self, present: Mapping[Key, Desired]) -> None:
        """What runs now was built from what was desired until now, where nothing else was noted."""
        for key, desired in present.items():
            for view in self._controller.observe(key).hosts:
                record = self._notebook.host(key, view.host.id)
                if view.vm is None:
                    continue
                built, build = record.build_of(view.vm.id), build_of(desired)
                if built is None:
                    self._notebook.put_host(key, view.host.id, record.with_built(view.vm.id, build))
                elif not built.settings:
                    self._notebook.put_host(key, view.host.id, record.with_settings(view.vm.id, build.settings))

    # -- inside -------------------------------------------------------------------------------------------------

    def _set_paused(self, deployment: str, by: str) -> tuple[str, ...]:
        self._keys(deployment)
        rollout = self._notebook.rollouts.get(deployment)
        if rollout is None or not rollout.active or bool(rollout.paused) == bool(by):
            return ()
        self._notebook.put_rollout(replace(rollout, paused=by))
        return (f"{deployment}: the {rollout.kind} to {rollout.goal} is {'paused' if by else 'resumed'}",)

    def _unproved(self, rollout: Rollout) -> Iterator[tuple[Key, HostId]]:
        """Hosts that were replaced already, and not for the better."""
        for key, desired in self._keys(rollout.deployment).items():
            observed = self._controller.observe(key)
            for view in observed.hosts:
                if is_unproved(rollout, desired, observed, view):
                    yield key, view.host.id

    def _keys(self, deployment: str) -> dict[Key, Desired]:
        found = {
            key: each
            for key, each in sorted(self._notebook.desired.items())
            if key.deployment == deployment and not each.removed
        }
        if not found:
            raise NotFound(f"no deployment {deployment!r}", hint="`contrailvm status` lists them")
        return found

    def _rollout(self, deployment: str) -> Rollout:
        rollout = self._notebook.rollouts.get(deployment)
        if rollout is None:
            raise InvalidState(f"{deployment} was never upgraded, so there is nothing to go back to")
        return rollout

    def _package(self, wish: UpgradeWish, present: Mapping[Key, Desired]) -> PackageFacts:
        wanted = wish.to or next(iter(present.values())).package.digest
        found = self._shelf.find(wanted)
        if found is None:
            known = ", ".join(each.version for each in self._shelf.packages) or "none"
            raise DesiredStateError(f"no package {wanted!r} is published; there is {known}")
        return found

    def _wanted(self, desired: Desired, wish: UpgradeWish, package: PackageFacts) -> Desired:
        size = desired.size if wish.size is None else wish.size
        return replace(desired, package=package.ref, size=size)

    def _sources(self, deployment: str, changed: Mapping[Key, Desired]) -> dict[str, dict[str, object]]:
        source = self._notebook.source(deployment)
        first = next(iter(changed.values()))
        return {deployment: {**source, "package": first.package.version, "size": first.size}} if source else {}

    def _told(
        self,
        changed: Mapping[Key, Desired],
        present: Mapping[Key, Desired],
        policy: RolloutPolicy,
        *,
        canary: int | None = None,
    ) -> tuple[str, ...]:
        lines, tenants = [], tenants_by_host(self._inventory.vms.values())
        for key, wanted in changed.items():
            hosts = self._controller.observe(key).hosts
            served = [view.host.id for view in hosts if view.vm is not None]
            guests = sum(tenants[each] for each in served)
            change = f"{build_of(present[key])} to {build_of(wanted)}"
            lines.append(
                f"{key.deployment} on {wanted.cluster_name}: from {change}; the vRouters of {len(served)} hosts "
                f"({guests} tenant VMs run there now) are away once each, while their new ContrailVM starts"
            )
        canaries = policy.canary if canary is None else canary
        first = f"{canaries} first, then " if canaries else ""
        failing = f"; on a failure: {policy.on_failure}" if canary is None else ""
        if lines:
            quiet = f" and drop no more than {policy.drops:g} frames a second" if policy.drops is not None else ""
            lines.append(f"{first}{policy.concurrency} at a time; each must forward {policy.gate:g} s{quiet}{failing}")
        return tuple(lines)


def _with(policy: RolloutPolicy, wish: UpgradeWish) -> RolloutPolicy:
    canary = policy.canary if wish.canary is None else wish.canary
    concurrency = policy.concurrency if wish.concurrency is None else wish.concurrency
    return replace(policy, canary=canary, concurrency=concurrency)
