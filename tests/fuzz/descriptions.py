"""What each target reads, in a few words: for people."""

from __future__ import annotations

DESCRIPTIONS = {
    "rpc-messages": "every RPC: messages made from the descriptors",
    "rpc-streams": "streams out of order, broken off, never ended",
    "rpc-bytes": "every RPC: messages with bytes changed",
    "rpc-metadata": "headers, paths and deadlines of every RPC",
    "rpc-images": "image files on every road that takes them, through the decoder",
    "triton-decoder": "image files at the decoder in a real Triton",
    "image-header": "image files: the service's look at the header",
    "image-decoder": "image files: Triton's decoder, in process",
    "slide": "SVS, TIFF, Trestle, Leica, Philips, DICOM files",
    "slide-resolution": "what a slide says of its resolution",
    "labels": "label files",
    "settings": "the service's settings, file and environment",
    "bundle": "`bundle.yaml`, read by the service",
    "manifest": "manifests and bundles, read by the models' package",
    "snapshot": "a snapshot's manifest",
    "packed-arrays": "arrays of the store",
    "pickle": "pickles of plain values, against the standard unpickler",
    "release-index": "`meta.pkl` of the published program",
    "release-slide": "HDF5 files of the published program",
    "codes": "what networks answer: codes and features",
    "page-token": "page tokens",
    "names": "resource names",
    "statuses": "errors that repeat what they were sent",
}
