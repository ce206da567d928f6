"""Matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.compiler.ir.dtypes import float64, int32
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops.forms import Contraction
from graphflow.compiler.ops.broadcasting import unbroadcast
from graphflow.compiler.ops.rules import signature
from graphflow.compiler.ops.samples import Sample, shapes


def _matmul_grad(op: Operation, g: Tensor) -> tuple[Tensor, Tensor]:
    """Each operand's gradient is a product of g and the other, in the order that needs no transposed copy."""
    a, b, ta, tb = op.a, op.b, op.transpose_a, op.transpose_b
    ga = matmul(b, g, transpose_a=tb, transpose_b=True) if ta else matmul(g, b, transpose_b=not tb)
    gb = matmul(g, a, transpose_a=True, transpose_b=ta) if tb else matmul(a, g, transpose_a=not ta)
    if a.type.rank == b.type.rank == 2:
        return ga, gb
    return unbroadcast(ga, a), unbroadcast(gb, b)


def _matmul_numpy(a: Any, b: Any, transpose_a: bool, transpose_b: bool) -> Any:
    return np.matmul(np.swapaxes(a, -1, -2) if transpose_a else a,
                     np.swapaxes(b, -1, -2) if transpose_b else b)


matmul = OpDef(
    "matmul", "a b", infer=signature("... m k, ... k n -> ... m n"), grad=_matmul_grad, lower=Contraction(),
    numpy=_matmul_numpy, attrs={"transpose_a": False, "transpose_b": False}, tf_name="MatMul",
    samples=(*shapes([(2, 3), (3, 4)], [(0, 3), (3, 4)], [(2, 0), (0, 4)], [(1, 1), (1, 1)],
                     [(5, 1, 2, 3), (4, 3, 2)],
                     [(2, 3, 4), (4, 5)], [(17, 33), (33, 19)]),
             *shapes([(3, 2), (3, 4)], [(2, 3, 2), (3, 4)], transpose_a=True),
             *shapes([(2, 3), (4, 3)], [(3, 2, 3), (3, 4, 3)], transpose_b=True),
             *shapes([(3, 2), (4, 3)], [(2, 3, 2), (2, 4, 3)], transpose_a=True, transpose_b=True),
             Sample(((2, 3), (3, 2)), dtype=int32, smooth=False), Sample(((3, 3), (3, 3)), dtype=float64)))
