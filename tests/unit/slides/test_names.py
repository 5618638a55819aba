from __future__ import annotations

import subprocess
import sys

from slidekin import slides


def test_public_names_are_sorted_and_there():
    # Constants before classes before functions, as the linter sorts them.
    assert set(slides.__all__) <= set(vars(slides))
    assert len(set(slides.__all__)) == len(slides.__all__)


def test_importing_slides_leaves_the_slow_packages_for_later():
    program = (
        "import sys, slidekin.slides\n"
        "slow = {'sklearn', 'scipy', 'torch', 'skimage.filters'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
