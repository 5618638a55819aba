"""Runs under the Python of an installed bundle, in a namespace without a network: serve and call.

    python from_bundle.py COMMANDS.json

The file says what is started ("service", and "triton" where it is to be) and how health is asked
for. What was seen is printed as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_PATIENCE_S = 600


def main() -> None:
    commands = json.loads(Path(sys.argv[1]).read_text())
    seen: dict[str, object] = {"interfaces": [name for _, name in socket.if_nameindex()]}
    seen["root_is_read_only"] = not os.access("/", os.W_OK) or _refused(Path("/slidekin-probe"))
    running = [
        subprocess.Popen(commands[name]) for name in ("triton", "service") if name in commands
    ]
    try:
        _until_healthy(commands["health"], running)
        from slidekin import Client  # noqa: PLC0415 (of the bundle)

        with Client("127.0.0.1:50051") as client:
            client.create_collection("skin", **commands["collection"])
            seen["collections"] = [one.name for one in client.list_collections()]
            status = client.status()
            seen["version"], seen["encoders"] = status.version, status.encoder_state
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        seen["exit_codes"] = [process.wait(60) for process in running]
    print(json.dumps(seen))


def _refused(file: Path) -> bool:
    try:
        file.touch()
    except OSError:
        return True
    file.unlink()
    return False


def _until_healthy(health: list[str], running: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while subprocess.run(health, capture_output=True, check=False).returncode:
        assert all(process.poll() is None for process in running), "a process ended"
        assert time.monotonic() < deadline, "it did not become healthy in time"
        time.sleep(1)


main()
