"""Who is given a turn, from how the hosts of a deployment stand."""

from hypothesis import given
from hypothesis import strategies as st

from contrail_vsphere.contrailvm.desired import Build, Key, PackageRef, RolloutPolicy
from contrail_vsphere.contrailvm.rollout.turns import Rollout, RolloutView, Standing
from contrail_vsphere.model.ids import ClusterId, HostId

KEY = Key("dc1", ClusterId("domain-c21"))
OLD, NEW = (Build(PackageRef(version, f"sha256:{version}")) for version in ("1.0.0", "1.1.0"))


def view(*standings: Standing, concurrency: int = 1, turns: frozenset[HostId] = frozenset()) -> RolloutView:
    policy = RolloutPolicy(canary=0, concurrency=concurrency)
    rollout = Rollout("dc1", 1, "upgrade", NEW, ((str(KEY), OLD),), policy, began_at=0.0)
    for host in sorted(turns):
        rollout = rollout.with_turn(KEY, host, at=1.0)
    return RolloutView(rollout, standings)


def host(number: int, *, serving: bool, waiting: bool, running: bool = True) -> Standing:
    return Standing(
        KEY,
        HostId(f"host-{number}"),
        f"esx-{number:02}",
        current=serving and not waiting,
        serving=serving and running,
        waiting=waiting,
        running=running,
    )


def test_two_hosts_that_do_not_forward_do_not_wait_for_each_other():
    both = view(*(host(number, serving=False, waiting=True) for number in range(2)))
    assert both.granted() == {(KEY, HostId("host-0"))}
    assert both.why_not(KEY, HostId("host-1")) == "its turn comes next"


def test_a_host_that_forwards_waits_for_one_that_does_not():
    site = view(host(0, serving=True, waiting=True), host(1, serving=False, waiting=False))
    assert not site.granted()
    assert site.why_not(KEY, HostId("host-0")) == "its turn comes after esx-01"


@st.composite
def sites(draw: st.DrawFn) -> RolloutView:
    hosts = [
        host(number, serving=draw(st.booleans()), waiting=draw(st.booleans()), running=draw(st.booleans()))
        for number in range(draw(st.integers(1, 6)))
    ]
    concurrency = draw(st.integers(1, 3))
    waiting = [each.host for each in hosts if each.waiting]
    turns = draw(st.lists(st.sampled_from(waiting), unique=True, max_size=concurrency)) if waiting else []
    return view(*hosts, concurrency=concurrency, turns=frozenset(turns))


@given(sites())
def test_whoever_waits_gets_a_turn_in_the_end_and_never_too_many_at_once(site):
    granted = site.granted()
    turns = {turn.host for turn in site.rollout.turns}
    by_host = {each.host: each for each in site.standings}
    dark = {each.host for each in site.standings if not each.serving}
    lit = {who for _, who in granted if by_host[who].serving}
    assert not {who for _, who in granted} & turns
    assert all(by_host[who].waiting for _, who in granted)
    if lit:  # a host that forwards stops forwarding for its turn
        assert len(dark | turns | lit) <= site.rollout.policy.concurrency
    may_wait_for_others = {each.host for each in site.standings if not each.serving and not each.waiting}
    if not turns and not may_wait_for_others and any(each.waiting for each in site.standings):
        assert granted, "they would wait for each other for ever"
