"""No word of patient data in a log line, whatever the code that logs does."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import warnings

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from slidekin_server.telemetry import configure_logging, count_lost_lines, get_logger
from slidekin_server.telemetry.logs import HASHED_KEYS, PLAIN_KEYS, keep_patient_data_out

SECRET = "Erika Mustermann 1970-01-01"


@pytest.fixture
def stream():
    root = logging.getLogger()
    before = root.handlers, root.level
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    yield stream
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers, level = before
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_time_level_and_place(stream):
    get_logger("slidekin_server.x").info("slide added", patches=60, duration_s=0.5)
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "slide added",
        "level": "info",
        "logger": "slidekin_server.x",
        "patches": 60,
        "duration_s": 0.5,
    }


def test_lines_below_the_level_are_not_written(stream):
    get_logger("x").debug("too small")
    logging.getLogger("y").debug("too small")
    assert stream.getvalue() == ""


def test_names_become_short_hashes_that_stay_the_same(stream):
    for _ in range(2):
        get_logger("x").info("slide added", slide=SECRET, patient=SECRET, collection="colon")
    first, second = lines(stream)
    assert first["slide"] == second["slide"]
    assert len(first["slide"]) == 12
    assert SECRET not in stream.getvalue()
    assert "colon" not in stream.getvalue()


@given(key=st.text(), value=st.text(min_size=1))
def test_what_is_not_known_to_be_harmless_is_dropped(key: str, value: str):
    event = keep_patient_data_out(None, "info", {"event": "e", key: value})
    if key in HASHED_KEYS:
        assert event[key] != value
    elif key not in PLAIN_KEYS and not key.startswith("_"):
        assert event == {"event": "e"}


def test_bound_names_are_guarded_too(stream):
    structlog.contextvars.bind_contextvars(slide=SECRET, label=SECRET, reason="NO_TISSUE")
    get_logger("x").bind(patient_id=SECRET).info("call ended", attributes={"name": SECRET})
    (line,) = lines(stream)
    assert line["reason"] == "NO_TISSUE"
    assert SECRET not in stream.getvalue()
    assert not {"label", "patient_id", "attributes"} & line.keys()


def test_an_exception_is_told_by_type_and_place_but_not_by_message(stream):
    def fail():
        try:
            return {}[SECRET]
        except KeyError as error:
            raise ValueError(f"slide {SECRET}") from error

    try:
        fail()
    except ValueError as error:
        get_logger("x").exception("failed")
        get_logger("x").error("failed", exc_info=error)
        logging.getLogger("y").exception("failed")
    for line in lines(stream):
        assert line["exception"] == "builtins.ValueError"
        assert "test_logs.py" in line["frames"][0]
    assert len(lines(stream)) == 3
    assert SECRET not in stream.getvalue()


def test_what_asyncio_says_of_a_lost_exception_names_no_one(stream):
    async def fail():
        raise ValueError(SECRET)

    async def lose_it():
        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        del task

    asyncio.run(lose_it())
    (line,) = lines(stream)
    assert line["event"] == "Task exception was never retrieved"
    assert line["exception"] == "builtins.ValueError"
    assert SECRET not in stream.getvalue()


def test_warnings_are_logged_with_the_rest(stream):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old thing", stacklevel=1)
    (line,) = lines(stream)
    assert line["level"] == "warning"


def test_a_line_that_cannot_be_written_is_counted_and_disturbs_nobody(stream, capsys):
    lost = []
    count_lost_lines(lambda: lost.append(1))
    get_logger("x").info("slide added")
    assert lost == []
    stream.close()
    get_logger("x").info("slide added")
    assert lost == [1]
    assert capsys.readouterr().err == ""


def test_people_get_text(stream):
    configure_logging("info", "console", stream)
    get_logger("x").info("slide added", slide=SECRET, patches=60)
    assert "slide added" in stream.getvalue()
    assert "patches=60" in stream.getvalue()
    assert SECRET not in stream.getvalue()
