"""tf.linalg: matrices in the last two axes of tensors, their diagonals, norms and products."""

from __future__ import annotations

import math
from typing import Any

from graphflow.arrays import eye, matrix_transpose, stack, unstack
from graphflow.basics import name_scope
from graphflow.compiler.errors import UnsupportedError
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.explain import misfit
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops import elementwise, reductions, shapes
from graphflow.diagonals import matrix_diag, matrix_diag_part, matrix_set_diag, tensor_diag_part, trace
from graphflow.einsum import einsum
from graphflow.math import matmul, tensordot
from graphflow.missing import missing_names
from graphflow.ordering import matrix_band_part
from graphflow.renamed import either

__all__ = ["band_part", "cross", "diag", "diag_part", "einsum", "eye", "matmul", "norm", "set_diag",
           "tensor_diag_part", "tensordot", "trace", "transpose"]

band_part = matrix_band_part
diag = matrix_diag
diag_part = matrix_diag_part
set_diag = matrix_set_diag
transpose = matrix_transpose


def norm(tensor: Any, ord: Any = "euclidean", axis: Any = None, keepdims: bool | None = None,
         name: str | None = None, keep_dims: bool | None = None) -> Tensor:
    """The norm of vectors along an axis, or of matrices in two; without an axis, of all as one vector.

    ord   "euclidean" or 2, 1, inf, or a number p > 0 for vectors; "euclidean" or "fro", 1, inf for matrices
    """
    keep = bool(either("norm", "keepdims", keepdims, keep_dims=keep_dims))
    with name_scope(name, "norm", [tensor]):
        x = as_tensor(tensor)
        pair = isinstance(axis, (tuple, list)) and len(axis) == 2
        over = tuple(axis) if isinstance(axis, (tuple, list)) else axis
        if ord == "euclidean" or (ord == 2 and not pair) or (ord == "fro" and pair):
            result: Tensor = elementwise.sqrt(reductions.reduce_sum(x * x, axis=over, keepdims=keep))
            return result
        size = elementwise.abs_(x)
        return _matrix_norm(size, ord, over, keep) if pair else _vector_norm(size, ord, over, keep)


def _vector_norm(size: Tensor, ord: Any, axis: Any, keep: bool) -> Tensor:
    if ord == math.inf:
        result: Tensor = reductions.reduce_max(size, axis=axis, keepdims=keep)
        return result
    if not isinstance(ord, (int, float)) or not ord > 0:
        raise misfit("norm", f"the ord of vectors is 'euclidean', inf or a number above 0, not {ord!r}")
    if ord == 1:
        result = reductions.reduce_sum(size, axis=axis, keepdims=keep)
        return result
    total = reductions.reduce_sum(elementwise.pow_(size, ord), axis=axis, keepdims=keep)
    result = elementwise.pow_(total, 1 / ord)
    return result


def _matrix_norm(size: Tensor, ord: Any, axes: tuple[int, int], keep: bool) -> Tensor:
    if ord not in (1, math.inf):
        raise UnsupportedError(f"norm: the ord of matrices is 'euclidean', 'fro', 1 or inf, not {ord!r}")
    rows, columns = axes
    first, second = (rows, columns) if ord == 1 else (columns, rows)
    sums = reductions.reduce_sum(size, axis=first, keepdims=True)
    largest = reductions.reduce_max(sums, axis=second, keepdims=True)
    result: Tensor = largest if keep else shapes.squeeze(largest, axis=axes)
    return result


def cross(a: Any, b: Any, name: str | None = None) -> Tensor:
    """The vectors orthogonal to pairs of vectors of 3 elements, along the last axis."""
    with name_scope(name, "Cross", [a, b]):
        x = as_tensor(a)
        y = as_tensor(b, x.dtype, for_op="cross")
        (a0, a1, a2), (b0, b1, b2) = (unstack(t, 3, -1) for t in (x, y))
        return stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], -1)


__getattr__ = missing_names("graphflow.linalg")
