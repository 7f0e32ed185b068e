"""Logs: both styles, stdlib and structlog alike, never a secret."""

import io
import json
import logging

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from contrail_vsphere.app.logs import clean_text, configure, redact
from contrail_vsphere.pki.secrets import Secret


@pytest.fixture
def logged():
    """Configure, run, give back what was written; the root logger is as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()

    def start(style, level="info"):
        configure(level=level, style=style, stream=stream)
        return stream

    yield start
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def test_json_has_one_object_per_line_from_both_worlds(logged):
    stream = logged("json")
    logging.getLogger("contrail_vsphere.engine").info("pass of %s", "dc1", extra={"attempts": 3})
    with structlog.contextvars.bound_contextvars(key="dc1"):
        structlog.get_logger("contrail_vsphere.app").warning("slow", seconds=4)
    logging.getLogger("x").debug("not shown")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["event"], first["attempts"], first["level"], first["logger"]) == (
        "pass of dc1",
        3,
        "info",
        "contrail_vsphere.engine",
    )
    assert (second["event"], second["seconds"], second["key"]) == ("slow", 4, "dc1")


@pytest.mark.parametrize("style", ["json", "console"])
def test_an_exception_is_shown_without_what_it_should_not_say(logged, style):
    stream = logged(style)
    try:
        raise ValueError("login failed, password=hunter2 vmware_soap_session=52abcdef")
    except ValueError:
        logging.getLogger("x").exception("failed with %s", "Bearer abcdefgh1234", extra={"token": "t0ps3cret"})
    text = stream.getvalue()
    assert "ValueError" in text
    assert "Traceback" in text
    for secret in ("hunter2", "52abcdef", "abcdefgh1234", "t0ps3cret"):
        assert secret not in text


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer s3cr3t-value-0123",
        "Authorization: Basic czNjcjN0LXZhbHVlOg==s3cr3t",
        'cookie vmware_soap_session="s3cr3t"; Path=/',
        "<password>s3cr3t</password>",
        '<vim:password xsi:type="xsd:string">s3cr3t</vim:password>',
        "cvt1.0123456789abcdef.s3cr3t",
        "?token=s3cr3t&x=1",
        "{'password': 's3cr3t'}",
        "-----BEGIN PRIVATE KEY-----\ns3cr3t\n-----END PRIVATE KEY-----",
        "-----BEGIN EC PRIVATE KEY-----\ns3cr3t cut off",
    ],
)
def test_what_looks_like_a_secret_is_masked_in_any_text(text):
    assert "s3cr3t" not in clean_text(text)
    assert clean_text(clean_text(text)) == clean_text(text)


NAMES = ["password", "vcenter_password", "Token", "control.token", "authorization", "cookie", "client-secret"]
VALUES = st.recursive(
    st.just("s3cr3t"),
    lambda inner: st.lists(inner, min_size=1) | st.dictionaries(st.text(), inner, min_size=1),
)


@given(st.sampled_from(NAMES), VALUES, st.lists(st.sampled_from(["list", "mapping"]), max_size=4))
def test_secrets_are_masked_however_deep(name, value, wrapping):
    event = {name: value}
    for kind in wrapping:
        event = {"outer": [event] if kind == "list" else {"inner": event}}
    assert "s3cr3t" not in str(redact(None, "info", event))


def test_wrapped_secrets_and_errors_are_masked_under_any_name():
    event = {"a": Secret("s3cr3t"), "b": [SecretStr("s3cr3t")], "c": ValueError("password=s3cr3t")}
    assert "s3cr3t" not in str(redact(None, "info", event))


def test_what_is_no_secret_is_left_alone():
    event = {"event": "3 tokens redeemed", "token_file": "/x/control.tokens", "keys": ["a"], "password": "", "n": 1}
    assert redact(None, "info", dict(event)) == event
