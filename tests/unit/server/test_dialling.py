"""How the server's commands reach a running service: what cannot be is refused before a call."""

from __future__ import annotations

from pathlib import Path

import pytest

from slidekin_server.cli._dialling import DiallingError, dialled


def refused(server: str, **files: Path) -> str:
    with pytest.raises(DiallingError) as caught, dialled(server, **files):
        pass
    return str(caught.value)


@pytest.mark.parametrize("key", ["ключ", "two\nlines"])
def test_a_variable_that_holds_no_key_is_named(monkeypatch: pytest.MonkeyPatch, key: str):
    monkeypatch.setenv("SLIDEKIN_API_KEY", key)
    assert "SLIDEKIN_API_KEY holds no key" in refused("127.0.0.1:1")


def test_a_key_does_not_leave_the_machine_unencrypted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLIDEKIN_API_KEY", "k")
    assert "archive:50051 is not encrypted" in refused("archive:50051")


def test_a_certificate_and_its_key_belong_together(tmp_path: Path):
    told = refused("127.0.0.1:1", ca_file=tmp_path, certificate_file=tmp_path)
    assert "--key-file belong together" in told


def test_a_missing_file_is_named(tmp_path: Path):
    assert f"{tmp_path / 'ca.pem'} cannot be read" in refused("a:1", ca_file=tmp_path / "ca.pem")


def test_the_key_goes_along_as_a_header(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLIDEKIN_API_KEY", " k\n")
    with dialled("127.0.0.1:1") as service:
        assert service.metadata == (("authorization", "Bearer k"),)
