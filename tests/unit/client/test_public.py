from __future__ import annotations

import inspect
import subprocess
import sys

import slidekin
from slidekin import _exceptions


def test_all_is_sorted_and_everything_in_it_is_there():
    assert slidekin.__all__ == sorted(slidekin.__all__)
    assert all(hasattr(slidekin, name) for name in slidekin.__all__)


def test_importing_the_package_loads_no_reader_of_slides():
    heavy = ["openslide", "skimage", "sklearn", "PIL", "pydicom", "jinja2", "rich", "typer"]
    code = f"import sys, slidekin; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_error_is_public_has_one_root_and_stands_in_the_tree():
    errors = {
        name: kind
        for name, kind in vars(_exceptions).items()
        if inspect.isclass(kind) and issubclass(kind, Exception)
    }
    assert set(errors) <= set(slidekin.__all__)
    assert all(issubclass(kind, slidekin.SlidekinError) for kind in errors.values())
    tree = _exceptions.__doc__ or ""
    assert all(name in tree for name in errors)
