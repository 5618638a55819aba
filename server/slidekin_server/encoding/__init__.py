"""From images to keys and textures, through Triton."""

from slidekin_server.encoding.errors import (
    EncoderBusyError,
    EncoderFaultError,
    EncoderTimeoutError,
    EncoderUnavailableError,
    EncodingError,
    ImageRefusedError,
)
from slidekin_server.encoding.images import (
    ImageFormat,
    ImageLimits,
    PatchImage,
    check_image,
    picture_size_px,
)
from slidekin_server.encoding.runtimes import NetworkRuntime, inexact
from slidekin_server.encoding.service import EncodedPatch, Encoder, EncoderState, EncoderStatus

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
