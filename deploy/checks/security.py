"""`make security`: known vulnerabilities of the locks, licences of installed packages, secrets.

The exit code is 1 if something is wrong. A check that could not be made is reported in a line that
begins with "not checked": no message never means "clean".
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from licences import faults_of_page

_PROJECT = Path(__file__).resolve().parents[2]
_LOCKS = ("deploy/environments/app.txt", "deploy/triton/requirements.txt")
_TIMEOUT_S = 120


def main() -> int:
    """Run every check and report its findings."""
    faults = [*_vulnerabilities(), *faults_of_page(), *_secrets()]
    for fault in faults:
        _say(f"security: {fault}")
    return 1 if faults else 0


def _vulnerabilities() -> list[str]:
    faults = []
    for lock in _LOCKS:
        ended = _run(
            "pip-audit", "-r", lock, "--no-deps", "--disable-pip", "--format=json",
            "--progress-spinner=off", "--timeout=10",
        )  # fmt: skip
        try:
            packages = json.loads(ended.stdout)["dependencies"]
        except (ValueError, KeyError):
            reason = (ended.stderr.strip().splitlines() or ["no answer"])[-1]
            _say(f"not checked: vulnerabilities of {lock}: {reason}")
            continue
        skipped = [one["name"] for one in packages if "skip_reason" in one]
        if skipped:
            _say(
                f"not checked: vulnerabilities of {len(skipped)} of {len(packages)} packages of "
                f"{lock}: the vulnerability service does not know them"
            )
        faults += [
            f"{one['name']} {one['version']} of {lock} has {found['id']}"
            for one in packages
            for found in one.get("vulns", ())
        ]
    return faults


def _secrets() -> list[str]:
    files = _run("git", "ls-files", "server", "client", "deploy", "protos", ".ci").stdout.split()
    source = [file for file in files if file.endswith((".py", ".yaml", ".sh", ".toml", ".service"))]
    ended = _run(
        "detect-secrets", "scan", "--disable-plugin", "HexHighEntropyString",
        "--disable-plugin", "Base64HighEntropyString", "--disable-plugin", "KeywordDetector",
        *source,
    )  # fmt: skip
    found = json.loads(ended.stdout)["results"]
    return [f"{file}:{one['line_number']}: {one['type']}" for file in found for one in found[file]]


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=_PROJECT, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )


if __name__ == "__main__":
    sys.exit(main())
