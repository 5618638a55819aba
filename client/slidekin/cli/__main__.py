"""``python -m slidekin.cli``."""

from slidekin.cli import main

main()
