"""Ops by name, and what a lower floor calls in a higher one. `ir.opdef` and the ops fill them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphflow.compiler.ir.opdef import OpDef

REGISTRY: dict[str, OpDef] = {}
HOOKS: dict[str, Callable[..., Any]] = {}  # such as getitem
