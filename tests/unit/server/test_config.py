"""Settings: one reference file, the environment wins, every mistake is named with its cure."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError
from tests.yaml_bomb import YAML_BOMB

import slidekin_server.config
from slidekin_server.config import ConfigError, Settings, dial_host, load_settings

REFERENCE = Path(slidekin_server.config.__file__).with_name("default.yaml")


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "service.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def problems(file: Path | None = None, **environment: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(file, environment)
    return str(caught.value)


def test_the_reference_file_states_every_option_with_its_default():
    stated = yaml.safe_load(REFERENCE.read_text(encoding="utf-8"))
    assert stated == Settings().model_dump(mode="json")


def test_the_reference_file_loads_as_the_defaults():
    assert load_settings(REFERENCE, {}) == load_settings(None, {}) == Settings()


def test_every_option_of_the_reference_file_is_explained():
    lines = REFERENCE.read_text(encoding="utf-8").splitlines()
    for above, line in itertools.pairwise(lines):
        if line.strip() and not line.lstrip().startswith("#"):
            assert above.lstrip().startswith("#"), line


def test_the_environment_wins_over_the_file_and_the_file_over_the_defaults(tmp_path: Path):
    file = written(tmp_path, "listen: {host: 127.0.0.2, port: 1}\nsearch: {threads: 3}\n")
    settings = load_settings(
        file,
        {
            "SLIDEKIN_SERVER__LISTEN__PORT": "2",
            "SLIDEKIN_SERVER__SEARCH__DEFAULT_PROFILE__INCLUDE_SEED_KEY": "false",
            "SLIDEKIN_SERVER__TRITON__TIMEOUT_S": "0.5",
            "SLIDEKIN_SERVER__REFLECTION": "no",
            "OTHERS": "are none of ours",
        },
    )
    assert (settings.listen.host, settings.listen.port) == ("127.0.0.2", 2)
    assert settings.search.threads == settings.search.thread_count == 3
    assert settings.search.default_profile.include_seed_key is False
    assert settings.triton.timeout_s == 0.5
    assert settings.reflection is False
    assert settings.metrics == Settings().metrics


def test_the_file_may_be_named_by_the_environment(tmp_path: Path):
    file = written(tmp_path, "logging: {level: debug}")
    assert load_settings(None, {"SLIDEKIN_SERVER_CONFIG": str(file)}).logging.level == "debug"


def test_a_section_whose_options_are_all_commented_out_is_fine(tmp_path: Path):
    assert load_settings(written(tmp_path, "listen:\n  # port: 1\n"), {}) == Settings()
    assert load_settings(written(tmp_path, "# nothing yet\n"), {}) == Settings()


def test_settings_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().listen.port = 1
    assert Settings().search.thread_count >= 1


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("listen: {prot: 1}", "unknown key 'listen.prot': did you mean 'listen.port'?"),
        ("lisen: {port: 1}", "unknown key 'lisen': did you mean 'listen.port'?"),
        ("max_k: 7", "unknown key 'max_k': did you mean 'limits.max_k'?"),
        ("colour: red", "unknown key 'colour': default.yaml lists every option"),
        ("listen: 5", "'listen' is 5: it must be a section of options"),
        ("- listen", "it must be a section of options"),
        ("listen: {port: 70000}", "'listen.port' is 70000: input should be less than or equal to"),
        ("listen: {port: many}", "'listen.port' is 'many': input should be a valid integer"),
        ("listen: {port: {a: 1}}", "'listen.port' is {'a': 1}: input should be a valid integer"),
        ("triton: {url: 'http://h:1'}", "'triton.url' is 'http://h:1': must be HOST:PORT"),
        ("triton: {timeout_s: .inf}", "'triton.timeout_s' is inf"),
        ("storage: {synchronous: off}", "'storage.synchronous' is False: input should be 'full'"),
        ("logging: {level: LOUD}", "'logging.level' is 'LOUD': input should be 'debug'"),
        ("shutdown_grace_s: -1", "'shutdown_grace_s' is -1"),
        (
            "tracing: {endpoint: 'collector:4317'}",
            "'tracing.endpoint' is 'collector:4317': must be http://HOST:PORT, or https:// for TLS",
        ),
        ("tracing: {sampling_ratio: 2}", "'tracing.sampling_ratio' is 2"),
        (
            "limits: {max_image_bytes: 99999999}",
            "limits: max_image_bytes (99999999) must be smaller than max_message_bytes (16777216)",
        ),
        ("a: [", "is not valid YAML"),
        ("listen: &a {port: 1}\nmetrics: *a", "aliases such as *a are not read: write out what"),
        (YAML_BOMB, "aliases such as *a0 are not read"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_cure(tmp_path: Path, text: str, wanted: str):
    assert wanted in problems(written(tmp_path, text))


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("LISTEN__PROT", "1", "unknown option 'listen.prot': did you mean 'listen.port'?"),
        ("LISTEN", "1", "unknown option 'listen'"),
        ("LISTEN__PORT__X", "1", "unknown option 'listen.port.x': did you mean 'listen.port'?"),
        ("LISTEN__PORT", "", "'listen.port' is '': input should be a valid integer"),
        ("MODEL__ALLOW_RANDOM_WEIGHTS", "perhaps", "input should be a valid boolean"),
        ("ACCESS__GRANTS", YAML_BOMB, "must be a list in YAML or JSON"),
    ],
)
def test_a_mistake_in_the_environment_is_named_with_its_cure(name: str, value: str, wanted: str):
    found = problems(**{f"SLIDEKIN_SERVER__{name}": value})
    assert found.startswith(f"SLIDEKIN_SERVER__{name}: ")
    assert wanted in found


def test_all_mistakes_are_told_at_once_one_a_line(tmp_path: Path):
    file = written(tmp_path, "listen: {prot: 1}\nlimits: {maxk: 2}\n")
    found = problems(file, SLIDEKIN_SERVER__X="1").splitlines()
    assert len(found) == 3
    file = written(tmp_path, "listen: {port: x}\nlimits: {max_k: 0}\n")
    found = problems(file).splitlines()
    assert [line.startswith(f"{file}: '") for line in found] == [True, True]


def test_a_missing_file_is_named(tmp_path: Path):
    assert "none.yaml: cannot be read" in problems(tmp_path / "none.yaml")


def test_a_file_that_is_not_text_is_named(tmp_path: Path):
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    assert "x.yaml: is not valid YAML" in problems(tmp_path / "x.yaml")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_on_loopback_nothing_more_is_asked_for(tmp_path: Path, host: str):
    assert load_settings(written(tmp_path, f"listen: {{host: '{host}'}}"), {}).exposures == ()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "archive", "::ffff:127.0.0.1"])
@pytest.mark.parametrize(
    ("closed", "wanted"),
    [
        ("", "tls.certificate_file and tls.key_file; nobody is asked who they are"),
        ("access: {required: true}", "calls travel unencrypted"),
        ("tls: {certificate_file: c, key_file: k}", "set access.required to true"),
    ],
)
def test_beyond_loopback_nothing_is_open_unless_that_is_said(
    tmp_path: Path, host: str, closed: str, wanted: str
):
    text = f"listen: {{host: '{host}'}}\n{closed}\n"
    found = problems(written(tmp_path, text))
    assert wanted in found
    assert "set insecure to true" in found
    assert load_settings(written(tmp_path, text + "insecure: true\n"), {}).exposures


def test_with_encryption_and_callers_that_are_known_it_listens_anywhere(tmp_path: Path):
    text = (
        "listen: {host: 0.0.0.0}\ntls: {certificate_file: c, key_file: k}\n"
        "access: {required: true}\n"
    )
    assert load_settings(written(tmp_path, text), {}).exposures == ()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("tls: {certificate_file: c}", "certificate_file and key_file belong together"),
        ("tls: {client_ca_file: c}", "client_ca_file needs certificate_file"),
        ("access: {oidc: {issuer: 'https://i'}}", "audience must be set"),
        ("access: {oidc: {issuer: 'http://i', audience: a}}", "must begin with https://"),
        ("access: {oidc: {algorithms: [HS256]}}", "access.oidc.algorithms.0"),
        ("access: {grants: [{identity: jane, role: reader, collections: [a]}]}", "grants.0"),
        ("access: {grants: [{identity: 'key:a', role: owner, collections: [a]}]}", "'reader'"),
        ("access: {grants: [{identity: 'key:a', role: admin, collections: []}]}", "collections"),
        ("access: {grants: [{identity: 'key:a', role: admin, collections: ['a/b']}]}", "pattern"),
    ],
)
def test_a_mistake_about_access_is_named(tmp_path: Path, text: str, wanted: str):
    assert wanted in problems(written(tmp_path, text))


def test_grants_may_come_from_the_environment():
    stated = '[{"identity": "cert:a", "role": "admin", "collections": ["*"]}]'
    (grant,) = load_settings(None, {"SLIDEKIN_SERVER__ACCESS__GRANTS": stated}).access.grants
    assert (grant.identity, grant.role, grant.collections) == ("cert:a", "admin", ("*",))


@pytest.mark.parametrize(
    ("listened", "dialled"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("[::]", "[::1]"),
        ("fd00::7", "[fd00::7]"),
        ("archive.example", "archive.example"),
    ],
)
def test_what_listens_is_dialled_at_an_address_that_this_machine_reaches(
    listened: str, dialled: str
):
    assert dial_host(listened) == dialled
