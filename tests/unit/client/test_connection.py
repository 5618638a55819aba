"""How the command shows who is calling: what cannot be is refused in the words of its options."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from slidekin.cli._app import app

AWAY = "archive.example:50051"


def said(*arguments: str, **environment: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "status", "--server", AWAY], env=environment)
    assert result.exit_code == 1, result.output
    assert not isinstance(result.exception, Exception), result.exception
    return result.stderr


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"two\nlines", "ключ".encode()])
@pytest.mark.parametrize("option", ["--api-key-file", "--token-file"])
def test_a_file_that_holds_no_credential_is_named(tmp_path: Path, option: str, content: bytes):
    file = tmp_path / "key"
    file.write_bytes(content)
    told = said(option, str(file), "--plaintext-credentials")
    assert f"{file} holds no key or token" in told


def test_a_variable_that_holds_no_credential_is_named():
    assert "SLIDEKIN_API_KEY holds no key or token" in said(SLIDEKIN_API_KEY="ключ")


def test_a_key_and_a_token_are_one_too_many(tmp_path: Path):
    (tmp_path / "token").write_text("t")
    told = said("--token-file", str(tmp_path / "token"), SLIDEKIN_API_KEY="k")
    assert "an API key or a token, not both" in told


def test_a_key_does_not_leave_the_machine_unencrypted():
    told = said(SLIDEKIN_API_KEY="k")
    assert f"the way to {AWAY} is not encrypted" in told
    assert "--ca-file before the command" in told


def test_a_certificate_without_its_key_is_refused(tmp_path: Path):
    told = said("--certificate-file", str(tmp_path / "none.pem"))
    assert "--certificate-file and --key-file belong together" in told
