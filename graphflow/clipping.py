"""Clipping of gradients by their norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphflow.arrays import zeros_like
from graphflow.basics import name_scope
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops import elementwise, logic, reductions
from graphflow.math import add_n, reduce_mean, reduce_sum, square


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Tensor:
    """t * clip_norm / max(norm(t), clip_norm), the norm being over `axes` (default: all)."""
    with name_scope(name, "clip_by_norm", [t]) as scope:
        x = as_tensor(t)
        squares = reduce_sum(square(x), axes, True)
        positive, one = squares > 0, as_tensor(1.0, x.dtype)
        # the root of 1 where the sum is 0: its derivative there would be infinite
        norm = logic.where_v2(positive, elementwise.sqrt(logic.where_v2(positive, squares, one)), squares)
        limit = as_tensor(clip_norm, x.dtype)
        result: Tensor = elementwise.truediv(x * limit, elementwise.maximum(norm, limit), name=scope)
        return result


def clip_by_average_norm(t: Any, clip_norm: Any, name: str | None = None) -> Tensor:
    """t * clip_norm / max(a, clip_norm), a being the root of the mean square."""
    with name_scope(name, "clip_by_average_norm", [t]):
        x = as_tensor(t)
        limit = as_tensor(clip_norm, x.dtype)
        average = elementwise.sqrt(reduce_mean(square(x)))
        result: Tensor = x * limit / elementwise.maximum(average, limit)
        return result


def global_norm(t_list: Sequence[Any], name: str | None = None) -> Tensor:
    """sqrt(sum of the squares of all elements of all tensors); None in the list counts nothing."""
    with name_scope(name, "global_norm"):
        halves = [reductions.l2_loss(t) for t in t_list if t is not None]
        if not halves:
            raise ValueError("global_norm: at least one tensor is needed")
        result: Tensor = elementwise.sqrt(add_n(halves) * 2.0, name="global_norm")
        return result


def clip_by_global_norm(t_list: Sequence[Any], clip_norm: Any, use_norm: Any = None,
                        name: str | None = None) -> tuple[list[Any], Tensor]:
    """All tensors times clip_norm / max(global_norm, clip_norm), and the norm; None stays None.

    An infinite norm makes every element NaN, so that a run that went wrong shows.
    """
    t_list = list(t_list)
    norm = global_norm(t_list, name) if use_norm is None else as_tensor(use_norm)
    with name_scope(name, "clip_by_global_norm"):
        limit = as_tensor(clip_norm, norm.dtype)
        scale = limit * elementwise.minimum(1.0 / norm, 1.0 / limit)
        scale = scale + zeros_like(norm) * norm  # NaN for an infinite norm
        return [None if t is None else as_tensor(t) * scale for t in t_list], norm
