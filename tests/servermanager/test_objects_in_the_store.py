"""Objects on both databases: what is kept, who loses a race, and that nothing secret lies in a column."""

from datetime import UTC, datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import inspect, select, text

from contrail_vsphere.model.errors import Conflict, DocumentError, InvalidArgument, InvalidState, JournalError, NotFound
from contrail_vsphere.servermanager import states
from contrail_vsphere.servermanager.objects import server_document, shown_server
from contrail_vsphere.servermanager.records import Actor, history, move
from contrail_vsphere.servermanager.states import ImageState, RunState, ServerState, check_move
from contrail_vsphere.servermanager.tables import Audit, Base, Secret, Server

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
ALICE = Actor("alice", NOW)
CANARY = "canary-8f1c"


def dump(store):
    """Every column of every table, as text."""
    with store.reading() as session:
        return "\n".join(
            str(session.execute(text(f'SELECT * FROM "{name}"')).all())
            for name in inspect(store.engine).get_table_names()
        )


def test_a_secret_of_any_place_is_encrypted_masked_and_comes_back(store, objects, vault):
    document = {
        "id": "s1", "ip_address": "10.0.0.1", "password": CANARY,
        "parameters": {"provision": {"containers": {"controller": {"RABBITMQ": {"password": CANARY}}},
                                     "contrail_4": {"keystone_config": {"admin_password": CANARY}}}},
    }  # fmt: skip
    with store.writing() as session:
        objects.put_server(session, ALICE, document)
    assert CANARY not in dump(store)
    with store.reading() as session:
        row = session.get(Server, "s1")
        assert CANARY not in str(shown_server(row))
        opened = vault.open(session, server_document(row))
        assert opened["password"] == CANARY
        assert opened["parameters"]["provision"]["contrail_4"]["keystone_config"]["admin_password"] == CANARY
    shown = {"id": "s1", "password": "*****", "domain": "example.com"}
    with store.writing() as session:
        objects.put_server(session, ALICE, shown)
    with store.reading() as session:
        assert vault.open(session, server_document(session.get(Server, "s1")))["password"] == CANARY


def test_secrets_go_with_their_object_and_with_their_value(store, objects):
    with store.writing() as session:
        objects.put_server(session, ALICE, {"id": "s1", "ip_address": "10.0.0.1", "password": CANARY})
    with store.writing() as session:
        objects.put_server(session, ALICE, {"id": "s1", "password": None})
        assert session.scalars(select(Secret)).all() == []
    with store.writing() as session:
        objects.put_server(session, ALICE, {"id": "s1", "password": CANARY})
        objects.delete_server(session, ALICE, "s1")
        assert session.scalars(select(Secret)).all() == []


def test_nobody_refers_to_the_secret_of_another_object(store, objects):
    with store.writing() as session:
        objects.put_server(session, ALICE, {"id": "s1", "ip_address": "10.0.0.1", "password": CANARY})
    thief = {"id": "s2", "ip_address": "10.0.0.2", "password": {"secret": "server/s1/password"}}
    with pytest.raises(InvalidArgument, match="belongs to another"), store.writing() as session:
        objects.put_server(session, ALICE, thief)


def test_the_second_of_two_changes_loses(store, objects):
    with store.writing() as session:
        objects.put_cluster(session, ALICE, {"id": "c1"})
    with store.writing() as session:
        objects.put_cluster(session, ALICE, {"id": "c1", "email": "a@example.com"}, expect=1)
    with pytest.raises(Conflict), store.writing() as session:
        objects.put_cluster(session, ALICE, {"id": "c1", "email": "b@example.com"}, expect=1)


def test_a_change_leaves_state_history_and_audit(store, objects):
    with store.writing() as session:
        row, _ = objects.put_server(session, ALICE, {"id": "s1", "ip_address": "10.0.0.1", "password": CANARY})
        session.flush()
        move(session, Actor("bob", NOW), row, ServerState.UNREACHABLE, reason="no answer on port 22")
    with store.reading() as session:
        told = [
            (each["before"], each["after"], each["reason"], each["who"]) for each in history(session, "server", "s1")
        ]
        assert told == [("", "added", "added", "alice"), ("added", "unreachable", "no answer on port 22", "bob")]
        (entry,) = session.scalars(select(Audit))
        assert (entry.who, entry.action, entry.detail["password"]) == ("alice", "add", "*****")


def test_a_failed_unit_of_work_leaves_nothing(store, objects):
    with pytest.raises(RuntimeError), store.writing() as session:
        objects.put_cluster(session, ALICE, {"id": "c1"})
        session.flush()
        raise RuntimeError
    with pytest.raises(NotFound), store.writing() as session:
        objects.delete_cluster(session, ALICE, "c1")


def test_all_problems_of_a_server_are_told_at_once(store, objects):
    document = {
        "id": "s 1", "ip_address": "10.0.0.999", "mac_address": "zz", "rolls": [], "cluster_id": "nowhere",
        "roles": ["contrail-controller", "control", "compuet"], "tag": {"floor": "2"},
        "parameters": {"provision": {"containers": {"controller": {"CONTROL": {"bgp_prot": 1, "bgp_port": 70000}}}}},
    }  # fmt: skip
    with pytest.raises(DocumentError) as caught, store.writing() as session:
        objects.put_server(session, ALICE, document)
    told = "\n".join(caught.value.problems)
    for path in ("$.server.id", "ip_address",
                 "mac_address", "rolls", "cluster_id", "roles[1]", "roles[2]", "tag.floor",
                 "containers.controller.CONTROL.bgp_prot: unknown; 'bgp_port' is meant?",
                 "CONTROL.bgp_port: 70000"):  # fmt: skip
        assert path in told


def test_a_tag_that_is_carried_keeps_its_name(store, objects):
    with store.writing() as session:
        objects.put_tags(session, ALICE, {"tag1": "floor"})
        objects.put_server(session, ALICE, {"id": "s1", "ip_address": "10.0.0.1", "tag": {"floor": "2"}})
    with pytest.raises(InvalidState, match="carried by s1"), store.writing() as session:
        objects.put_tags(session, ALICE, {"tag1": "rack"})


def test_a_cluster_with_servers_stays(store, objects):
    with store.writing() as session:
        objects.put_cluster(session, ALICE, {"id": "c1"})
        objects.put_server(session, ALICE, {"id": "s1", "ip_address": "10.0.0.1", "cluster_id": "c1"})
    with pytest.raises(InvalidState, match="still has 1 servers"), store.writing() as session:
        objects.delete_cluster(session, ALICE, "c1")


def test_an_address_belongs_to_one_server(store, objects):
    with store.writing() as session:
        objects.put_server(session, ALICE, {"id": "s1", "ip_address": "10.0.0.1"})
    with pytest.raises(DocumentError, match="belongs to server s1"), store.writing() as session:
        objects.put_server(session, ALICE, {"id": "s2", "ip_address": "10.0.0.1"})


def test_the_migrations_make_what_the_tables_say(store):
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, Base.metadata) == []
    store.migrate()


def test_a_newer_database_is_refused(store):
    with store.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(JournalError, match="9999"):
        store.migrate()


@given(st.sampled_from(list(ServerState)), st.sampled_from(list(ServerState)))
def test_only_what_the_table_allows(before, after):
    try:
        check_move(before, after, name="server s1")
    except InvalidState:
        assert after not in states.SERVER_MOVES[before]
    else:
        assert after in states.SERVER_MOVES[before]


def test_nothing_follows_a_final_state_and_all_states_are_reached():
    assert {s for s in RunState if s.final} == {
        RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELED, RunState.INTERRUPTED
    }  # fmt: skip
    assert set().union(*states.SERVER_MOVES.values()) == set(ServerState)
    assert set(ImageState) - set().union(*states.IMAGE_MOVES.values()) == set()
