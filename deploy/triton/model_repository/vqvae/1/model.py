"""Triton model ``vqvae``: pixels of patches to raw codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from slidekin_models.host import require_numpy_1
from slidekin_models.runtimes.placement import placement_in_triton
from slidekin_models.runtimes.serving import PatchEncoder, load_vqvae


class TritonPythonModel:
    """One instance, on the device that Triton gave it."""

    _encoder: PatchEncoder

    def initialize(self, args: dict[str, str]) -> None:
        """Load the bundle's network; Triton reports what is raised and does not start."""
        require_numpy_1()
        parameters = {
            key: value["string_value"]
            for key, value in json.loads(args["model_config"])["parameters"].items()
        }
        placement = placement_in_triton(
            parameters, args["model_instance_kind"], args["model_instance_device_id"]
        )
        self._encoder = load_vqvae(Path(parameters["bundle"]) / "vqvae", placement)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Encode the patches of all requests together."""
        images = [
            pb_utils.get_input_tensor_by_name(request, "PIXELS").as_numpy() for request in requests
        ]
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("CODES", answer)])
            for answer in self._encoder.encode_many(images)
        ]
