"""A real Prometheus with the rules as they are delivered, in a hurry."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.paths import PROJECT

FOLDER = PROJECT / "deploy/prometheus"
NOBODY = "127.0.0.1:1"
_PATIENCE_S = 90
_POLL_S = 0.1


@contextmanager
def running_prometheus(
    folder: Path, service: str, triton: str = NOBODY
) -> Iterator[Callable[..., dict[str, Any]]]:
    """The configuration as it is delivered, with seconds for minutes and these targets."""
    config = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": "250ms", "scrape_timeout": "250ms"}
    config["global"]["evaluation_interval"] = "250ms"
    for job, target in zip(config["scrape_configs"], (service, triton), strict=True):
        job["static_configs"] = [{"targets": [target]}]
    (folder / "rules").mkdir()
    for path in (FOLDER / "rules").iterdir():
        hasty = re.sub(r"^(\s+for:) \S+$", r"\1 1s", path.read_text(), flags=re.MULTILINE)
        (folder / "rules" / path.name).write_text(hasty)
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"

    def ask(what: str, **parameters: str) -> dict[str, Any]:
        url = f"http://{address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)

    # `timeout` ends it even where these tests are killed.
    command = ["timeout", "--kill-after=5", "580", "prometheus"]
    command += [f"--config.file={folder / 'prometheus.yaml'}", f"--web.listen-address={address}"]
    command += [f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            until(lambda: listens(ask))
            yield ask
        finally:
            process.terminate()
            process.wait(30)


def listens(ask: Callable[..., dict[str, Any]]) -> bool:
    try:
        return ask("rules")["status"] == "success"
    except (urllib.error.URLError, ConnectionError):
        return False


def value(ask: Callable[..., dict[str, Any]], query: str) -> float | None:
    """First value of what a query finds; None where it finds nothing."""
    found = ask("query", query=query)["data"]["result"]
    return float(found[0]["value"][1]) if found else None


def firing(ask: Callable[..., dict[str, Any]]) -> set[str]:
    """Names of the alerts that fire."""
    alerts = ask("alerts")["data"]["alerts"]
    return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + _PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(_POLL_S)
