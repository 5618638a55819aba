"""`make security` refuses licences that are not allowed or not known."""

from __future__ import annotations

import importlib.util

import pytest
from tests.paths import PROJECT

_SCRIPT = PROJECT / "deploy" / "checks" / "licences.py"


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("BSD License", True),
        ("LGPL-2.1-only AND BSD-3-Clause", True),
        ("MIT OR GPL-2.0-only", True),
        ("MIT AND (BSD-3-Clause OR GPL-2.0-only) AND Apache-2.0 WITH LLVM-exception", True),
        ("Mozilla Public License 2.0 (MPL 2.0)", True),
        ("MIT AND (GPL-2.0-only OR GPL-3.0-only)", False),
        ("Not MIT at all", False),
        ("", False),
        ("GPL-3.0-or-later", False),
        ("MIT AND GPL-3.0-only", False),
        ("UNKNOWN", False),
    ],
)
def test_a_licence_is_allowed_as_a_whole_or_not_at_all(licence, allowed) -> None:
    specification = importlib.util.spec_from_file_location("licences", _SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    faults = module.licence_faults([{"Name": "some-package", "License": licence}])
    assert (faults == []) is allowed
