"""A machine as the run book has it, moved into one folder, and its commands carried out there."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from tests.paths import PROJECT
from tests.service_process import service_environment

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FOLDERS = ("/opt/slidekin", "/etc/slidekin", "/var/lib/slidekin", "/var/log/slidekin", "/root")
_USUAL_ADDRESS = "127.0.0.1:50051"

# What the units start, with what stands for systemd: the state file is its knowledge of readiness.
_SYSTEMCTL = """\
#!/bin/bash
set -e
action=$1 unit=$2 state={run}/state.json
[ "$unit" = slidekin-server ] || {{ echo "unknown unit $unit" >&2; exit 4; }}
if [ "$action" = stop ] || [ "$action" = restart ]; then
    pid=$(cat {run}/pid)
    kill -TERM "$pid"
    while kill -0 "$pid" 2> /dev/null; do sleep 0.05; done
    rm {run}/pid
fi
if [ "$action" = start ] || [ "$action" = restart ]; then
    setsid {opt}/current/service/bin/slidekin-server serve --config {etc}/service.yaml \
        --codes-only --state-file "$state" < /dev/null >> {run}/service.log 2>&1 &
    pid=$!
    echo "$pid" > {run}/pid
    until [ -e "$state" ]; do
        kill -0 "$pid" || {{ tail -5 {run}/service.log >&2; exit 1; }}
        sleep 0.05
    done
fi
"""
_RUNUSER = """\
#!/bin/bash
# runuser -u USER -- COMMAND: all of this machine belongs to one user.
shift 3
exec "$@"
"""


@dataclass(frozen=True)
class Section:
    """A section of the page and its blocks of commands."""

    title: str
    commands: str


def sections(page: str) -> list[Section]:
    """Sections of a page that hold commands, in order."""
    parts = re.split(r"^##+ (.+)$", page, flags=re.MULTILINE)
    titled = [("", parts[0]), *zip(parts[1::2], parts[2::2], strict=True)]
    return [
        Section(title, "".join(blocks))
        for title, text in titled
        if (blocks := _BLOCK.findall(text))
    ]


@dataclass(frozen=True)
class Machine:
    """The run book's folders below one folder, and what plays the system's commands."""

    folder: Path

    def moved(self, path: str) -> Path:
        """Where a path of the run book is here."""
        return self.folder / path.lstrip("/")

    @cached_property
    def address(self) -> str:
        """Of the service."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            return f"127.0.0.1:{taken.getsockname()[1]}"

    def set_up(self, settings: dict[str, Any]) -> None:
        """Make the folders, with two versions of the program and the service's settings."""
        for path in _FOLDERS:
            self.moved(path).mkdir(parents=True)
        for version in ("first", "next"):
            program = self.moved(f"/opt/slidekin/{version}/service")
            program.mkdir(parents=True)
            (program / "bin").symlink_to(Path(sys.executable).parent)
        self.moved("/opt/slidekin/current").symlink_to(self.moved("/opt/slidekin/first"))
        host, _, port = self.address.rpartition(":")
        # The file that comes with the units, and what a closed service adds to it.
        shipped = yaml.safe_load(
            self._here((PROJECT / "deploy" / "systemd" / "service.yaml").read_text("utf-8"))
        )
        listening = {"listen": {"host": host, "port": int(port)}, "metrics": {"port": 0}}
        self.moved("/etc/slidekin/service.yaml").write_text(
            yaml.safe_dump({**shipped, **listening, **settings}), encoding="utf-8"
        )
        (self.folder / "run").mkdir()
        tools = self.folder / "tools"
        tools.mkdir()
        values = {
            name: shlex.quote(str(self.moved(path)))
            for name, path in {"run": "run", "opt": "/opt/slidekin", "etc": "/etc/slidekin"}.items()
        }
        for name, text in {
            "systemctl": _SYSTEMCTL.format(**values),
            "runuser": _RUNUSER,
        }.items():
            (tools / name).write_text(text, encoding="utf-8")
            (tools / name).chmod(0o755)

    def run(self, parts: list[Section]) -> dict[str, str]:
        """Run all commands in one shell, as somebody does who follows the page; say what came."""
        script = "".join(f"echo '## {part.title}'\n{self._here(part.commands)}" for part in parts)
        environment = service_environment()
        environment["PATH"] = f"{self.folder / 'tools'}{os.pathsep}{environment['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        said = re.split(r"^## (.*)\n", done.stdout, flags=re.MULTILINE)
        return dict(zip(said[1::2], said[2::2], strict=True))

    def stop(self) -> None:
        """End the service, where it runs."""
        if (self.folder / "run" / "pid").exists():
            subprocess.run(
                [self.folder / "tools" / "systemctl", "stop", "slidekin-server"],
                timeout=60,
                check=True,
            )

    def _here(self, text: str) -> str:
        for path in _FOLDERS:
            text = re.sub(rf"(?<![\w/]){path}(?=[/\s\"']|$)", str(self.moved(path)), text)
        return text.replace(_USUAL_ADDRESS, self.address)
