"""What the sections of the settings share: their base, and the kinds of values in them."""

from __future__ import annotations

from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field

from slidekin_server.plain_yaml import load_yaml

MIB = 1024 * 1024

Port = Annotated[int, Field(ge=0, le=65535)]
Host = Annotated[str, Field(min_length=1)]
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    """Options that belong together. Cannot be changed; an unknown option is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def list_from_text(value: object) -> object:
    """A list as the environment states it: in YAML, of which JSON is a part."""
    if not isinstance(value, str):
        return value
    try:
        return load_yaml(value)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ValueError("must be a list in YAML or JSON") from None
