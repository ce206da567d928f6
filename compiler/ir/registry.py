"""Ops by name, and what a lower floor calls in a higher one. `ir.opdef` and the ops fill them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphflow.compiler.ir.opdef import OpDef


class _Registry(dict[str, "OpDef"]):
    def __missing__(self, name: str) -> OpDef:
        """A name of a family that nobody has loaded: all are loaded now."""
        HOOKS["load_ops"]()
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found


HOOKS: dict[str, Callable[..., Any]] = {}  # such as getitem
REGISTRY = _Registry()
