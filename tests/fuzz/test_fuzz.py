"""The short version of ``make fuzz``, and what it stands on."""

from __future__ import annotations

import random
from pathlib import Path

import grpc
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from tests.fuzz import targets
from tests.fuzz.calls import Answer, Request
from tests.fuzz.coverage import ReaderRun
from tests.fuzz.descriptions import DESCRIPTIONS
from tests.fuzz.ledger import Ledger
from tests.fuzz.messages import messages
from tests.fuzz.methods import BY_PATH, CONTRACT, Method
from tests.fuzz.mutation import Mutator, restored
from tests.fuzz.oracle import faults
from tests.fuzz.pictures import PICTURES
from tests.fuzz.readers.all import READERS
from tests.fuzz.requests import KINDS
from tests.fuzz.results import Finding
from tests.fuzz.service import growth
from tests.fuzz.small_slides import small_slides
from tests.service_calls import Calls

from slidekin import UnreadableSlideError
from slidekin.slides import open_slide
from slidekin_server.api.server import SERVICES

_SEED = 20260101


_CALLS = {
    "rpc-messages": 80,
    "rpc-bytes": 80,
    "rpc-streams": 25,
    "rpc-metadata": 25,
    "rpc-images": 25,
}
"""Of the short version; the last three wait for deadlines, or for an encoder."""


@pytest.mark.parametrize("target", sorted(KINDS))
def test_calls_of_strangers_are_answered_as_the_contract_says(target: str) -> None:
    result = targets.run(target, _CALLS[target], _SEED)
    assert result.inputs == _CALLS[target]
    assert [finding.what for finding in result.findings] == []


def test_atheris_finds_no_fault_in_a_reader() -> None:
    result = ReaderRun("image-header", _SEED).run(300)
    assert result.inputs >= 300
    assert "branches" in result.depth
    assert [finding.what for finding in result.findings] == []


@pytest.mark.parametrize("name", sorted(READERS))
def test_readers_take_their_seeds_and_what_is_near_them(name: str) -> None:
    reader = READERS[name]
    chance = random.Random(_SEED)
    seeds = list(reader.seeds())
    for data in seeds:
        reader.read(data)
    for number in range(60):
        data = Mutator(number).mutate(chance.choice(seeds))
        reader.read(restored(data) if reader.checksummed else data)


_ALIASES = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
_HOSTILE_TEXTS = {
    "nest": "[" * 500 + "]" * 500,
    "nested mappings": "{a: " * 500 + "1" + "}" * 500,
    "itself": "a: &a [*a]\nschema: *a\nlimits: &b {max_k: *b}\n",
    "billions": f"a0: &a0 [x]\n{_ALIASES}schema: *a9\nlimits: *a9\nlisten: {{host: *a9}}\n",
    "long number": f"schema: 0x{'f' * 9000}\nlimits: {{max_k: 0x{'f' * 9000}}}\n",
    "longer number": '{"schema": ' + "9" * 9000 + "}",
    "no such day": "schema: 2026-02-30\n",
    "long field": f"{'x' * 140_000}\n",
}


@pytest.mark.parametrize("name", ["settings", "bundle", "manifest", "snapshot", "labels"])
@pytest.mark.parametrize("text", _HOSTILE_TEXTS.values(), ids=_HOSTILE_TEXTS)
def test_files_of_administrators_may_be_nested_and_endless(name: str, text: str) -> None:
    READERS[name].read(text.encode())


def test_no_method_of_the_service_is_forgotten() -> None:
    assert {method.path.split("/")[1] for method in CONTRACT} == set(SERVICES)

    @seed(_SEED)
    @settings(max_examples=400, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def collect(data: st.DataObject) -> None:
        request = data.draw(KINDS["rpc-bytes"](random.Random(data.draw(st.integers(0, 2**64)))))
        sent.add(request.path)

    sent: set[str] = set()
    collect()
    assert {method.path for method in CONTRACT} <= sent <= set(BY_PATH)


def test_every_target_is_described_and_has_a_share() -> None:
    shares = targets.shares()
    assert shares.keys() == DESCRIPTIONS.keys()
    assert sum(shares.values()) == pytest.approx(100)


def test_every_field_of_every_message_is_sent() -> None:
    for method in CONTRACT:
        wanted = {field.name for field in method.request.DESCRIPTOR.fields}
        assert _fields_sent(method) == wanted, method.path


def _fields_sent(method: Method) -> set[str]:
    sent: set[str] = set()

    @seed(_SEED)
    @settings(max_examples=60, database=None, suppress_health_check=list(HealthCheck))
    @given(messages(method.request))
    def collect(message) -> None:
        sent.update(field.name for field, _ in message.ListFields())

    collect()
    return sent


_PATH = "/slidekin.v1.SlideService/GetSlide"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(grpc.StatusCode.INTERNAL, "the service failed", b"", (), 0.1), "code"),
        (Answer(grpc.StatusCode.UNKNOWN, "Unexpected KeyError", b"", (), 0.1), "leak"),
        (Answer(grpc.StatusCode.NOT_FOUND, "Traceback (most recent", b"", (), 0.1), "leak"),
        (Answer(grpc.StatusCode.NOT_FOUND, "in /srv/store", b"", (), 0.1), "leak"),
        (Answer(grpc.StatusCode.NOT_FOUND, "no such slide", b"", (), 0.1), "details"),
        (Answer(grpc.StatusCode.OK, "", b"", (), 25.0), "hang"),
        (Answer(grpc.StatusCode.CANCELLED, "", b"", (), 0.1), "code"),
    ],
)
def test_the_oracle_sees_what_no_stranger_may_get(answer: Answer, kind: str) -> None:
    found = faults(Request(_PATH, (b"",)), answer, [b"/srv/store"])
    assert any(fault.startswith(kind) for fault in found)


def test_an_answer_may_repeat_what_it_was_sent() -> None:
    sent = Request(_PATH, (b"x ValueError y",))
    answer = Answer(grpc.StatusCode.NOT_FOUND, "no 'x ValueError y'", b"", (), 0.1)
    assert not any(fault.startswith("leak") for fault in faults(sent, answer))


def test_a_finding_is_replayed_from_its_file(tmp_path: Path, capsys) -> None:
    call = Request(_PATH, (b"\xff",), metadata=(("x-odd-bin", b"\0"), ("a", "b")))
    assert Request.from_json(call.to_json()) == call
    file = Finding("rpc-bytes", "code: UNKNOWN", calls=[call.to_json()]).save(tmp_path)
    assert targets.replay(file)
    file = Finding("names", "crash: ValueError", data=b"collections/a").save(tmp_path)
    assert targets.replay(file)
    assert "nothing is wrong" in capsys.readouterr().out


def test_memory_that_grows_after_the_first_quarter_is_told() -> None:
    assert growth([100.0, *(200.0 + count for count in range(39))]) == 20.0
    assert growth([100.0, *[200.0] * 39]) == 0.0
    assert growth([100.0] * 7) is None


def test_changed_png_files_have_right_checksums() -> None:
    png = next(data for data in PICTURES if data.startswith(b"\x89PNG"))
    broken = png[:20] + b"\0\0\0\1" + png[24:]
    assert restored(broken) != broken
    assert restored(png) == png


@pytest.mark.parametrize("small", small_slides(), ids=lambda slide: slide.vendor)
def test_small_slides_are_slides(small, tmp_path: Path) -> None:
    file = tmp_path / ("s.dcm" if small.vendor == "dicom" else "s.tiff")
    file.write_bytes(small.data)
    if small.refused:
        with pytest.raises(UnreadableSlideError, match="OpenSlide refuses it"):
            open_slide(file)
        return
    with open_slide(file) as slide:
        assert slide.vendor == small.vendor
        assert slide.dimensions == (192, 192)


def test_the_ledger_notices_what_is_lost(tmp_path: Path) -> None:
    with targets.running_service("rpc-messages") as service:
        service.start()
        with service.channel() as channel:
            calls = Calls(channel, "fuzz-0")
            calls.create()
            ledger = Ledger(channel)
            assert ledger.faults() == []
            ledger.collections["collections/fuzz-0"]["collections/fuzz-0/slides/a"] = b"x"
            assert ledger.faults() == ["state: collections/fuzz-0/slides/a is not as acknowledged"]
