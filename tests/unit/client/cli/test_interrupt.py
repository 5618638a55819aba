from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import grpc
from tests.drawing import draw_slide
from tests.unit.client.recorder import Recorder, serving

from slidekin.v1 import slides_pb2


def test_an_interrupted_ingest_ends_at_once_and_says_so(tmp_path: Path):
    draw_slide(tmp_path / "s.tiff", "glands", width_px=1100, height_px=1100)
    reached, cancelled = threading.Event(), threading.Event()

    def never(requests: Any, context: grpc.ServicerContext) -> Any:
        context.add_callback(cancelled.set)
        next(requests)
        reached.set()
        cancelled.wait(60)
        return slides_pb2.AddSlideResponse()

    def absent(_request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.NOT_FOUND, "not held")

    with serving(Recorder(AddSlide=never, GetSlide=absent)) as target:
        command = [sys.executable, "-m", "slidekin.cli", "ingest", tmp_path / "s.tiff"]
        with subprocess.Popen(
            [*command, "-c", "a", "--server", target], stderr=subprocess.PIPE, text=True
        ) as process:
            assert reached.wait(60)
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=30)
        assert cancelled.wait(30)
    assert process.returncode == 130
    assert "interrupted" in told
    assert "Traceback" not in told
