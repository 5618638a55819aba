"""Errors before Triton runs; each names what is wrong and the cure."""

from __future__ import annotations


class LaunchError(Exception):
    """Triton cannot be started; the text says why and what to do."""

    exit_status = 1


class EnvironmentRefusedError(LaunchError):
    """The Python environment cannot serve Triton's models."""

    exit_status = 2
