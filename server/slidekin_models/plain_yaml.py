"""YAML without aliases: with them, a small file could expand beyond any memory."""

from __future__ import annotations

from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            alias: yaml.AliasEvent = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.YAMLError(
                f"aliases such as *{alias.anchor} are not read: write out what it stands for\n"
                f"{alias.start_mark}"
            )
        return super().compose_node(parent, index)


def load_yaml(text: str) -> Any:  # noqa: ANN401  a document may hold anything
    """Read a document of plain values.

    Raises:
        yaml.YAMLError: It is not YAML, or has an alias; says where.
        ValueError: A number or a date in it is not valid.
        RecursionError: It is nested too deeply.
    """
    # A safe loader that additionally refuses aliases.
    return yaml.load(text, _Loader)  # noqa: S506
