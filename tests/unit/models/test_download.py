from __future__ import annotations

import hashlib
import socket
from pathlib import Path

import numpy as np
import pytest
from tests.unit.models.file_server import Behaviour, serving

from slidekin_models.errors import WeightsError
from slidekin_models.weights.download import Patience, PublishedFile, download

CONTENT = np.random.default_rng(0).bytes(1_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
BRIEF = Patience(attempts=3, first_pause_s=0.01, read_timeout_s=10)


def published(base: str) -> PublishedFile:
    return PublishedFile("weights.pth", f"{base}/models/weights.pth", SHA256[:8])


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_a_file_is_fetched_checked_and_told_of(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    with serving(Behaviour(CONTENT)) as base:
        path = download(
            published(base), tmp_path, progress=lambda *at: told.append(at), patience=BRIEF
        )
    assert path == tmp_path / "weights.pth"
    assert path.read_bytes() == CONTENT
    assert told[0] == (0, len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(CONTENT)
    behaviour = Behaviour(CONTENT)
    with serving(behaviour) as base:
        download(published(base), tmp_path, patience=BRIEF)
    assert behaviour.asked == []


def test_cut_connections_are_continued_where_they_ended(tmp_path: Path) -> None:
    behaviour = Behaviour(CONTENT, cut_after=[300_000, 0, 0, 200_000, 0, 0, 100_000])
    with serving(behaviour) as base:
        path = download(published(base), tmp_path, patience=BRIEF)
    assert path.read_bytes() == CONTENT
    ranges = [wanted for _, wanted in behaviour.asked]
    assert ranges == [
        None,
        *["bytes=300000-"] * 3,
        *["bytes=500000-"] * 3,
        "bytes=600000-",
    ]


def test_a_later_run_continues_what_an_earlier_one_left(tmp_path: Path) -> None:
    behaviour = Behaviour(CONTENT, cut_after=[400_000, 0, 0, 0])
    with serving(behaviour) as base:
        with pytest.raises(WeightsError, match=r"400000 bytes are kept in .*weights\.pth\.part"):
            download(published(base), tmp_path, patience=BRIEF)
        behaviour.cut_after.clear()
        path = download(published(base), tmp_path, patience=BRIEF)
    assert path.read_bytes() == CONTENT
    assert behaviour.asked[-1][1] == "bytes=400000-"


def test_a_server_without_ranges_is_taken_from_the_beginning(tmp_path: Path) -> None:
    behaviour = Behaviour(CONTENT, ranges=False, cut_after=[700_000])
    with serving(behaviour) as base:
        path = download(published(base), tmp_path, patience=BRIEF)
    assert path.read_bytes() == CONTENT
    assert [wanted for _, wanted in behaviour.asked] == [None, "bytes=700000-"]


@pytest.mark.parametrize("left", [b"another file's beginning", CONTENT + b"too long"])
def test_a_part_of_something_else_is_thrown_away_and_fetched_anew(
    tmp_path: Path, left: bytes
) -> None:
    (tmp_path / "weights.pth.part").write_bytes(left)
    with serving(Behaviour(CONTENT)) as base:
        path = download(published(base), tmp_path, patience=BRIEF)
    assert path.read_bytes() == CONTENT


def test_a_part_that_is_whole_already_only_gets_its_name(tmp_path: Path) -> None:
    (tmp_path / "weights.pth.part").write_bytes(CONTENT)
    with serving(Behaviour(CONTENT)) as base:
        path = download(published(base), tmp_path, patience=BRIEF)
    assert path.read_bytes() == CONTENT


def test_another_file_than_the_published_one_is_refused(tmp_path: Path) -> None:
    with (
        serving(Behaviour(b"<html>please log in</html>")) as base,
        pytest.raises(WeightsError, match=f"gave another file.* not {SHA256[:8]}.*models import"),
    ):
        download(published(base), tmp_path, patience=BRIEF)
    assert list(tmp_path.iterdir()) == []


def test_a_busy_server_is_asked_again_and_a_refusal_is_final(tmp_path: Path) -> None:
    behaviour = Behaviour(CONTENT, statuses=[503, 429])
    with serving(behaviour) as base:
        assert download(published(base), tmp_path, patience=BRIEF).read_bytes() == CONTENT
    assert len(behaviour.asked) == 3
    refusing = Behaviour(CONTENT, statuses=[403, 403])
    with serving(refusing) as base, pytest.raises(WeightsError, match=r"403 Forbidden.*import"):
        download(published(base), tmp_path / "elsewhere", patience=BRIEF)
    assert len(refusing.asked) == 1


def test_without_a_network_the_error_names_the_way_round(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(WeightsError) as raised:
            download(published(address), tmp_path, patience=BRIEF)
    text = str(raised.value)
    assert f"{address}/models/weights.pth" in text
    assert "slidekin-server models import weights.pth" in text
    assert "HTTPS_PROXY" in text


def test_an_address_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not an address of a file"):
        download(published("weights"), tmp_path, patience=BRIEF)


def test_a_proxy_of_the_environment_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behaviour = Behaviour(CONTENT)
    with serving(behaviour) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        path = download(published("http://weights.invalid"), tmp_path, patience=BRIEF)
    assert path.read_bytes() == CONTENT
    assert behaviour.asked[0][0] == "http://weights.invalid/models/weights.pth"
