"""Requirements on the process that serves the networks. Light to import: no torch."""

from __future__ import annotations

import numpy as np

from slidekin_models.errors import PlacementError


def require_numpy_1() -> None:
    """Refuse to serve under numpy 2.

    Triton's Python backend passes tensors through numpy's C interface of version 1: under numpy 2
    they arrive as garbage, without any error.

    Raises:
        PlacementError: numpy is of version 2 or later.
    """
    if int(np.__version__.split(".")[0]) > 1:
        msg = (
            f"numpy {np.__version__} is installed where Triton's Python backend runs, which hands "
            "over garbage from numpy 2 on: install deploy/triton/requirements.txt there"
        )
        raise PlacementError(msg)
