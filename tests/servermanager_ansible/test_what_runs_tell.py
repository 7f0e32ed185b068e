"""Inventories and reports, without processes: what one cluster has is never another's, and every server's end is its
own. By number, defects of the seed era: 1, 2, 3 (inventories), 4, 5 (reports)."""

import yaml
from ansible_stand import CANARY, host, request, role
from hypothesis import given
from hypothesis import strategies as st

from contrail_vsphere.servermanager.ansible_server.events import Event, Progress, translated
from contrail_vsphere.servermanager.ansible_server.inventory import inventory, known_hosts, secrets


class Loader(yaml.SafeLoader):
    """Reads what the inventory marks as not to be expanded."""


Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))

words = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=8, max_size=20)


def read(asked):
    return yaml.load(inventory(asked, keys={}, known_hosts="/k"), Loader)


@given(st.lists(words, min_size=4, max_size=4, unique=True))
def test_01_what_one_cluster_is_given_is_not_in_the_others_inventory(values):
    mine, yours = (
        request(name, hosts=[host(f"10.0.{n}.1", role(content=f"a = {content}"), password=password)])
        for n, (name, content, password) in enumerate([("r1", *values[:2]), ("r2", *values[2:])])
    )
    found = read(mine)["all"]["hosts"]["s1"]
    assert found["ansible_password"] == values[1]
    assert found["contrail_roles"]["lb"]["files"][0]["content"] == f"a = {values[0]}"
    other = str(read(yours)["all"]["hosts"]["s1"])
    assert values[3] not in values[0] + values[1]
    assert repr(f"a = {values[0]}")[1:-1] not in other


def test_02_all_servers_of_a_role_are_in_its_stage():
    asked = request(hosts=[host(f"10.0.0.{n}", role("controller", stage=20)) for n in range(1, 6)])
    found = read(asked)["all"]
    assert sorted(found["children"]["stage_20"]["hosts"]) == ["s1", "s2", "s3", "s4", "s5"]
    assert {each["ansible_host"] for each in found["hosts"].values()} == {f"10.0.0.{n}" for n in range(1, 6)}


def test_03_each_server_has_its_own_password_and_none_stands_for_all():
    asked = request(hosts=[host("10.0.0.1", password="one-secret"), host("10.0.0.2", password="two-secret")])
    found = read(asked)["all"]
    assert [found["hosts"][name]["ansible_password"] for name in ("s1", "s2")] == ["one-secret", "two-secret"]
    assert not any("password" in key for key in found["vars"])
    assert sorted(secrets(asked)) == sorted([CANARY, "one-secret", "two-secret"])
    assert CANARY not in repr(asked)
    assert "one-secret" not in repr(asked)


def test_text_that_looks_like_a_template_stays_text():
    text = inventory(request(hosts=[host("10.0.0.1", role(content="a = {{ lookup('pipe', 'id') }}\n"))]), keys={},
                     known_hosts="/k")  # fmt: skip
    assert '!unsafe "a = {{ lookup' in text


def test_what_leaves_goes_first_and_only_what_is_replaced_rolls():
    roles = [
        role("controller", stage=20, rolling=True, action="recreate"),
        role("lb", stage=10, action="remove"),
        role("agent", stage=50, rolling=True, action="create"),
    ]
    asked = request(hosts=[host("10.0.0.1", *roles)])
    assert read(asked)["all"]["hosts"]["s1"]["contrail_stages"] == {"0": ["lb"], "20": ["controller"], "50": ["agent"]}
    assert [name for name in read(asked)["all"]["children"] if name.startswith("rolling")] == ["rolling_20"]


def test_servers_are_held_to_their_pinned_keys():
    asked = request(hosts=[host("10.0.0.1"), host("10.0.0.2").model_copy(update={"host_key": "", "port": 2222})])
    assert known_hosts(asked) == "10.0.0.1 ssh-ed25519 AAAA\n"
    hosts = read(asked)["all"]["hosts"]
    assert "StrictHostKeyChecking=yes" in hosts["s1"]["ansible_ssh_extra_args"]
    assert "StrictHostKeyChecking=accept-new" in hosts["s2"]["ansible_ssh_extra_args"]


def raw(event, server, **result):
    return {"event": event, "event_data": {"host": server, "task": "Health", "duration": 1.5, "res": result}}


def fold(*given_events, roles):
    progress = Progress(roles)
    for n, fields in enumerate((one for each in given_events for one in each), 1):
        progress.take(Event.model_validate({"n": n, "at": 1.0, **fields}))
    return progress


def done(server, name, *, changed=False):
    return raw("runner_on_ok", server, what=["file f"] if changed else [], changed=changed,
               contrail={"role": name, "done": True})  # fmt: skip


def test_04_a_server_that_cannot_be_reached_is_not_complete():
    unreachable = translated(raw("runner_on_unreachable", "s1", msg="ssh: no route"))
    report = fold(unreachable, [{"state": "ended", "run": "failed"}], roles={"s1": ["lb"]}).hosts()["s1"]
    assert (report.state, report.message, report.roles) == ("unreachable", "ssh: no route", {"lb": "pending"})


def test_05_one_failure_is_one_servers_failure():
    failed = translated(raw("runner_on_failed", "s2", msg="not healthy", contrail={"role": "lb", "step": "health"}))
    events = [translated(done("s1", "lb", changed=True)), failed, translated(done("s3", "lb"))]
    hosts = fold(*events, [{"state": "ended", "run": "failed"}], roles={f"s{n}": ["lb"] for n in (1, 2, 3)}).hosts()
    assert {name: each.state for name, each in hosts.items()} == {
        "s1": "completed", "s2": "failed", "s3": "completed"
    }  # fmt: skip
    assert (hosts["s2"].message, hosts["s2"].task, hosts["s2"].roles) == ("not healthy", "Health", {"lb": "failed"})
    assert (hosts["s1"].changed, hosts["s1"].drift) == (1, ["lb: file f"])


def test_what_never_had_its_turn_says_so():
    hosts = fold([{"state": "running", "host": "s1", "task": "Engine"}], translated(done("s1", "lb")),
                 [{"state": "ended", "run": "interrupted", "message": "its worker died"}],
                 roles={"s1": ["lb", "agent"], "s2": ["lb"]}).hosts()  # fmt: skip
    assert (hosts["s1"].state, hosts["s1"].message) == ("canceled", "its worker died")
    assert hosts["s1"].roles == {"lb": "completed", "agent": "pending"}
    assert hosts["s2"].state == "canceled"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
kinds = st.sampled_from(["runner_on_start", "runner_on_ok", "runner_on_failed", "runner_on_unreachable", "verbose"])


@given(kinds, st.text(max_size=5), st.dictionaries(st.sampled_from(["what", "contrail", "diff", "msg"]), json_values))
def test_nothing_that_a_server_answers_breaks_a_report(kind, server, result):
    fold(translated(raw(kind, server, **result)), roles={server: ["lb"]}).hosts()


def test_one_look_tells_of_every_service_that_is_as_it_should_be():
    looked = raw("runner_on_ok", "s1", changed=False, differing=["agent"],
                 contrail={"step": "look", "settled": ["lb", "analytics"]})  # fmt: skip
    progress = fold(translated(looked), roles={"s1": ["lb", "analytics", "agent"]})
    assert progress.hosts()["s1"].roles == {"lb": "completed", "analytics": "completed", "agent": "pending"}
    assert not progress.complete
    report = fold(translated(looked), translated(done("s1", "agent")), roles={"s1": ["lb", "analytics", "agent"]})
    assert report.complete
