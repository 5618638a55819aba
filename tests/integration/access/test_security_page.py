"""What docs/security.md shows is run as it stands there, on files and addresses of this machine."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.integration.access.certificates import Authority
from tests.paths import PROJECT
from tests.service_process import ServiceProcess, service_environment

from slidekin import Client, Tls, UnauthenticatedError
from slidekin_server.access.key_file import KeyFile
from slidekin_server.access.roles import Grant, Role
from slidekin_server.config import load_settings

PAGE = (PROJECT / "docs/security.md").read_text(encoding="utf-8")
PLACE = "/etc/slidekin"
ADDRESS = "archive.example:50051"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("etc"))
    made.issue()
    (made.folder / "clients.pem").write_bytes(made.ca_file.read_bytes())
    return made


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[ServiceProcess]:
    """A service with the page's settings for TLS, on loopback."""
    first = yaml.safe_load(blocks("yaml")[0].replace(PLACE, str(authority.folder)))
    first["listen"] = {"host": "127.0.0.1", "port": 0}
    folder = tmp_path_factory.mktemp("service")
    _, key = KeyFile(folder / "store-access").create("page", [Grant(Role.READER, "*")])
    (authority.folder / "lab.key").write_text(key + "\n", encoding="utf-8")
    with ServiceProcess(folder, first, credentials=authority.channel()) as running:
        yield running


@pytest.mark.parametrize("number", range(len(blocks("yaml"))))
def test_settings_on_the_page_are_settings(tmp_path: Path, number: int):
    file = tmp_path / "service.yaml"
    file.write_text(blocks("yaml")[number], encoding="utf-8")
    settings = load_settings(file, {})
    assert settings.access.required
    assert not settings.exposures


def shell(line: str, service: ServiceProcess, authority: Authority) -> str:
    command, *arguments = shlex.split(line)
    module = {"slidekin-server": "slidekin_server", "slidekin": "slidekin.cli"}[command]
    arguments = [
        one.replace(PLACE, str(authority.folder)).replace(ADDRESS, service.url) for one in arguments
    ]
    return subprocess.check_output(
        [sys.executable, "-m", module, *arguments],
        env={
            **service_environment(),
            "SLIDEKIN_SERVER_CONFIG": str(service.folder / "settings.yaml"),
        },
        text=True,
        timeout=60,
    )


def test_commands_on_the_page_do_what_it_says(service: ServiceProcess, authority: Authority):
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    answers = {line: shell(line, service, authority) for line in lines}
    listed = next(text for line, text in answers.items() if line.endswith("keys list"))
    assert {"lab", "scanner-3"} <= set(listed.split())
    patient, slide = (text.strip() for line, text in answers.items() if " audit hash " in line)
    assert patient != slide
    assert re.fullmatch(r"[0-9a-f]{32}", patient)
    assert any(text.startswith("no collections") for text in answers.values())


def test_the_programs_on_the_page_run(service: ServiceProcess, authority: Authority):
    (program,) = blocks("python")
    program = program.replace(PLACE, str(authority.folder)).replace(ADDRESS, service.url)
    key = (authority.folder / "lab.key").read_text(encoding="utf-8").strip()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, "docs/security.md", "exec"), {"KEY": key})
    assert printed.getvalue() == "[]\n"
    with (
        Client(service.url, tls=Tls(authority.ca_file)) as client,
        pytest.raises(UnauthenticatedError),
    ):
        client.status()


def test_every_reason_for_a_refusal_is_on_the_page():
    source = "".join(
        file.read_text(encoding="utf-8")
        for file in (PROJECT / "server/slidekin_server/access").glob("*.py")
    )
    reasons = set(re.findall(r'reason="([A-Z_]+)"', source))
    assert reasons
    assert {reason for reason in reasons if reason not in PAGE} == set()
