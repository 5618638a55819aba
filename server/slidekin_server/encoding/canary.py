"""The canary: one patch whose codes and texture are known in advance.

An encoder can give wrong results without an error (another model, another precision, a broken
library). Comparing its answer for the canary with the bundle's detects that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slidekin_server.bundle import BundleError, CanaryTolerance, ModelBundle
from slidekin_server.codes import CODES_SIDE, textures_from_features
from slidekin_server.encoding.images import ImageFormat, PatchImage
from slidekin_server.encoding.runtimes import EXACT, NETWORKS, NetworkRuntime
from slidekin_server.encoding.triton import EncoderAnswer


@dataclass(frozen=True, slots=True, eq=False)
class Canary:
    """The patch, its right answer, and how far another answer may deviate."""

    image: PatchImage
    codes: NDArray[np.uint8]
    features: NDArray[np.float32]
    exact: CanaryTolerance
    reduced: CanaryTolerance

    @classmethod
    def load(cls, bundle: ModelBundle) -> Canary:
        """Read a bundle's canary.

        Raises:
            BundleError: A file cannot be read or has another content.
        """
        facts = bundle.canary
        return cls(
            image=PatchImage(ImageFormat.PNG, facts.image.read_bytes()),
            codes=_array(facts.codes, np.uint8, (CODES_SIDE, CODES_SIDE)),
            features=_array(facts.texture_features, np.float32, (bundle.texture_bits,)),
            exact=facts.exact,
            reduced=facts.reduced,
        )

    def mismatch(
        self, answer: EncoderAnswer, runtimes: Sequence[NetworkRuntime] = ()
    ) -> str | None:
        """Say how an answer is wrong; None if it is right. CPU work: call from a thread.

        Args:
            answer: The answer for the canary.
            runtimes: How the networks are served. A network that reports less than fp32 may
                deviate by as much as the gate allows.
        """
        said = {network.role: network.precision for network in runtimes}
        of_codes, of_bits = (
            self.exact if said.get(role, "") in (EXACT, "") else self.reduced for role in NETWORKS
        )
        if not np.isfinite(answer.features).all():
            return "its texture features are not all finite"
        codes = int(np.count_nonzero(answer.codes != self.codes))
        differing = textures_from_features(answer.features[None]) ^ textures_from_features(
            self.features[None]
        )
        bits = int(np.bitwise_count(differing).sum())
        wrong = []
        if codes > of_codes.max_differing_codes:
            wrong.append(f"{codes} codes differ (at most {of_codes.max_differing_codes} may)")
        if bits > of_bits.max_differing_texture_bits:
            wrong.append(
                f"{bits} texture bits differ (at most {of_bits.max_differing_texture_bits} may)"
            )
        return ", ".join(wrong) or None


def _array(path: Path, dtype: type[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read, build the bundle anew: {error}") from None
    if array.dtype != dtype or array.shape != shape:
        raise BundleError(
            f"{path} holds {array.dtype} {array.shape} instead of {np.dtype(dtype)} {shape}: "
            "build the bundle anew"
        )
    return np.asarray(array)
