"""The vimhealth document."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrail_vsphere.contrailvm.notices.health_document import HealthMessage, HealthNode, render_health

NS = "{http://www.vmware.com/vi/healthservice}"
NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
RANK = {"green": 0, "yellow": 1, "red": 2}

nodes = st.recursive(
    st.builds(HealthNode, key=st.text(max_size=8), name=st.text(max_size=8), status=st.sampled_from(sorted(RANK))),
    lambda children: st.builds(
        HealthNode,
        key=st.text(max_size=8),
        name=st.text(max_size=8),
        status=st.sampled_from(sorted(RANK)),
        children=st.lists(children, max_size=3).map(tuple),
    ),
    max_leaves=8,
)


def everything(node):
    yield node
    for child in node.children:
        yield from everything(child)


@given(nodes)
def test_the_worst_child_wins_and_any_name_fits(root):
    document = ET.fromstring(render_health(root))
    assert (document.tag, document.get("schemaVersion")) == (f"{NS}vimhealth", "1.0")
    (shown,) = document.findall(f"{NS}health")
    assert RANK[shown.findtext(f"{NS}status")] == max(RANK[node.status] for node in everything(root))
    assert len(document.findall(f".//{NS}health")) == len(list(everything(root)))


def test_messages_and_ids():
    degraded = HealthMessage("agents", "3 of 64 <degraded>", NOON.astimezone(timezone(timedelta(hours=2))), "warning")
    eam = HealthNode("eam", "ESX Agent Manager", "yellow", messages=(degraded,))
    document = ET.fromstring(render_health(HealthNode("net.example", "Manager", children=(eam,))))
    shown = document.find(f"{NS}health/{NS}health")
    assert shown.get("id") == "net.example.eam"
    message = shown.find(f"{NS}message")
    assert message.attrib == {"id": "net.example.eam.agents", "level": "warning", "time": "2026-01-01T12:00:00Z"}
    assert message.text == "3 of 64 <degraded>"


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="aware"):
        render_health(HealthNode("k", "n", messages=(HealthMessage("m", "t", datetime(2026, 1, 1)),)))
