"""The service's settings: defaults, a YAML file, environment variables; checked once at start.

``default.yaml`` beside this module is the reference: every option with its default, unit and
reason. The environment wins over the file, the file over the defaults; a variable's name is the
option's path in capitals, joined by two underscores: ``SLIDEKIN_SERVER__LISTEN__PORT=50052``.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

ENVIRONMENT_PREFIX = "SLIDEKIN_SERVER__"
FILE_VARIABLE = "SLIDEKIN_SERVER_CONFIG"
_MIB = 1024 * 1024


def _host_and_port(value: str) -> str:
    if not re.fullmatch(r"[^\s/]+:\d{1,5}", value):
        raise ValueError("must be HOST:PORT, without a scheme")
    return value


def _collector(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+:\d{1,5}", value):
        raise ValueError("must be http://HOST:PORT, or https:// for TLS")
    return value


def _from_text(value: object) -> object:
    """A list as the environment states it: in YAML, of which JSON is a part."""
    if not isinstance(value, str):
        return value
    try:
        return yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ValueError("must be a list in YAML or JSON") from None


def _is_safe_url(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme == "http":
        return is_loopback(parts.hostname or "")
    return parts.scheme == "https" and bool(parts.hostname)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there; a name but localhost may be any."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


Port = Annotated[int, Field(ge=0, le=65535)]
Host = Annotated[str, Field(min_length=1)]
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
CollectionPattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9*][A-Za-z0-9._*-]{0,127}$")]
"""A collection's id, or several: ``*`` stands for any characters."""
# With a secret that both sides share, whoever checks a token could also make one.
SigningAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]


class ConfigError(Exception):
    """The settings cannot be used; says which keys, their values and the cure."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Listen(_Section):
    """Where the gRPC interface listens."""

    host: Host = "127.0.0.1"
    port: Port = 50051
    max_connection_age_s: Seconds = 1800.0
    max_connection_age_grace_s: Seconds = 3600.0


class TlsSettings(_Section):
    """Encryption of the gRPC interface."""

    certificate_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None
    reload_interval_s: Seconds = 5.0

    @property
    def enabled(self) -> bool:
        """Whether the interface is encrypted."""
        return self.certificate_file is not None

    @model_validator(mode="after")
    def _complete(self) -> TlsSettings:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together: set both or none")
        if self.client_ca_file is not None and not self.enabled:
            raise ValueError("client_ca_file needs certificate_file and key_file beside it")
        return self


class GrantSettings(_Section):
    """A role for some callers in some collections."""

    identity: Annotated[str, Field(pattern=r"^(key|cert|oidc|group):.+$")]
    role: Literal["reader", "writer", "admin"]
    collections: Annotated[tuple[CollectionPattern, ...], Field(min_length=1)]


class Oidc(_Section):
    """Tokens of an OpenID Connect provider."""

    issuer: str | None = None
    audience: str | None = None
    jwks_url: str | None = None
    ca_file: Path | None = None
    algorithms: Annotated[tuple[SigningAlgorithm, ...], BeforeValidator(_from_text)] = (
        "RS256",
        "ES256",
    )
    identity_claim: Annotated[str, Field(min_length=1)] = "sub"
    groups_claim: str | None = None
    leeway_s: Annotated[float, Field(ge=0, le=600)] = 60.0
    refresh_s: Seconds = 300.0
    timeout_s: Seconds = 5.0

    @model_validator(mode="after")
    def _complete(self) -> Oidc:
        if self.issuer is None:
            return self
        if not self.audience:
            raise ValueError(
                "audience must be set: tokens made for other services are refused by it"
            )
        for name in ("issuer", "jwks_url"):
            url = getattr(self, name)
            if url is not None and not _is_safe_url(url):
                raise ValueError(
                    f"{name} ({url}) must begin with https:// unless it is on loopback"
                )
        return self


class AccessSettings(_Section):
    """Who may call what."""

    required: bool = False
    path: Path | None = None
    certificate_name: Literal["common_name", "alternative_name"] = "common_name"
    grants: Annotated[tuple[GrantSettings, ...], BeforeValidator(_from_text)] = ()
    oidc: Oidc = Oidc()


class Audit(_Section):
    """The record of who called what."""

    enabled: bool = True
    path: Path | None = None
    max_bytes: Annotated[int, Field(ge=4096)] = 100 * _MIB
    files: Positive = 20
    when_full: Literal["serve", "refuse"] = "serve"


class MetricsSettings(_Section):
    """Where Prometheus reads the metrics."""

    host: Host = "127.0.0.1"
    port: Port = 9464


class Storage(_Section):
    """Where slides are kept."""

    path: Path = Path("slidekin-data")
    snapshots: Path | None = None
    synchronous: Literal["full", "normal"] = "full"

    @property
    def snapshots_path(self) -> Path:
        """``snapshots``, or a folder beside the store that shares its name."""
        return self.snapshots or self.path.with_name(f"{self.path.name}-snapshots")


class Model(_Section):
    """The models that are served."""

    bundle: Path = Path("model-bundle")
    store: Path | None = None
    allow_random_weights: bool = False


class Triton(_Section):
    """How Triton is reached."""

    url: Annotated[str, AfterValidator(_host_and_port)] = "127.0.0.1:8001"
    max_in_flight: Positive = 16
    timeout_s: Seconds = 60.0
    canary_interval_s: Seconds = 300.0
    retry_interval_s: Seconds = 2.0


class Limits(_Section):
    """What a client must keep within."""

    max_message_bytes: Annotated[int, Field(ge=_MIB, le=2**31 - 1)] = 16 * _MIB
    max_image_bytes: Positive = 8 * _MIB
    max_image_pixels: Positive = 4096 * 4096
    max_thumbnail_bytes: Positive = _MIB
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


class AdmissionSettings(_Section):
    """How much is taken at once, and how it is shared."""

    max_streams: Positive = 64
    max_streams_each: Positive = 48
    max_calls: Positive = 256
    max_calls_each: Positive = 192
    max_patches_in_flight_per_stream: Positive = 8
    max_patches_in_flight: Positive = 256
    max_patches_in_flight_each: Positive = 192
    max_image_bytes_in_flight: Positive = 256 * _MIB
    max_image_bytes_in_flight_each: Positive = 192 * _MIB
    bulk_every: Annotated[int, Field(ge=2)] = 8
    max_wait_s: Seconds = 30.0
    idle_timeout_s: Seconds = 120.0


class DefaultProfile(_Section):
    """Values of the search profile ``default`` where a request states none."""

    seed_spacing: Positive = 50
    seeds_per_side: Positive = 10
    successor_steps: Annotated[int, Field(ge=0)] = 375
    predecessor_steps: Annotated[int, Field(ge=0)] = 375
    include_seed_key: bool = True
    min_hits: Positive = 1
    exact_limit: Positive = 100


class Search(_Section):
    """How searches run."""

    threads: Annotated[int, Field(ge=0)] = 0
    default_profile: DefaultProfile = DefaultProfile()

    @property
    def thread_count(self) -> int:
        """Threads to start: ``threads``, or one for each CPU this process may use."""
        return self.threads or len(os.sched_getaffinity(0))


class Logging(_Section):
    """What is logged and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Tracing(_Section):
    """Where traces go, and of how many calls."""

    endpoint: Annotated[str, AfterValidator(_collector)] | None = None
    ca_file: Path | None = None
    sampling_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01


class Settings(_Section):
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


def load_settings(
    file: Path | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Read, merge and check the settings.

    Args:
        file: YAML file; None takes the one that ``SLIDEKIN_SERVER_CONFIG`` names, if any.
        environment: Environment variables; None takes the process's own.

    Raises:
        ConfigError: For everything that is wrong, one line for each problem.
    """
    if environment is None:
        environment = os.environ
    if file is None and environment.get(FILE_VARIABLE):
        file = Path(environment[FILE_VARIABLE])
    problems: list[str] = []
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if file is not None:
        _read_file(file, values, origins, problems)
    _read_environment(environment, values, origins, problems)
    if problems:
        raise ConfigError(tuple(problems))
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(tuple(_problem(one, origins) for one in error.errors())) from None


def _options(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Paths of all options, such as ``search.default_profile.min_hits``."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _options(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _cure(path: str) -> str:
    options = list(_options(Settings))
    near = difflib.get_close_matches(path, options, n=1)
    # A right name in the wrong section lies far off as a path.
    name = path.rpartition(".")[2]
    near = near or [option for option in options if option.rpartition(".")[2] == name]
    return f"did you mean '{near[0]}'?" if near else "default.yaml lists every option"


def _set(values: dict[str, Any], path: str, value: object) -> None:
    *sections, name = path.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[name] = value


def _read_file(
    file: Path, values: dict[str, Any], origins: dict[str, str], problems: list[str]
) -> None:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{file}: cannot be read ({error.strerror}): name an existing YAML file")
        return
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a nest, 2026-02-30
        problems.append(f"{file}: is not valid YAML: {' '.join(str(error).split())}")
        return
    known = set(_options(Settings))
    sections = {path.rpartition(".")[0] for path in known}

    def walk(part: object, path: str) -> None:
        if path in known:
            _set(values, path, part)
            origins[path] = str(file)
        elif path in sections:
            if isinstance(part, dict):
                for key, value in part.items():
                    walk(value, f"{path}.{key}" if path else str(key))
            elif part is not None:  # a section whose options are all commented out is None
                problems.append(
                    f"{file}: '{path}' is {_shown(part)}: it must be a section of options"
                )
        else:
            problems.append(f"{file}: unknown key '{path}': {_cure(path)}")

    walk(content, "")


def _read_environment(
    environment: Mapping[str, str],
    values: dict[str, Any],
    origins: dict[str, str],
    problems: list[str],
) -> None:
    known = set(_options(Settings))
    for name, value in sorted(environment.items()):
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        path = name.removeprefix(ENVIRONMENT_PREFIX).replace("__", ".").lower()
        if path in known:
            _set(values, path, value)
            origins[path] = name
        else:
            problems.append(f"{name}: unknown option '{path}': {_cure(path)}")


def _shown(value: object) -> str:
    """A value, cut where it is long: with aliases, a small file states gigabytes."""
    short = reprlib.Repr()
    short.maxlevel = 2
    short.maxstring = short.maxother = 200
    try:
        return short.repr(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        return "a very long number"


def _problem(error: ErrorDetails, origins: Mapping[str, str]) -> str:
    path = ".".join(str(part) for part in error["loc"])
    what = error["msg"].removeprefix("Value error, ")
    if not path:  # a rule over several sections
        return what
    if path not in origins:  # a rule over several options of a section
        return f"{path}: {what}"
    return f"{origins[path]}: '{path}' is {_shown(error['input'])}: {what[0].lower()}{what[1:]}"
