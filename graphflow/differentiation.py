"""tf.gradients."""

from __future__ import annotations

from typing import Any

from graphflow.basics import graph_of, name_scope
from graphflow.compiler import autodiff
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.registry import REGISTRY
from graphflow.compiler.ir.source import user_line
from graphflow.compiler.ir.tensor import Tensor
from graphflow.variables import reads_of


def gradients(ys: Any, xs: Any, grad_ys: Any = None, name: str = "gradients",
              colocate_gradients_with_ops: bool = False, gate_gradients: bool = False,
              aggregation_method: Any = None, stop_gradients: Any = None,
              unconnected_gradients: Any = "none") -> list[Any]:
    """The derivatives of the sum of `ys` with respect to each of `xs`, as operations of the graph.

    gx = sum over y, and all elements of y, of  grad_y * dy/dx

    Shapes:  one gradient per x, of its shape; `grad_ys` (default: ones) are shaped as ys
    A gradient is None where no y depends on the x, or a zero with unconnected_gradients="zero". All reads of
    a Variable count. `stop_gradients` are taken for constants.
    Raises:  DTypeError when a y is not of a float dtype; GraphError for an operation without a gradient
    """
    ys, xs, stops = _listed(ys), _listed(xs), _listed(stop_gradients)
    grad_ys = None if grad_ys is None else _listed(grad_ys)
    if grad_ys is not None and len(grad_ys) != len(ys):
        raise ValueError(f"gradients: {len(ys)} ys, but {len(grad_ys)} grad_ys")
    graph = graph_of([*ys, *xs])
    with graph.as_default(), graph.from_line(user_line()):
        y_tensors = [as_tensor(y) for y in ys]
        x_reads = [reads_of(x) for x in xs]
        flat = list(dict.fromkeys(t for reads in x_reads for t in reads))
        stop_tensors = [t for s in stops for t in reads_of(s)]
        with name_scope(name, "gradients", y_tensors):
            found = dict(zip(flat, autodiff.gradients(y_tensors, flat, grad_ys, stop_tensors), strict=True))
            sums = [_sum([found[t] for t in reads]) for reads in x_reads]
            if getattr(unconnected_gradients, "value", unconnected_gradients) == "zero":
                return [REGISTRY["zeros_like"](reads[0]) if g is None else g
                        for g, reads in zip(sums, x_reads, strict=True)]
            return sums


def _listed(values: Any) -> list[Any]:
    if values is None:
        return []
    return list(values) if isinstance(values, (list, tuple)) else [values]


def _sum(parts: list[Tensor | None]) -> Tensor | None:
    given = [g for g in parts if g is not None]
    if len(given) < 2:
        return given[0] if given else None
    result: Tensor = REGISTRY["add_n"](*given)
    return result
