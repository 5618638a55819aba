"""SDK and commands against a service that is encrypted and asks who is calling."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.access.certificates import Authority
from tests.integration.access.keys import create_key
from tests.service_calls import FINGERPRINT, TEXTURE_BITS, THRESHOLD_BITS
from tests.service_process import ServiceProcess, service_environment

from slidekin import (
    AccessDeniedError,
    AsyncClient,
    Client,
    PermissionDeniedError,
    Retry,
    Tls,
    UnauthenticatedError,
)

ONCE = Retry(attempts=1)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("certificates"))
    made.issue()
    return made


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[ServiceProcess]:
    settings = {"tls": authority.server_settings, "access": {"required": True}}
    service = ServiceProcess(
        tmp_path_factory.mktemp("service"), settings, credentials=authority.channel()
    )
    service.folder.joinpath("store-access").mkdir(mode=0o700)
    with service:
        yield service


@pytest.fixture(scope="module")
def tls(authority: Authority) -> Tls:
    return Tls(authority.ca_file)


@pytest.fixture(scope="module")
def admin_key(service: ServiceProcess) -> str:
    return create_key(service, "root", "admin")


@pytest.fixture(scope="module")
def reader_key(service: ServiceProcess, admin_key: str, tls: Tls) -> str:
    """Of a reader of the collection ``skin``, which is there by now."""
    key = create_key(service, "lab", "reader", "skin")
    with Client(service.url, tls=tls, api_key=admin_key, retry=Retry(attempts=9)) as client:
        wait_known(client)
        client.create_collection(
            "skin",
            model_fingerprint=FINGERPRINT,
            texture_bits=TEXTURE_BITS,
            hamming_threshold_bits=THRESHOLD_BITS,
        )
    return key


def wait_known(client: Client) -> None:
    """Wait until the service has read its keys."""
    for _ in range(600):
        try:
            client.status()
        except UnauthenticatedError:
            time.sleep(0.05)
            continue
        return
    client.status()


def test_a_key_opens_what_its_role_allows(service: ServiceProcess, tls: Tls, reader_key: str):
    with Client(service.url, tls=tls, api_key=reader_key) as client:
        assert [one.collection_id for one in client.list_collections()] == ["skin"]
        assert list(client.list_slides("skin")) == []
        with pytest.raises(PermissionDeniedError, match="key:lab lacks the role admin") as caught:
            client.create_collection("breast", model_fingerprint=FINGERPRINT)
    assert caught.value.reason == "PERMISSION_DENIED"
    assert caught.value.metadata["identity"] == "key:lab"
    assert isinstance(caught.value, AccessDeniedError)


def test_no_key_is_told_apart_from_too_little_of_a_key(service: ServiceProcess, tls: Tls):
    with (
        Client(service.url, tls=tls, retry=ONCE) as client,
        pytest.raises(UnauthenticatedError, match="asks who is calling") as caught,
    ):
        client.status()
    assert caught.value.reason == "CREDENTIALS_MISSING"


@pytest.mark.asyncio
async def test_the_async_client_shows_its_key_too(
    service: ServiceProcess, tls: Tls, reader_key: str
):
    async with AsyncClient(service.url, tls=tls, token=lambda: reader_key) as client:
        assert (await client.get_collection("skin")).collection_id == "skin"


def run(command: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", command, *arguments],
        env={**service_environment(), "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_commands_take_key_and_certificates_from_options_and_environment(
    service: ServiceProcess, authority: Authority, reader_key: str, tmp_path: Path
):
    listing = ("collections", "list", "--json", "--server", service.url)
    ca_file = str(authority.ca_file)
    done = run("slidekin.cli", "--ca-file", ca_file, *listing, SLIDEKIN_API_KEY=reader_key)
    assert json.loads(done.stdout)["collection_id"] == "skin", done.stderr
    file = tmp_path / "key"
    file.write_text(reader_key + "\n", encoding="utf-8")
    by_environment = {"SLIDEKIN_CA_FILE": ca_file, "SLIDEKIN_TOKEN_FILE": str(file)}
    assert run("slidekin.cli", *listing, **by_environment).returncode == 0
    refused = run("slidekin.cli", "--ca-file", ca_file, *listing)
    assert refused.returncode == 1
    assert "SLIDEKIN_API_KEY" in refused.stderr


def test_a_command_that_would_give_its_key_away_stops(reader_key: str):
    listing = ("collections", "list", "--server", "archive.example:50051")
    done = run("slidekin.cli", *listing, SLIDEKIN_API_KEY=reader_key)
    assert done.returncode == 1
    assert "--ca-file before the command" in done.stderr
    assert reader_key not in done.stderr + done.stdout
    done = run(
        "slidekin_server", "snapshot", "--server", "archive.example:1", SLIDEKIN_API_KEY=reader_key
    )
    assert "give --ca-file" in done.stderr


def test_an_administrator_has_a_snapshot_made(
    service: ServiceProcess, authority: Authority, admin_key: str, reader_key: str
):
    arguments = ("snapshot", "--server", service.url, "--ca-file", str(authority.ca_file))
    done = run("slidekin_server", *arguments, SLIDEKIN_API_KEY=admin_key)
    assert done.stdout.startswith("snapshots/"), done.stderr
    done = run("slidekin_server", *arguments, SLIDEKIN_API_KEY=reader_key)
    assert "lacks the role admin for all collections" in done.stderr
