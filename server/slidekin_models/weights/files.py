"""Weights on disk: safetensors for our own, a restricted reader for published files."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from slidekin_models.errors import WeightsError

_CHUNK_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        WeightsError: The file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise WeightsError(msg) from error
    return digest.hexdigest()


def require_sha256(path: Path, sha256: str) -> None:
    """Refuse a file that does not have the SHA-256 in its manifest.

    Raises:
        WeightsError: The file is missing, damaged, or another one.
    """
    found = sha256_of(path)
    if found != sha256:
        msg = (
            f"{path}: SHA-256 is {found}, the manifest says {sha256}; the file is damaged or "
            "another one: build or import it again"
        )
        raise WeightsError(msg)


def save_weights(tensors: Mapping[str, Tensor], path: Path, *, half: bool = False) -> str:
    """Write ``tensors`` as safetensors; equal tensors give equal bytes.

    Args:
        tensors: By name.
        path: The file to write.
        half: Round floats to half precision, which halves the file. The rounded weights are then
            served, fingerprinted and measured.

    Returns:
        The file's SHA-256.

    Raises:
        WeightsError: A weight is too large for half precision.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if half:
        plain = {name: _halved(name, tensor) for name, tensor in plain.items()}
    save_file(plain, path)
    # safetensors makes files that only the owner can read; the server may run as another user.
    path.chmod(0o644)
    return sha256_of(path)


def load_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    """Read a safetensors file whose bytes have the given SHA-256.

    Returns:
        The tensors; those stored in half precision are returned as float32.

    Raises:
        WeightsError: The file is missing, is another one, or is not safetensors.
    """
    require_sha256(path, sha256)
    try:
        stored = load_file(path)
    except SafetensorError as error:
        msg = f"{path}: not a safetensors file: {error}"
        raise WeightsError(msg) from error
    return {n: t.float() if t.dtype == torch.float16 else t for n, t in stored.items()}


def load_into(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    source: str,
    *,
    may_lack: Collection[str] = (),
) -> None:
    """Load ``tensors`` into ``network``; every name and shape must match.

    Counters of batches seen in training may be absent: old files lack them, and evaluation does
    not use them.

    Args:
        network: The network.
        tensors: By name.
        source: Where they come from, for messages.
        may_lack: Parts of the network (first components of names, such as ``decoder``) that may be
            absent as a whole; they keep their weights.

    Raises:
        WeightsError: A name is missing, unknown, or of another shape.
    """
    expected = network.state_dict()
    present = {name.partition(".")[0] for name in tensors}
    absent = set(may_lack) - present
    missing = sorted(
        name
        for name in expected
        if name not in tensors
        and not name.endswith("num_batches_tracked")
        and name.partition(".")[0] not in absent
    )
    unknown = sorted(n for n in tensors if n not in expected)
    misshapen = sorted(
        n for n, t in tensors.items() if n in expected and t.shape != expected[n].shape
    )
    faults = {"missing": missing, "unknown": unknown, "of another shape": misshapen}
    for fault, names in faults.items():
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            msg = f"{source}: not the weights of this network: {names[0]} is {fault}{more}"
            raise WeightsError(msg)
    network.load_state_dict(dict(tensors), strict=False)


def read_published(path: Path) -> Any:  # noqa: ANN401 (each publisher has a layout of its own)
    """Read a ``torch.save`` file without running code from it.

    Returns:
        The content: tensors, numbers, strings, and dicts and lists of them.

    Raises:
        WeightsError: The file is missing, holds anything else, or is not such a file.
    """
    try:
        with warnings.catch_warnings():
            # Warnings about old files; a file that cannot be read is refused below.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise WeightsError(msg) from error
    except pickle.UnpicklingError as error:
        msg = (
            f"{path}: refused, since it holds more than tensors and plain values (reading it could "
            "run code), or is no PyTorch file"
        )
        raise WeightsError(msg) from error
    except Exception as error:
        msg = f"{path}: not a complete PyTorch file: {error}"
        raise WeightsError(msg) from error


def _halved(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    rounded = tensor.half()
    if torch.isinf(rounded).logical_and(~torch.isinf(tensor)).any():
        msg = f"{name}: holds weights too large for half precision: store them in full"
        raise WeightsError(msg)
    return rounded
