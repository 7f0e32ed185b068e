"""``where`` selects by fields, and whatever is written there it selects or is refused: nothing is run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrail_vsphere.model.errors import InvalidArgument
from contrail_vsphere.servermanager.filters import parse

SERVERS = [
    {"id": "s1", "cluster_id": "c1", "roles": ["controller", "analytics"], "ssh_port": 22, "tag": {"rack": "r1"},
     "mac_address": None},
    {"id": "s2", "cluster_id": "c1", "roles": ["agent"], "ssh_port": 2222, "tag": {},
     "mac_address": "00:50:56:00:00:01"},
    {"id": "it's", "cluster_id": "c2", "roles": [], "ssh_port": 100, "tag": {"rack": "r2"}, "mac_address": None},
]  # fmt: skip


def chosen(where):
    test = parse(where)
    return [each["id"] for each in SERVERS if test(each)]


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("cluster_id='c1'", ["s1", "s2"]),
        ('cluster_id = "c1" and id != s1', ["s2"]),
        ("id = 'it''s'", ["it's"]),
        ("roles = 'analytics'", ["s1"]),
        ("roles != analytics", ["s2", "it's"]),
        ("roles like '%O%'", ["s1"]),
        ("roles in ('agent', 'analytics')", ["s1", "s2"]),
        ("roles not in (agent)", ["s1", "it's"]),
        ("ssh_port > 99", ["s2", "it's"]),
        ("ssh_port <= 100 and ssh_port>=100", ["it's"]),
        ("tag.rack = r1 or tag.rack = r2 and cluster_id = c1", ["s1"]),
        ("(tag.rack = r1 or tag.rack = r2) and not cluster_id = c1", ["it's"]),
        ("tag.rack is null", ["s2"]),
        ("mac_address IS NOT NULL", ["s2"]),
        ("id not like 's_'", ["it's"]),
    ],
)
def test_what_is_selected(where, ids):
    assert chosen(where) == ids


@pytest.mark.parametrize(
    "where",
    ["", "1=1", "id", "id =", "id = 's1' or 1=1", "id = 's1'; DROP TABLE server", "id = 's1' --", "(id = s1",
     "id = s1)", "id = 's1", "colour = 'red'", "id not = 's1'", "id in ()", "(" * 30 + "id = s1" + ")" * 30, "x" * 3000,
     "id = (select id from token)"],
)  # fmt: skip
def test_what_is_refused(where):
    with pytest.raises(InvalidArgument):
        chosen(where)


words = st.sampled_from(
    ["id", "=", "'s1'", "and", "or", "(", ")", "not", "in", "like", "%", ",", "roles", "null", "is", "<"]
)


@given(st.text(max_size=40) | st.lists(words, max_size=10).map(" ".join))
def test_any_text_selects_or_is_refused(text):
    try:
        chosen(text)
    except InvalidArgument as error:
        assert error.message


def test_a_field_that_a_document_may_leave_out_is_null():
    test = parse("domain is null and id = 'bare'", fields=("domain",))
    assert test({"id": "bare"})
    with pytest.raises(InvalidArgument, match="colour"):
        parse("colour is null", fields=("domain",))({"id": "bare"})
