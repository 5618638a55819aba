"""Entry point of ``python -m slidekin_models``."""

from slidekin_models.cli import app

app(prog_name="slidekin_models")
