"""Errors of this package; each names what is wrong and the cure."""

from __future__ import annotations


class ModelError(Exception):
    """Root of every error raised on purpose by ``slidekin_models``."""


class ManifestError(ModelError):
    """A manifest, a build configuration or a bundle's description is not valid."""


class WeightsError(ModelError):
    """A weights file is missing, altered, hostile, or made for another network."""


class RandomWeightsRefusedError(ModelError):
    """Random weights were requested, and the configuration does not allow them explicitly."""


class ImageRefusedError(ModelError):
    """An image cannot be used as a patch; the text says why."""


class PlacementError(ModelError):
    """The requested device, precision or runtime cannot be served."""


class SamplingError(ModelError):
    """Slides or tiles give no patches; the text gives the reason for each file."""


class TrainingError(ModelError):
    """A training run cannot start, continue or be resumed; the text says why and what to do."""


class UnjudgedRuntimeError(PlacementError):
    """The runtime was not compared with the reference for these weights, or was refused."""
