"""YAML that states more than any memory holds."""

from __future__ import annotations

_DEPTH, _WIDTH = 30, 9

YAML_BOMB = "a0: &a0 {key: value}\n" + "".join(
    f"a{level}: &a{level}\n  <<: [{', '.join([f'*a{level - 1}'] * _WIDTH)}]\n"
    for level in range(1, _DEPTH)
)
"""Each of its mappings merges the one before nine times."""
