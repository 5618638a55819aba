from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import grpc
import pytest
from tests.unit.client.recorder import Recorder, serving

from slidekin import Client, Retry, Tls, UnavailableError


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for ``archive.example`` that vouches for itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl on this machine to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    chain, key = folder / "chain.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "1", "-subj", "/CN=archive.example",
         "-addext", "subjectAltName=DNS:archive.example", "-keyout", key, "-out", chain],
        check=True, capture_output=True,
    )  # fmt: skip
    return chain, key


def test_both_sides_prove_who_they_are(certificate: tuple[Path, Path]):
    chain, key = certificate
    server = grpc.ssl_server_credentials(
        [(key.read_bytes(), chain.read_bytes())],
        root_certificates=chain.read_bytes(),
        require_client_auth=True,
    )
    tls = Tls(chain, chain, key, server_name="archive.example")
    with serving(Recorder(), server) as target, Client(target, tls=tls) as client:
        assert client.status().version == ""


def test_a_service_that_nobody_vouches_for_is_not_talked_to(certificate: tuple[Path, Path]):
    chain, key = certificate
    server = grpc.ssl_server_credentials([(key.read_bytes(), chain.read_bytes())])
    once = Retry(attempts=1)
    with (
        serving(Recorder(), server) as target,
        Client(target, tls=Tls(server_name="archive.example"), retry=once) as client,
        pytest.raises(UnavailableError),
    ):
        client.status()


def test_a_certificate_without_its_key_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="certificate_file and key_file"):
        Client(tls=Tls(certificate_file=tmp_path / "chain.pem"))
