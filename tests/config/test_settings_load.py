"""Settings: file and environment, all mistakes at once, where a value came from, secrets masked."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrail_vsphere.config import Address, load, read
from contrail_vsphere.config.example import example
from contrail_vsphere.config.schema import tables
from contrail_vsphere.model.errors import SettingsError

LAB = '[vcenter.lab]\nhost = "vc.example.com"\n'


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "settings.toml"
        path.write_text(text)
        return path

    return write


def problems(path, environ=None):
    with pytest.raises(SettingsError) as caught:
        load(path, environ or {})
    return str(caught.value).splitlines()


def test_nothing_given_is_all_defaults():
    settings = load(None, {})
    assert settings.vcenter == {}
    assert settings.control.listen == Address("127.0.0.1", 8080)
    assert settings.token_file == Path("/var/lib/contrail-vsphere/control.tokens")
    assert all(entry.origin == "default" for entry in read(None, {}).effective())


def test_every_default_listener_is_on_loopback():
    settings = load(None, {})
    assert all(table.listen.is_loopback for table in (settings.publish, settings.bootstrap, settings.control))


def test_the_environment_wins_and_meets_a_table_whatever_its_case(written):
    path = written('[vcenter."Lab-1"]\nhost = "from-file"\nport = 8443\n')
    environ = {
        "CONTRAIL_VSPHERE__VCENTER__LAB_1__HOST": "from-environment",
        "CONTRAIL_VSPHERE__VCENTER__OTHER__HOST": "second",
        "CONTRAIL_VSPHERE__VCENTER__OTHER__PORT": "444",
        "CONTRAIL_VSPHERE_UNRELATED": "x",
        "PATH": "/bin",
    }
    loaded = read(path, environ)
    assert {name: (one.host, one.port) for name, one in loaded.settings.vcenter.items()} == {
        "Lab-1": ("from-environment", 8443),
        "other": ("second", 444),
    }
    origins = {entry.path: entry.origin for entry in loaded.effective()}
    assert origins["vcenter.Lab-1.host"] == "CONTRAIL_VSPHERE__VCENTER__LAB_1__HOST"
    assert origins["vcenter.Lab-1.port"] == "file"
    assert origins["vcenter.Lab-1.tunnel_port"] == "default"


def test_all_mistakes_are_told_at_once_each_with_its_place(written):
    path = written(
        '[vcenter.lab]\nhots = "x"\nport = 99999\n[publish]\nlisten = "nope"\nadvertise = "ftp://x"\n'
        '[log]\nlevel = "loud"\n[contrl]\na = 1\n'
    )
    found = problems(path, {"CONTRAIL_VSPHERE__LOG__FROMAT": "json", "CONTRAIL_VSPHERE__BOOTSTRAP__LISTEN": "x:y"})
    assert found == [
        "environment: CONTRAIL_VSPHERE__LOG__FROMAT: unknown key fromat (did you mean format?)",
        f"{path}: vcenter.lab.host: missing",
        f"{path}: vcenter.lab.port: input should be less than or equal to 65535, not 99999",
        f"{path}: vcenter.lab.hots: unknown key hots (did you mean host?)",
        f"{path}: publish.listen: 'nope' is not HOST:PORT",
        f"{path}: publish.advertise: 'ftp://x' is not a URL such as https://manager.example.com:8443",
        "CONTRAIL_VSPHERE__BOOTSTRAP__LISTEN: bootstrap.listen: 'x:y' is not HOST:PORT",
        f"{path}: log.level: input should be 'debug', 'info', 'warning' or 'error', not 'loud'",
        f"{path}: contrl: unknown key contrl (did you mean control?)",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[vcenter]\nhost = 'x'\n", "vcenter.host: a table is expected, as in [vcenter.NAME]"),
        ("vcenter = 3\n", "vcenter: a table is expected"),
        ("log = 'x'\n", "log: a table is expected, as in [log]"),
        (f"{LAB}zzz = 1\n", "unknown key zzz (known here: host, port"),
        (f"{LAB}ca_file = 'a'\nthumbprint = '{'ab' * 20}'\n", "vcenter.lab: give ca_file or thumbprint, not both"),
        ("[control]\nlisten = '0.0.0.0:8080'\n", "can be reached from outside: set cert_file and key_file"),
        ("[control]\ncert_file = 'x'\n", "cert_file and key_file go together"),
        ("[manager]\nextension_key = 'a,b'\n", "manager.extension_key: string should match pattern"),
        (f"{LAB}thumbprint = 'AB:CD'\n", "vcenter.lab.thumbprint: string should match pattern"),
        ("[log\n", "is not TOML"),
    ],
)
def test_one_mistake_is_one_line(written, text, says):
    found = problems(written(text))
    assert len(found) == 1
    assert says in found[0]


def test_a_secret_in_the_file_is_refused_and_not_repeated(written):
    found = problems(written(f'{LAB}password = "hunter2"\n'))
    assert "vcenter.lab.password: a secret does not belong in the settings file" in found[0]
    assert "CONTRAIL_VSPHERE__VCENTER__LAB__PASSWORD" in found[0]
    assert "hunter2" not in found[0]


def test_a_secret_from_the_environment_is_masked_wherever_it_is_shown(written):
    loaded = read(written(LAB), {"CONTRAIL_VSPHERE__VCENTER__LAB__PASSWORD": "hunter2"})
    assert loaded.settings.vcenter["lab"].password.get_secret_value() == "hunter2"
    shown = [entry for entry in loaded.effective() if entry.path == "vcenter.lab.password"]
    assert [entry.value for entry in shown] == ["***"]
    assert "hunter2" not in repr(loaded) + str(list(loaded.effective()))


def test_a_wrong_secret_is_not_shown_either(written):
    path = written(f'{LAB}password_file = "x"\n')
    found = problems(path, {"CONTRAIL_VSPHERE__VCENTER__LAB__PASSWORD": "hunter2"})
    assert found == [f"{path}: vcenter.lab: give password_file or the password in the environment, not both"]


def test_paths_in_the_file_are_relative_to_the_file(written, tmp_path, monkeypatch):
    path = written(f'{LAB}ca_file = "keys/ca.pem"\n[manager]\ndata_dir = "/var/x"\n')
    settings = load(path, {"CONTRAIL_VSPHERE__CONTROL__TOKEN_FILE": "tokens"})
    assert settings.vcenter["lab"].ca_file == tmp_path / "keys" / "ca.pem"
    assert settings.manager.data_dir == Path("/var/x")
    assert settings.control.token_file == Path.cwd() / "tokens"


def test_a_file_that_is_absent_says_how_to_get_one(tmp_path):
    assert "contrail-vsphere config init" in problems(tmp_path / "absent.toml")[0]


def test_the_example_loads_and_tells_every_key(written):
    text = example()
    settings = load(written(text), {})
    assert settings.vcenter["lab"].host == "vcenter.example.com"
    keys = {line.lstrip("# ").split(" = ")[0] for line in text.splitlines() if " = " in line}
    expected = {key for kind in tables() for key in kind.keys} - {"password", "rest_password", "broker_password"}
    assert keys == expected


def commented_keys():
    lines = example().splitlines()
    return [number for number, line in enumerate(lines) if line.startswith("# ") and " = " in line]


@pytest.mark.parametrize("number", commented_keys())
def test_each_commented_key_of_the_example_is_right_and_shows_its_default(written, number):
    lines = example().splitlines()
    line = lines[number]
    lines[number] = line.removeprefix("# ")
    try:
        settings = load(written("\n".join(lines)), {})
    except SettingsError as error:
        assert "go together" in str(error)
        return
    if "# example" not in line:
        assert settings == load(written(example()), {})


@given(st.from_regex(r"\A(\[::1\]|127\.0\.0\.1|host-1\.example):[1-9][0-9]{0,3}\Z"))
def test_an_address_is_written_as_it_is_read(text):
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize("text", ["", "host", ":80", "host:", "host:x", "host:70000", "host:٣"])
def test_what_is_no_address(text):
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        Address.parse(text)
