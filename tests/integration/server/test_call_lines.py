"""One log line for each call, which tells what the call was without saying whose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.service_calls import Calls, random_codes
from tests.service_process import ServiceProcess

from slidekin.v1 import common_pb2, search_pb2

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = (("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"),)


@pytest.fixture
def service(tmp_path: Path):
    """A service whose lines are complete once it has stopped."""
    with ServiceProcess(tmp_path) as running:
        yield running


def lines(service: ServiceProcess, method: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in service.log.read_text().splitlines()]
    return [line for line in found if line.get("method", "").endswith(f"/{method}")]


def test_a_line_tells_what_a_call_was(service: ServiceProcess):
    with service.channel() as channel:
        calls = Calls(channel, "mustermann")
        calls.create()
        calls.add("erika", random_codes(1, patches=7))
        calls.searches.SearchStoredSlide(
            search_pb2.SearchStoredSlideRequest(name=calls.name("erika")),
            timeout=60,
            metadata=TRACEPARENT,
        )
        questions = calls.questions(random_codes(2, patches=3), mode=common_pb2.SEARCH_MODE_EXACT)
        list(calls.searches.SearchSlide(questions, timeout=60))
        with pytest.raises(Exception, match="nobody"):
            calls.searches.SearchStoredSlide(
                search_pb2.SearchStoredSlideRequest(name=calls.name("nobody")), timeout=60
            )
    service.stop()
    (added,) = lines(service, "AddSlide")
    stored, missing = lines(service, "SearchStoredSlide")
    (searched,) = lines(service, "SearchSlide")
    assert (added["code"], added["patches"]) == ("OK", 7)
    assert (stored["code"], stored["patches"], stored["mode"]) == ("OK", 7, "hybrid")
    assert stored["index_version"] == added["index_version"] > 0
    assert stored["trace_id"] == TRACE, "the caller's, though this service traces nothing"
    assert "trace_id" not in added
    assert (searched["patches"], searched["mode"]) == (3, "exact")
    assert (missing["code"], missing["reason"]) == ("NOT_FOUND", "SLIDE_NOT_FOUND")
    collections = {line["collection"] for line in (added, stored, searched, missing)}
    assert len(collections) == 1, "one hash by which its lines are found"
    log = service.log.read_text()
    assert "mustermann" not in log
    assert "erika" not in log
