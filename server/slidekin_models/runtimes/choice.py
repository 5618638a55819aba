"""Chooses the runtime of a network: the fastest that the machine has and the gate accepted.

Light to import: no torch.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from slidekin_models.errors import UnjudgedRuntimeError
from slidekin_models.runtimes.placement import PRECISIONS, REFERENCE, RUNTIMES, require_known
from slidekin_models.weights.manifest import TextureManifest, VqVaeManifest, read_manifest
from slidekin_models.weights.verdicts import Verdict, is_accepted

AUTO = "auto"
_FASTEST_FIRST: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        "cpu": (
            ("openvino", "bf16"),
            ("openvino", "fp32"),
            ("torch-folded", "bf16"),
            ("torch", "bf16"),
            ("torch-folded", "fp32"),
            ("torch", "fp32"),
        ),
        "cuda": (
            ("torch-compile", "fp16"),
            ("torch-cudagraphs", "fp16"),
            ("torch-folded", "fp16"),
            ("torch", "fp16"),
            ("torch-folded", "fp32"),
            ("torch", "fp32"),
        ),
    }
)
"""On the CPU as measured (docs/runtimes.md); on a GPU as expected, since none was available."""
_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


@dataclass(frozen=True, slots=True)
class Machine:
    """The properties of a machine that decide."""

    device: str
    """``cpu`` or ``cuda``."""
    multiplies_bf16: bool
    """The CPU has instructions for bf16; without them it is slower than fp32."""
    has_openvino: bool

    @classmethod
    def this(cls, device: str = "cpu") -> Machine:
        """Return the machine that this runs on."""
        return cls(
            device=device,
            multiplies_bf16=not _BF16_FLAGS.isdisjoint(_cpu_flags()),
            has_openvino=importlib.util.find_spec("openvino") is not None,
        )

    def can(self, runtime: str, precision: str) -> bool:
        """Whether a runtime is a good choice on this machine."""
        if runtime == "openvino" and not self.has_openvino:
            return False
        return self.device != "cpu" or precision != "bf16" or self.multiplies_bf16


def choose_runtime(
    directory: Path, machine: Machine, *, runtime: str = AUTO, precision: str = AUTO
) -> tuple[str, str]:
    """Choose runtime and precision of the network in a model directory.

    Args:
        directory: Model directory.
        machine: The machine that will run it.
        runtime: One of ``placement.RUNTIMES``, or ``auto``.
        precision: fp32, bf16, fp16, or ``auto``.

    Raises:
        ManifestError: The manifest is missing or not valid.
        PlacementError: There is no such runtime or precision.
        UnjudgedRuntimeError: The gate has not accepted the request for these weights.
    """
    require_known("runtime", runtime, (AUTO, *RUNTIMES))
    require_known("precision", precision, (AUTO, *PRECISIONS))
    if AUTO not in (runtime, precision):
        # The caller may choose a runtime that is slow on this machine.
        candidates = [(runtime, precision)]
    else:
        candidates = [
            candidate
            for candidate in _FASTEST_FIRST[machine.device]
            if runtime in (AUTO, candidate[0])
            and precision in (AUTO, candidate[1])
            and machine.can(*candidate)
        ]
    manifest = read_manifest(directory)
    for candidate in candidates:
        wanted = (*candidate, machine.device)
        if candidate == REFERENCE or is_accepted(
            _verdicts(manifest), wanted, manifest.weights_sha256
        ):
            return candidate
    options = [
        f"--{option} {value}"
        for option, value in (("runtime", runtime), ("precision", precision))
        if value != AUTO
    ]
    msg = (
        f"{manifest.name}: {' '.join(options)} was not accepted for these weights on "
        f"{machine.device}: compare it with 'slidekin-server models gate {directory} --slides "
        f"FOLDER {' '.join(options)}', or leave the choice to the launcher (auto)"
    )
    raise UnjudgedRuntimeError(msg)


def _verdicts(manifest: VqVaeManifest | TextureManifest) -> list[Verdict[Any]]:
    return [*manifest.runtimes]


def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    flags = (line.partition(":")[2].split() for line in lines if line.startswith("flags"))
    return frozenset(next(flags, ()))
