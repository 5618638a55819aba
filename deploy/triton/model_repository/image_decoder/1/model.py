"""Triton model ``image_decoder``: bytes of image files to pixels of patches."""

from __future__ import annotations

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from slidekin_models.decoding import decode_patch
from slidekin_models.errors import ImageRefusedError
from slidekin_models.host import require_numpy_1


class TritonPythonModel:
    """One instance."""

    def initialize(self, args: dict[str, str]) -> None:  # noqa: ARG002 (Triton's signature)
        """Refuse to start if tensors would arrive as garbage."""
        require_numpy_1()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request separately: a bad image fails only its own request."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:  # noqa: ANN401 (Triton's types are not typed)
        files = pb_utils.get_input_tensor_by_name(request, "IMAGE").as_numpy().reshape(-1)
        try:
            patches = [decode_patch(file) for file in files]
        except ImageRefusedError as error:
            refusal = pb_utils.TritonError(
                f"image refused: {error}", pb_utils.TritonError.INVALID_ARG
            )
            return pb_utils.InferenceResponse(error=refusal)
        # The service sends one image per request: its pixels are returned without stacking.
        pixels = patches[0][np.newaxis] if len(patches) == 1 else np.stack(patches)
        return pb_utils.InferenceResponse([pb_utils.Tensor("PIXELS", pixels)])
