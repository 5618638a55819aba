"""All sections together, and the rules that hold between them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from slidekin_server.config.access import AccessSettings, Audit
from slidekin_server.config.limits import AdmissionSettings, Limits
from slidekin_server.config.models import Model, Triton
from slidekin_server.config.network import Listen, TlsSettings, is_loopback
from slidekin_server.config.search import Search
from slidekin_server.config.section import Section
from slidekin_server.config.storage import Storage
from slidekin_server.config.telemetry import Logging, MetricsSettings, Tracing


class Settings(Section):
    """Everything the service can be told. Made by `load_settings`."""

    listen: Listen = Listen()
    insecure: bool = False
    tls: TlsSettings = TlsSettings()
    access: AccessSettings = AccessSettings()
    audit: Audit = Audit()
    metrics: MetricsSettings = MetricsSettings()
    storage: Storage = Storage()
    model: Model = Model()
    triton: Triton = Triton()
    limits: Limits = Limits()
    admission: AdmissionSettings = AdmissionSettings()
    search: Search = Search()
    logging: Logging = Logging()
    tracing: Tracing = Tracing()
    reflection: bool = True
    shutdown_notice_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5.0
    shutdown_grace_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0

    @property
    def access_path(self) -> Path:
        """``access.path``, or a folder beside the store that shares its name."""
        return self.access.path or self.storage.path.with_name(f"{self.storage.path.name}-access")

    @property
    def audit_path(self) -> Path:
        """``audit.path``, or a file in a folder beside the store that shares its name."""
        folder = self.storage.path.with_name(f"{self.storage.path.name}-audit")
        return self.audit.path or folder / "audit.jsonl"

    @property
    def exposures(self) -> tuple[str, ...]:
        """What strangers could do, a sentence each; empty where they can do nothing."""
        if is_loopback(self.listen.host):
            return ()
        open_to = []
        if not self.tls.enabled:
            open_to.append("calls travel unencrypted: set tls.certificate_file and tls.key_file")
        if not self.access.required:
            open_to.append("nobody is asked who they are: set access.required to true")
        return tuple(open_to)

    @model_validator(mode="after")
    def _closed_to_strangers(self) -> Settings:
        if self.exposures and not self.insecure:
            raise ValueError(
                f"listen.host is {self.listen.host}, which others can reach, and "
                f"{'; '.join(self.exposures)}. To allow it all the same, set insecure to true; "
                "127.0.0.1 serves this machine only"
            )
        return self
