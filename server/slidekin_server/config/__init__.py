"""The service's settings: defaults, a YAML file, environment variables; checked once at start.

``default.yaml`` in this package is the reference: every option with its default, unit and
reason. The environment wins over the file, the file over the defaults; a variable's name is the
option's path in capitals, joined by two underscores: ``SLIDEKIN_SERVER__LISTEN__PORT=50052``.
"""

from __future__ import annotations

from slidekin_server.config.access import AccessSettings, Audit, GrantSettings, Oidc
from slidekin_server.config.errors import ConfigError
from slidekin_server.config.limits import AdmissionSettings, Limits
from slidekin_server.config.loading import load_settings
from slidekin_server.config.models import Model, Triton
from slidekin_server.config.network import Listen, TlsSettings, dial_host, is_loopback
from slidekin_server.config.search import DefaultProfile, Search
from slidekin_server.config.settings import Settings
from slidekin_server.config.storage import Storage
from slidekin_server.config.telemetry import Logging, MetricsSettings, Tracing

__all__ = [
    "AccessSettings",
    "AdmissionSettings",
    "Audit",
    "ConfigError",
    "DefaultProfile",
    "GrantSettings",
    "Limits",
    "Listen",
    "Logging",
    "MetricsSettings",
    "Model",
    "Oidc",
    "Search",
    "Settings",
    "Storage",
    "TlsSettings",
    "Tracing",
    "Triton",
    "dial_host",
    "is_loopback",
    "load_settings",
]
