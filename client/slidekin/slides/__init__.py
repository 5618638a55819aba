"""Whole-slide images: reading them, finding tissue, picking the mosaic, encoding its patches."""

from slidekin.slides._encode import ImageFormat, encode_patch, image_thumbnail, patch_thumbnail
from slidekin.slides._geometry import Level, Position, Region
from slidekin.slides._mosaic import (
    DEFAULT,
    PROFILES,
    SISH_2022,
    Mosaic,
    MosaicSettings,
    PatchFilter,
    Progress,
    make_mosaic,
)
from slidekin.slides._patches import PatchImage, read_patches, read_patches_at
from slidekin.slides._resolution import MAX_MPP, TARGET_MPP
from slidekin.slides._slide import PATCH_PX, PATCH_UM, Slide, open_slide
from slidekin.slides._tissue import Tissue, TissueSettings, find_tissue

__all__ = [
    "DEFAULT",
    "MAX_MPP",
    "PATCH_PX",
    "PATCH_UM",
    "PROFILES",
    "SISH_2022",
    "TARGET_MPP",
    "ImageFormat",
    "Level",
    "Mosaic",
    "MosaicSettings",
    "PatchFilter",
    "PatchImage",
    "Position",
    "Progress",
    "Region",
    "Slide",
    "Tissue",
    "TissueSettings",
    "encode_patch",
    "find_tissue",
    "image_thumbnail",
    "make_mosaic",
    "open_slide",
    "patch_thumbnail",
    "read_patches",
    "read_patches_at",
]
