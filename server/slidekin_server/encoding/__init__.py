"""From images to keys and textures, through Triton."""

from .errors import (
    EncoderBusyError,
    EncoderFaultError,
    EncoderTimeoutError,
    EncoderUnavailableError,
    EncodingError,
    ImageRefusedError,
)
from .images import ImageFormat, ImageLimits, PatchImage, check_image, picture_size_px
from .runtimes import NetworkRuntime, inexact
from .service import EncodedPatch, Encoder, EncoderState, EncoderStatus

__all__ = [
    "EncodedPatch",
    "Encoder",
    "EncoderBusyError",
    "EncoderFaultError",
    "EncoderState",
    "EncoderStatus",
    "EncoderTimeoutError",
    "EncoderUnavailableError",
    "EncodingError",
    "ImageFormat",
    "ImageLimits",
    "ImageRefusedError",
    "NetworkRuntime",
    "PatchImage",
    "check_image",
    "inexact",
    "picture_size_px",
]
