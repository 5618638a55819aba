"""Whole slides of a few kilobytes, of several kinds that OpenSlide tells apart by their content."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass

import numpy as np
import pydicom
import tifffile
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit, generate_uid

_TILE_PX = 64
_SIDE_PX = 192
_WSI_STORAGE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_LEICA = """<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">
<collection name="c" sizeX="192000" sizeY="192000"><image name="i"><view sizeX="192000"
sizeY="192000" offsetX="0" offsetY="0" spacingZ="0"/><pixels sizeX="192" sizeY="192">
<dimension sizeX="192" sizeY="192" r="0" ifd="0"/></pixels><scanSettings><objectiveSettings>
<objective>20</objective></objectiveSettings><illuminationSettings><illuminationSource>brightfield
</illuminationSource></illuminationSettings></scanSettings></image></collection></scn>"""
_PHILIPS = """<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport"><Attribute
Name="PIM_DP_SCANNED_IMAGES" Group="0x301D" Element="0x1003" PMSVR="IDataObjectArray"><Array>
<DataObject ObjectType="DPScannedImage"><Attribute Name="PIM_DP_IMAGE_TYPE" Group="0x301D"
Element="0x1004" PMSVR="IString">WSI</Attribute><Attribute Name="DICOM_PIXEL_SPACING" Group="0x0028"
Element="0x0030" PMSVR="IDoubleArray">"0.0005" "0.0005"</Attribute></DataObject></Array></Attribute>
</DataObject>"""


@dataclass(frozen=True)
class SmallSlide:
    """One of them."""

    vendor: str
    """As OpenSlide calls its format."""
    data: bytes
    refused: bool = False
    """OpenSlide takes it for one of the kind and finds that it lacks something."""


def _pixels() -> np.ndarray:
    random = np.random.default_rng(5)
    small = random.integers(120, 255, (_SIDE_PX // 16, _SIDE_PX // 16, 3), dtype=np.uint8)
    return np.kron(small, np.ones((16, 16, 1), np.uint8))


def _tiff(description: str | None, *, software: str | None = None, big: bool = False) -> bytes:
    file = io.BytesIO()
    pixels = _pixels()
    with tifffile.TiffWriter(file, bigtiff=big) as writer:
        for step in (1, 2):
            writer.write(
                pixels[::step, ::step],
                tile=(_TILE_PX, _TILE_PX),
                photometric="rgb",
                compression="adobe_deflate",
                subfiletype=0 if step == 1 else 1,
                resolution=(20_000 / step, 20_000 / step),
                resolutionunit="CENTIMETER",
                description=description if step == 1 else None,
                software=software,
                metadata=None,
            )
    return file.getvalue()


def _dicom() -> bytes:
    """A volume image of one level, tile by tile in order."""
    pixels, frames = _pixels(), []
    for top in range(0, _SIDE_PX, _TILE_PX):
        for left in range(0, _SIDE_PX, _TILE_PX):
            tile = io.BytesIO()
            square = pixels[top : top + _TILE_PX, left : left + _TILE_PX]
            Image.fromarray(square).save(tile, "JPEG", quality=50)
            frames.append(tile.getvalue())
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = _WSI_STORAGE
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["instance"])
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    meta.FileMetaInformationVersion = b"\0\1"
    slide = Dataset()
    slide.file_meta = meta
    slide.SOPClassUID = _WSI_STORAGE
    slide.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    slide.SeriesInstanceUID = generate_uid(entropy_srcs=["series"])
    slide.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    slide.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame"])
    slide.Modality = "SM"
    slide.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    slide.DimensionOrganizationType = "TILED_FULL"
    slide.SamplesPerPixel, slide.PhotometricInterpretation = 3, "YBR_FULL_422"
    slide.PlanarConfiguration, slide.NumberOfFrames = 0, len(frames)
    slide.Rows = slide.Columns = _TILE_PX
    slide.TotalPixelMatrixRows = slide.TotalPixelMatrixColumns = _SIDE_PX
    slide.TotalPixelMatrixFocalPlanes, slide.NumberOfOpticalPaths = 1, 1
    slide.BitsAllocated = slide.BitsStored = 8
    slide.HighBit, slide.PixelRepresentation = 7, 0
    measures, groups = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.0005, 0.0005], 0.001
    groups.PixelMeasuresSequence = Sequence([measures])
    slide.SharedFunctionalGroupsSequence = Sequence([groups])
    optics = Dataset()
    optics.OpticalPathIdentifier, optics.ObjectiveLensPower = "0", "20"
    slide.OpticalPathSequence = Sequence([optics])
    slide.PixelData = encapsulate(frames)
    file = io.BytesIO()
    pydicom.dcmwrite(file, slide, enforce_file_format=True)
    return file.getvalue()


@functools.cache
def small_slides() -> tuple[SmallSlide, ...]:
    """All of them."""
    trestle = "Background Color=FFFFFF;OverlapsXY=0 0 0 0"
    aperio = "Aperio Image Library v1\r\n192x192 [0,0 192x192] (64x64)|AppMag = 20|MPP = 0.5"
    return (
        SmallSlide("aperio", _tiff(aperio)),
        SmallSlide("generic-tiff", _tiff(None)),
        SmallSlide("generic-tiff", _tiff(None, big=True)),
        SmallSlide("leica", _tiff(_LEICA), refused=True),
        SmallSlide("philips", _tiff(_PHILIPS, software="Philips DP v1.0"), refused=True),
        SmallSlide("trestle", _tiff(trestle, software="MedScan")),
        SmallSlide("dicom", _dicom()),
    )
