"""What one call may ask for, and how much is taken on at once."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from slidekin_server.config.section import MIB, Positive, Seconds, Section


class Limits(Section):
    """What a client must keep within."""

    max_message_bytes: Annotated[int, Field(ge=MIB, le=2**31 - 1)] = 16 * MIB
    max_image_bytes: Positive = 8 * MIB
    max_image_pixels: Positive = 4096 * 4096
    max_thumbnail_bytes: Positive = MIB
    max_patches_per_slide: Positive = 10_000
    max_k: Positive = 1000
    max_hits_per_patch: Positive = 15_000

    @model_validator(mode="after")
    def _fits_a_message(self) -> Limits:
        for name in ("max_image_bytes", "max_thumbnail_bytes"):
            if getattr(self, name) >= self.max_message_bytes:
                msg = (
                    f"{name} ({getattr(self, name)}) must be smaller than max_message_bytes "
                    f"({self.max_message_bytes}): an image travels inside a message; "
                    f"lower the one or raise the other"
                )
                raise ValueError(msg)
        return self


class AdmissionSettings(Section):
    """How much is taken at once, and how it is shared."""

    max_streams: Positive = 64
    max_streams_each: Positive = 48
    max_calls: Positive = 256
    max_calls_each: Positive = 192
    max_patches_in_flight_per_stream: Positive = 8
    max_patches_in_flight: Positive = 256
    max_patches_in_flight_each: Positive = 192
    max_image_bytes_in_flight: Positive = 256 * MIB
    max_image_bytes_in_flight_each: Positive = 192 * MIB
    bulk_every: Annotated[int, Field(ge=2)] = 8
    max_wait_s: Seconds = 30.0
    idle_timeout_s: Seconds = 120.0
