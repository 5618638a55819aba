"""``python -m slidekin_server`` is ``slidekin-server``."""

from slidekin_server.cli import main

main()
